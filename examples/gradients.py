"""Gradients: what `backward` computes, and where it leaves it.

It is a PyTorch script. Run it as it is with `chainrule run examples/gradients.py`, or with its
imports changed to `import chainrule as torch` and `from chainrule.autograd import Variable`.
"""

import torch
from torch.autograd import Variable

# Only what is asked for gets a gradient.
print(
    "asked for:", torch.ones((2, 2)).requires_grad, torch.ones(2, 2).requires_grad_().requires_grad
)
x = Variable(torch.ones(2), requires_grad=True)

# y_i = 5 (x_i + 1)²: its slope at x = 1 is 10 (x + 1) = 20.
y = 5 * (x + 1) ** 2
print("y:", y.tolist())

# The mean of both halves the slopes.
o = (1 / 2) * torch.sum(y)
o.backward()
print("slopes of the mean:", x.grad.tolist())

# Gradients add up until they are set to zero.
o = (1 / 2) * torch.sum(5 * (x + 1) ** 2)
o.backward()
print("twice:", x.grad.tolist())
x.grad.zero_()
print("set to zero:", x.grad.tolist())

# A gradient that comes from behind is handed on: vector-Jacobian product.
y = 5 * (x + 1) ** 2
y.backward(torch.tensor([1.0, 0.1]))
print("with a gradient from behind:", [round(g, 5) for g in x.grad.tolist()])

# The graph J = 3 (a + b c), and every partial derivative in it.
a, b, c = (torch.tensor(value, requires_grad=True) for value in (5.0, 3.0, 2.0))
u = b * c
v = a + u
J = 3 * v
slopes = torch.autograd.grad(J, [v, u, a, b, c])
print("J:", J.item(), "slopes of v, u, a, b, c:", [slope.item() for slope in slopes])

# Second derivatives.
t = torch.tensor(2.0, requires_grad=True)
(slope,) = torch.autograd.grad(t**3, t, create_graph=True)
(bend,) = torch.autograd.grad(slope, t)
print("t³ at 2: slope", slope.item(), "bend", bend.item())

# Hooks see gradients on their way.
seen = []
w = torch.tensor([1.0, -2.0], requires_grad=True)
h = (w * 3).relu()
h.register_hook(lambda gradient: seen.append(gradient.tolist()))
h.sum().backward()
print("seen:", seen, "left:", w.grad.tolist())

with torch.no_grad():
    print("no history:", (w * 2).requires_grad, w.detach().requires_grad)
