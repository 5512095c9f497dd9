"""Reports: one self-contained page that shows a training from a single example to its findings."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ._report import Report as Report
from ._report import report as report


class _Room(ModuleType):
    """This module, which can be called: `chainrule.report` is the function and its room."""

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        return report(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
