"""Linear regression finds y = 2x + 1, in seven steps.

It is a PyTorch script. Run it as it is with `chainrule run examples/linear_regression.py`, or with
its imports changed to `import chainrule as torch` and `import chainrule.nn as nn`.
"""

import sys

import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Variable

# Step 1: the data.
x_train = np.array(range(11), dtype=np.float32).reshape(-1, 1)
y_train = 2 * x_train + 1

# Step 2: how often to go through them.
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 100


# Step 3: the model's class.
class LinearRegressionModel(nn.Module):
    def __init__(self, input_dim, output_dim):
        super(LinearRegressionModel, self).__init__()
        self.linear = nn.Linear(input_dim, output_dim)

    def forward(self, x):
        return self.linear(x)


# Step 4: the model.
torch.manual_seed(1)
model = LinearRegressionModel(1, 1)
use_cuda = torch.cuda.is_available()
if use_cuda:
    model.cuda()

# Step 5: the loss.
criterion = nn.MSELoss()

# Step 6: the optimizer.
learning_rate = 0.01
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)

# Step 7: the training.
for epoch in range(1, epochs + 1):
    inputs = Variable(torch.from_numpy(x_train))
    labels = Variable(torch.from_numpy(y_train))
    if use_cuda:
        inputs, labels = inputs.cuda(), labels.cuda()
    optimizer.zero_grad()
    outputs = model(inputs)
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    if epoch % (epochs // 5) == 0:
        print("epoch {}, loss {:.6f}".format(epoch, loss.item()))

predicted = model(Variable(torch.from_numpy(x_train))).data.cpu().numpy()
print("slope {:.3f} intercept {:.3f}".format(model.linear.weight.item(), model.linear.bias.item()))
print("largest error {:.4f}".format(np.abs(predicted - y_train).max()))

torch.save(model.state_dict(), "linear_regression.pkl")
again = LinearRegressionModel(1, 1)
again.load_state_dict(torch.load("linear_regression.pkl"))
print("loaded again:", bool((again.linear.weight == model.linear.weight).all()))
