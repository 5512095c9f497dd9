"""The tensor: the handle that users hold on a node, and the functions that make and join them."""

from __future__ import annotations

from ._device import device as device
from ._tensor import Tensor as Tensor
from ._tensor import tensor as tensor
from ._trace import trace as trace
