"""Many independent trainings at once: how they differ, how they run, what comes of them."""

from __future__ import annotations

from .fit import ManyTrainings as ManyTrainings
from .runs import Runs as Runs
from .runs import Spread as Spread
from .search import Choice as Choice
from .search import LogUniform as LogUniform
from .search import Uniform as Uniform
from .search import search as search
