"""Findings: what goes wrong in a training, with the numbers that show it and what to do.

`diagnose(run, model=..., train=..., validation=...)` looks with whatever it is given; each kind of
finding says in its own module when it is made, and from which numbers.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ..train.findings import Finding as Finding
from ._diagnose import KINDS as KINDS
from ._diagnose import diagnose as diagnose
from ._leak import leaking_features as leaking_features


class _Room(ModuleType):
    """This module, which can be called: `chainrule.diagnose` is the function and its room."""

    def __call__(self, *args: Any, **kwargs: Any) -> list[Finding]:
        return diagnose(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
