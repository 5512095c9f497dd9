"""A convolutional network with two blocks reads handwritten digits (MNIST, under ./data).

It is a PyTorch script. Run it as it is with `chainrule run examples/convolutional_network.py`, or
with its imports changed to `import chainrule as torch`, `import chainrule.nn as nn`,
`import chainrule.data.datasets as dsets` and `import chainrule.data.transforms as transforms`.
"""

import sys

import torch
import torch.nn as nn
import torchvision.datasets as dsets
import torchvision.transforms as transforms

# Step 1: the data.
train_dataset = dsets.MNIST(
    root="./data", train=True, transform=transforms.ToTensor(), download=True
)
test_dataset = dsets.MNIST(root="./data", train=False, transform=transforms.ToTensor())

# Step 2: in batches.
batch_size = 100
n_iters = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
torch.manual_seed(0)
train_loader = torch.utils.data.DataLoader(
    dataset=train_dataset, batch_size=batch_size, shuffle=True
)
test_loader = torch.utils.data.DataLoader(
    dataset=test_dataset, batch_size=batch_size, shuffle=False
)


# Step 3: the model's class. Each block: kernels that move over the image, ReLU, the largest of 2x2.
class CNNModel(nn.Module):
    def __init__(self):
        super(CNNModel, self).__init__()
        self.cnn1 = nn.Conv2d(in_channels=1, out_channels=16, kernel_size=5, stride=1, padding=2)
        self.relu1 = nn.ReLU()
        self.maxpool1 = nn.MaxPool2d(kernel_size=2)
        self.cnn2 = nn.Conv2d(in_channels=16, out_channels=32, kernel_size=5, stride=1, padding=2)
        self.relu2 = nn.ReLU()
        self.maxpool2 = nn.MaxPool2d(kernel_size=2)
        self.fc1 = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x):
        out = self.maxpool1(self.relu1(self.cnn1(x)))  # 16 images of 14x14
        out = self.maxpool2(self.relu2(self.cnn2(out)))  # 32 images of 7x7
        out = out.view(out.size(0), -1)
        return self.fc1(out)


# Step 4: the model.
model = CNNModel()
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
model.to(device)

# Step 5: the loss; it applies softmax itself.
criterion = nn.CrossEntropyLoss()

# Step 6: the optimizer.
learning_rate = 0.05
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
print(len(list(model.parameters())))
for parameter in model.parameters():
    print(tuple(parameter.size()))


def accuracy():
    correct = 0
    total = 0
    with torch.no_grad():
        for images, labels in test_loader:
            outputs = model(images.to(device))
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted.cpu() == labels).sum()
    return 100 * correct.item() / total


# Step 7: the training.
iteration = 0
while iteration < n_iters:
    for images, labels in train_loader:
        images = images.requires_grad_().to(device)
        labels = labels.to(device)
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        iteration += 1
        if iteration % 500 == 0 or iteration == n_iters:
            print(
                "iteration: {}. loss: {:.3f}. accuracy: {:.2f}".format(
                    iteration, loss.item(), accuracy()
                )
            )
        if iteration == n_iters:
            break

torch.save(model.state_dict(), "convolutional_network.pkl")
