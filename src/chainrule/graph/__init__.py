"""The graph: nodes, walks, traces, verification, printing."""

from __future__ import annotations

from .graph import Graph as Graph
from .graph import format_graph as format_graph
from .node import CONSTANT as CONSTANT
from .node import INPUT as INPUT
from .node import Aval as Aval
from .node import Node as Node
from .node import Op as Op
from .node import make_aval as make_aval
from .trace import Trace as Trace
from .trace import Traced as Traced
from .trace import outside as outside
from .walk import consumers as consumers
from .walk import topological as topological
