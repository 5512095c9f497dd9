"""Reading and loading a module's state: dotted names to tensors, with PyTorch's keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ModuleError
from ..tensor import Tensor, tensor

if TYPE_CHECKING:
    from ._module import Module

MISMATCH = "{cls}.load_state_dict: the given state does not fit this module.\n{lines}"


class LoadResult(NamedTuple):
    """What `load_state_dict` found: names that it lacked, and names that it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if self.missing_keys or self.unexpected_keys:
            return (
                f"LoadResult(missing_keys={self.missing_keys}, "
                f"unexpected_keys={self.unexpected_keys})"
            )
        return "<All keys matched successfully>"


def state_handles(module: Module, prefix: str = "") -> Iterable[tuple[str, Tensor]]:
    """Yield the parameters and persistent buffers, module by module, under their full names."""
    for path, part in module.named_modules(prefix=prefix, remove_duplicate=False):
        start = f"{path}." if path and not path.endswith(".") else path
        for name, parameter in part._parameters.items():
            if parameter is not None:
                yield start + name, parameter
        for name, buffer in part._buffers.items():
            if buffer is not None and name not in part._transient:
                yield start + name, buffer


def collect_state(
    module: Module, destination: dict[str, Tensor], prefix: str, keep_handles: bool
) -> dict[str, Tensor]:
    """Fill `destination` with the module's state; detached unless `keep_handles`."""
    for name, handle in state_handles(module):
        destination[prefix + name] = handle if keep_handles else handle.detach()
    return destination


def load_state(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> LoadResult:
    """Copy the given values in; everything is checked before anything is changed."""
    if not isinstance(given, Mapping):
        raise ModuleError(
            f"load_state_dict takes a mapping from names to tensors, "
            f"a {type(given).__name__} was given.\n"
            "  fix: pass what state_dict() or cr.load(path) returned"
        )
    held = dict(state_handles(module))
    missing = [name for name in held if name not in given]
    unexpected = [name for name in given if name not in held]
    lines = _name_faults(held, missing, unexpected) if strict else []
    fitting = []
    for name in held.keys() & given.keys():
        value = _as_tensor(given[name])
        if tuple(value.shape) != tuple(held[name].shape):
            lines.append(
                f"  {name}: shape {tuple(value.shape)} is given, "
                f"{tuple(held[name].shape)} is expected"
            )
        fitting.append((held[name], value))
    if lines:
        fix = "  fix: build the module as it was when the state was saved"
        fix += "" if not (missing or unexpected) else ", or pass strict=False to load what fits"
        text = "\n".join([*sorted(lines), fix])
        raise ModuleError(MISMATCH.format(cls=type(module).__name__, lines=text))
    for handle, value in fitting:
        handle.data = value if assign else value.to(handle.dtype)
    return LoadResult(missing, unexpected)


def _name_faults(held: Iterable[str], missing: list[str], unexpected: list[str]) -> list[str]:
    lines = [f"  {name}: missing in the given state" for name in missing]
    for name in unexpected:
        near = difflib.get_close_matches(name, list(held), n=1)
        hint = f"; the nearest name here is {near[0]}" if near else ""
        lines.append(f"  {name}: not known here{hint}")
    return lines


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    return tensor(np.asarray(value))
