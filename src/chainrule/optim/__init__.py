"""Optimizers: PyTorch's names, settings and state, written as graph code."""

from __future__ import annotations

from ._adam import Adam as Adam
from ._adam import AdamW as AdamW
from ._optimizer import Optimizer as Optimizer
from ._sgd import SGD as SGD
