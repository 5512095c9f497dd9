"""The reference: a graph interpreted by NumPy, each op by its own meaning."""

from __future__ import annotations

from .program import SUPPORT as SUPPORT
from .program import Program as Program
from .program import compile_graph as compile_graph
