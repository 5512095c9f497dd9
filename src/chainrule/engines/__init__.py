"""Ways to run a graph; each engine is imported only when it is used."""

from __future__ import annotations

from .program import Step as Step
