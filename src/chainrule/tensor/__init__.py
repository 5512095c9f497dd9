"""The tensor: the handle that users hold on a node, and the functions that make and join them."""

from __future__ import annotations

from ._create import from_numpy as from_numpy
from ._create import full as full
from ._create import zeros as zeros
from ._device import device as device
from ._functions import cat as cat
from ._random import Generator as Generator
from ._random import default_generator as default_generator
from ._tensor import Tensor as Tensor
from ._tensor import tensor as tensor
from ._trace import trace as trace
