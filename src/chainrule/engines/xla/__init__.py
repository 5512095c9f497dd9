"""Graphs compiled by XLA, through JAX: for GPUs and TPUs, and as a second opinion on a CPU."""

from __future__ import annotations

from .program import SUPPORT as SUPPORT
from .program import Program as Program
from .program import compile_graph as compile_graph
