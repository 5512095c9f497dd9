"""Logistic regression reads handwritten digits (MNIST, under ./data).

It is a PyTorch script. Run it as it is with `chainrule run examples/logistic_regression.py`, or
with its imports changed to `import chainrule as torch`, `import chainrule.nn as nn`,
`import chainrule.data.datasets as dsets` and `import chainrule.data.transforms as transforms`.
"""

import sys

import torch
import torch.nn as nn
import torchvision.datasets as dsets
import torchvision.transforms as transforms
from torch.autograd import Variable

# Step 1: the data.
train_dataset = dsets.MNIST(
    root="./data", train=True, transform=transforms.ToTensor(), download=True
)
test_dataset = dsets.MNIST(root="./data", train=False, transform=transforms.ToTensor())

# Step 2: in batches.
batch_size = 100
n_iters = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
num_epochs = int(n_iters / (len(train_dataset) / batch_size))
torch.manual_seed(0)
train_loader = torch.utils.data.DataLoader(
    dataset=train_dataset, batch_size=batch_size, shuffle=True
)
test_loader = torch.utils.data.DataLoader(
    dataset=test_dataset, batch_size=batch_size, shuffle=False
)


# Step 3: the model's class.
class LogisticRegressionModel(nn.Module):
    def __init__(self, input_dim, output_dim):
        super(LogisticRegressionModel, self).__init__()
        self.linear = nn.Linear(input_dim, output_dim)

    def forward(self, x):
        out = self.linear(x)
        return out


# Step 4: the model.
input_dim = 28 * 28
output_dim = 10
model = LogisticRegressionModel(input_dim, output_dim)
if torch.cuda.is_available():
    model.cuda()

# Step 5: the loss; it applies softmax itself.
criterion = nn.CrossEntropyLoss()

# Step 6: the optimizer.
learning_rate = 0.001
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
print([tuple(parameter.size()) for parameter in model.parameters()])

# Step 7: the training.
iteration = 0
for epoch in range(num_epochs):
    for i, (images, labels) in enumerate(train_loader):
        images = Variable(images.view(-1, 28 * 28))
        labels = Variable(labels)
        if torch.cuda.is_available():
            images, labels = images.cuda(), labels.cuda()
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        iteration += 1
        if iteration % 300 == 0:
            correct = 0
            total = 0
            for images, labels in test_loader:
                images = Variable(images.view(-1, 28 * 28))
                outputs = model(images)
                _, predicted = torch.max(outputs.data, 1)
                total += labels.size(0)
                correct += (predicted.cpu() == labels.cpu()).sum()
            accuracy = 100 * correct.item() / total
            print(
                "iteration: {}. loss: {:.3f}. accuracy: {:.2f}".format(
                    iteration, loss.item(), accuracy
                )
            )

torch.save(model.state_dict(), "logistic_regression.pkl")
