"""An import finder that answers ``import torch`` with chainrule."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

ROOTS = {"torch": "chainrule", "torchvision": "chainrule.interop.torch_names.vision"}
"""PyTorch's top-level modules, and what stands for each."""


def module_of(name: str) -> ModuleType | None:
    """The module that stands for one of PyTorch's; None where there is none.

    Args:
        name: a dotted name, as ``torch.nn.functional``.

    Example:
        >>> module_of("torch.nn.functional").__name__
        'chainrule.nn.functional'
        >>> module_of("torch.distributed") is None
        True
    """
    first, *rest = name.split(".")
    if first not in ROOTS:
        return None
    found: Any = importlib.import_module(ROOTS[first])
    for part in rest:
        found = _inside(found, part)
        if not isinstance(found, ModuleType):
            return None
    module: ModuleType = found
    return module


def _inside(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        pass
    path = f"{module.__name__}.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        # A module that is there but lacks something it needs says so itself.
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise
        return None


class _Loader(importlib.abc.Loader):
    """Gives a module that exists under another name, as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import machinery has put PyTorch's name there


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for ``torch`` and ``torchvision``, also where they are installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOTS:
            return None
        module = module_of(fullname)
        if module is None:
            raise ModuleNotFoundError(
                f"chainrule has nothing that stands for {fullname}", name=fullname
            )
        return importlib.machinery.ModuleSpec(
            fullname, _Loader(module), is_package=hasattr(module, "__path__")
        )


def _ours(name: str) -> bool:
    return name.partition(".")[0] in ROOTS


@contextmanager
def serving() -> Iterator[None]:
    """Inside the ``with`` block ``import torch`` and ``import torchvision`` give chainrule.

    PyTorch itself is not imported; what was imported of it before is there again afterwards.

    Example:
        >>> with serving():
        ...     import torch
        >>> import chainrule
        >>> torch is chainrule
        True
    """
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _ours(name)}
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
