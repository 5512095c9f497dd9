"""Views: what a network computes, how, and why, as numbers, text and pictures.

Every function here returns a `View`. Views read: they run copies, and never change the model.
"""

from __future__ import annotations

from ._blame import blame as blame
from ._confusion import confusion as confusion
from ._curves import curves as curves
from ._graph import graph as graph
from ._layers import layers as layers
from ._network import network as network
from ._steps import steps as steps
from ._trainings import trainings as trainings
from ._view import View as View
from ._weight import weight as weight
