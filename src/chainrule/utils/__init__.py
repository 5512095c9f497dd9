"""PyTorch's place for data loading: `utils.data` is `chainrule.data`."""

from __future__ import annotations

from . import data as data
