"""PyTorch's module names on chainrule: which names a script uses, and imports that find them."""

from __future__ import annotations

from ._check import NameUse as NameUse
from ._check import check_script as check_script
from ._check import describe as describe
from ._finder import serving as serving
