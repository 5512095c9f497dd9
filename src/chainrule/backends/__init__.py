"""PyTorch's ``backends`` namespace, for scripts that ask what there is or set its switches.

Results are the same bits in every run, whatever the switches say.

Example:
    >>> import chainrule.backends.cudnn as cudnn
    >>> cudnn.deterministic = True
    >>> mps.is_available(), cuda.is_built()
    (False, False)
"""

from __future__ import annotations

from . import cuda as cuda
from . import cudnn as cudnn
from . import mps as mps
