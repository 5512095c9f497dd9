"""A long short-term memory reads handwritten digits row by row (MNIST, under ./data).

It is a PyTorch script. Run it as it is with `chainrule run examples/lstm_network.py`, or
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
num_epochs = max(1, int(n_iters / (len(train_dataset) / batch_size)))
torch.manual_seed(0)
train_loader = torch.utils.data.DataLoader(
    dataset=train_dataset, batch_size=batch_size, shuffle=True
)
test_loader = torch.utils.data.DataLoader(
    dataset=test_dataset, batch_size=batch_size, shuffle=False
)


# Step 3: the model's class.
class LSTMModel(nn.Module):
    def __init__(self, input_dim, hidden_dim, layer_dim, output_dim):
        super(LSTMModel, self).__init__()
        self.hidden_dim = hidden_dim
        self.layer_dim = layer_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x):
        h0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim).requires_grad_().to(device)
        c0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim).requires_grad_().to(device)
        out, _ = self.lstm(x, (h0.detach(), c0.detach()))
        out = self.fc(out[:, -1, :])
        return out


# Step 4: the model.
input_dim = 28
hidden_dim = 100
layer_dim = 1
output_dim = 10
model = LSTMModel(input_dim, hidden_dim, layer_dim, output_dim)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
model.to(device)

# Step 5: the loss; it applies softmax itself.
criterion = nn.CrossEntropyLoss()

# Step 6: the optimizer.
learning_rate = 0.1
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
print([tuple(parameter.size()) for parameter in model.parameters()])

# Step 7: the training; an image is read as 28 rows, one a step.
seq_dim = 28
iteration = 0
for epoch in range(num_epochs):
    for i, (images, labels) in enumerate(train_loader):
        images = images.view(-1, seq_dim, input_dim).requires_grad_().to(device)
        labels = labels.to(device)
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        iteration += 1
        if iteration % 100 == 0:
            correct = 0
            total = 0
            with torch.no_grad():
                for images, labels in test_loader:
                    outputs = model(images.view(-1, seq_dim, input_dim).to(device))
                    _, predicted = torch.max(outputs.data, 1)
                    total += labels.size(0)
                    correct += (predicted.cpu() == labels).sum()
            accuracy = 100 * correct.item() / total
            print(
                "iteration: {}. loss: {:.3f}. accuracy: {:.2f}".format(
                    iteration, loss.item(), accuracy
                )
            )
        if iteration == n_iters:
            break

torch.save(model.state_dict(), "lstm_network.pkl")
