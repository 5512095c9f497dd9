"""Errors for the user: what was given, what was expected, where, and what to do.

Every error that chainrule raises on purpose is a :class:`ChainruleError`; most are also the
built-in error that a NumPy or PyTorch user would catch for the same mistake.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class ChainruleError(Exception):
    """Base of every error that chainrule raises on purpose."""


class ShapeError(ChainruleError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(ChainruleError, TypeError):
    """A dtype, or a kind of value, that an operation does not take."""


class IndexRangeError(ChainruleError, IndexError):
    """An index outside its axis."""


class GradientError(ChainruleError, RuntimeError):
    """A derivative that does not exist or was not kept."""


class TraceError(ChainruleError, RuntimeError):
    """Code that asks a traced tensor for a value it does not have yet."""


class GraphError(ChainruleError, RuntimeError):
    """A graph that breaks a rule of the graph."""


class ModuleError(ChainruleError, RuntimeError):
    """A module that is put together, or loaded, in a way that cannot work."""


class EngineError(ChainruleError, RuntimeError):
    """An engine that cannot run what it was given."""


class MemoryLimitError(ChainruleError, MemoryError):
    """A program that needs more memory than there is; nothing of it was allocated."""


class DataError(ChainruleError, ValueError):
    """Data that cannot be read, or does not hold what was asked of it."""


class OptionError(ChainruleError, ValueError):
    """An option that does not exist, or a value it does not take."""


class StoreError(ChainruleError, RuntimeError):
    """A run store or checkpoint that cannot be read or written."""


class NonFiniteError(ChainruleError, FloatingPointError):
    """A training met a NaN or an infinity, and was asked to stop at it."""


class MissingExtraError(ChainruleError, ImportError):
    """An optional library that is not installed."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say which extra installs it.

    Args:
        module: the library's import name.
        extra: the extra of chainrule that brings it.
        purpose: what it is needed for, to follow "is needed for".

    Raises:
        MissingExtraError: when it is not installed.

    Example:
        >>> require("json", "all", "reading JSON").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed for {purpose} and is not installed.\n"
            f'  fix: pip install "chainrule[{extra}]"'
        ) from error
