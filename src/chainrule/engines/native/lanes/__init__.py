"""Many trainings at once, a training in each lane of a vector.

The same simplified graph of a step that other kernels are made of is written out with every scalar
of it a vector over trainings: memory holds ``[element][lane]``. What is equal in all trainings of a
vector (the batch, a step counter) stays a scalar.
"""

from __future__ import annotations

from .cost import Estimate as Estimate
from .cost import estimate as estimate
from .cost import lanes_of as lanes_of
from .loop import Kind as Kind
from .loop import LaneLoop as LaneLoop
from .loop import compile_lanes as compile_lanes
from .loop import prepared as prepared
from .vary import Differences as Differences
from .vary import varying as varying
