"""The native engine: graphs as machine code through LLVM.

``trace -> simplify -> fuse -> choose layouts -> plan memory -> emit -> JIT -> run``
"""

from __future__ import annotations

from .loop import Loop as Loop
from .loop import compile_loop as compile_loop
from .lower.support import SUPPORT as SUPPORT
from .lower.support import check_supported as check_supported
from .profile import Profile as Profile
from .program import Program as Program
from .program import compile_graph as compile_graph
