"""A map of 65,536 trainings: every pixel is a network that learned XOR, or did not.

Run it with `python examples/map_of_trainings.py`. It takes seconds and writes two pictures,
`map_of_trainings.svg` and `map_of_trainings.png` (the second needs matplotlib). The first number
behind it is the length of a side, the second one the number of epochs:
`python examples/map_of_trainings.py 64 1000`.
"""

import sys

import numpy as np

import chainrule as cr
from chainrule import nn

side = int(sys.argv[1]) if len(sys.argv) > 1 else 256
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 3000

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([[0], [1], [1], [0]], np.float32)

cr.manual_seed(1)
model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
optimizer = cr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
trainer = cr.Trainer(model, nn.MSELoss(), optimizer)

# All trainings begin at the same weights. Only rate and momentum differ.
runs = trainer.fit_many(
    (x, y),
    epochs=epochs,
    batch_size=4,
    lr=np.geomspace(0.001, 2, side),
    momentum=np.linspace(0, 0.995, side),
    grid=True,
    history="last",
)

steps = len(runs) * epochs
print(f"{runs}")
print(f"{runs.seconds:.1f} s, {1e9 * runs.seconds / steps:.0f} ns a training step; {runs.way}")
best = runs.best("loss")
print(f"best: loss {runs.last('loss')[best]:.3g} with {runs.of(best)}")

view = cr.explain.trainings(runs, x="lr", y="momentum", value="loss")
print(view.save("map_of_trainings.svg"))
print(view.save("map_of_trainings.png"))
