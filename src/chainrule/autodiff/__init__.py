"""Derivatives: the sweep that adds the backward pass to the graph."""

from __future__ import annotations

from ._scan import scan_nodes as scan_nodes
from ._sweep import Part as Part
from ._sweep import Sweep as Sweep
from ._sweep import sweep as sweep
from ._sweep import sweep_all as sweep_all
