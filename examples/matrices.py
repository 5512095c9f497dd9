"""Tensors: made, seeded, reshaped, combined, averaged, shared with NumPy.

It is a PyTorch script. Run it as it is with `chainrule run examples/matrices.py`, or with its
import changed to `import chainrule as torch`.
"""

import numpy as np
import torch

# Made of lists, of sizes, of random numbers.
array = [[1, 2], [3, 4]]
print("from a list:", torch.Tensor(array).tolist())
print("ones:", torch.ones((2, 2)).tolist())
print("a size alone:", torch.Tensor(2, 3).size(), torch.zeros(2, 3).sum().item())
torch.manual_seed(0)
first = torch.rand(2, 2)
torch.manual_seed(0)
second = torch.rand(2, 2)
print("the same seed, the same numbers:", torch.equal(first, second))
if torch.cuda.is_available():
    torch.cuda.manual_seed_all(0)

# To NumPy and back: the memory is shared.
np_array = np.ones((2, 2))
shared = torch.from_numpy(np_array)
np_array[0, 0] = 7
print("dtype:", str(shared.dtype).split(".")[-1], "shared:", shared[0, 0].item())
print("back:", torch.ones(2, 2).numpy().mean())

# Shapes.
a = torch.ones(2, 2)
print("resized:", a.view(4).size(), a.view(-1, 1).shape, torch.arange(6).view(2, 3).t().tolist())

# Element by element: functions, methods, in place.
b = torch.full((2, 2), 3.0)
print("sum:", torch.add(a, b).tolist())
c = a.clone()
c.add_(b)
print("in place:", c.tolist())
print("difference:", a.sub(b).tolist(), "in place:", c.sub_(b).tolist())
print(
    "product:", torch.mul(b, b).tolist(), "quotient:", b.div(2).tolist(), "power:", (b**2).tolist()
)

# Means and deviations, along no axis or one.
d = torch.Tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
print("mean:", d.mean().item(), d.mean(dim=1).tolist(), torch.mean(d, 0).tolist())
print("deviation:", [round(x, 4) for x in d.std(dim=1).tolist()])
values, places = torch.max(d, 1)
print("largest:", values.tolist(), "at", places.tolist())

# Products of matrices.
e = torch.arange(6, dtype=torch.float32).view(2, 3)
print(
    "matrix product:",
    torch.mm(e, e.t()).tolist(),
    "batched:",
    torch.bmm(e.unsqueeze(0), e.t().unsqueeze(0)).shape,
)
print(
    "stacked:",
    torch.cat([e, e], 0).shape,
    torch.stack([e, e]).shape,
    torch.einsum("ij,kj->ik", e, e).trace().item(),
)
