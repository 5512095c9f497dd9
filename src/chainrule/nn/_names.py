"""Which names a module takes for its parameters, buffers and children, and what settings differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ModuleError

if TYPE_CHECKING:
    from ._module import Module

MISSING_INIT = (
    "{cls}: cannot register {name!r} because Module.__init__ has not run.\n"
    "  fix: call super().__init__() first in {cls}.__init__"
)
WRONG_KIND = (
    "{cls}.{name} is registered as a {kind}; it cannot be assigned a {given}.\n"
    "  expected: {expected} or None\n"
    "  fix: {fix}"
)
BAD_NAME = "{cls}: {name!r} is no name for a {kind}: {why}"
REGISTRIES = ("_parameters", "_buffers", "_modules")


def registry_of(module: Module, name: str) -> dict[str, Any] | None:
    """Return the registry (parameters, buffers or children) that holds `name`, or None."""
    own = module.__dict__
    for registry in REGISTRIES:
        if name in own.get(registry, ()):
            found: dict[str, Any] = own[registry]
            return found
    return None


def check_ready(module: Module, name: str) -> None:
    """Refuse a registration before `Module.__init__` has made the registries."""
    if "_parameters" not in module.__dict__:
        raise ModuleError(MISSING_INIT.format(cls=type(module).__name__, name=name))


def check_name(module: Module, name: Any, kind: str, registry: str) -> None:
    """Refuse a name that cannot be a key of the state, or that means something already."""
    check_ready(module, name)
    cls = type(module).__name__
    why = ""
    if not isinstance(name, str):
        why = f"a {type(name).__name__} was given, a str is expected"
    elif not name:
        why = "it is empty"
    elif "." in name:
        why = "names must not contain '.', which separates the levels of a state_dict key"
    elif name in module.__dict__[registry]:
        return
    elif name in module.__dict__ or hasattr(type(module), name):
        why = f"{cls}.{name} exists already"
    elif registry_of(module, name) is not None:
        why = f"{cls}.{name} is registered already, as another kind"
    if why:
        raise ModuleError(BAD_NAME.format(cls=cls, name=name, kind=kind, why=why))


def wrong_kind(module: Module, name: str, kind: str, value: object) -> ModuleError:
    """Return the error for a value that a registered name cannot hold."""
    expected, fix = {
        "parameter": ("Parameter", f"assign nn.Parameter(value), or self.{name}.data = value"),
        "buffer": ("Tensor", f"assign cr.tensor(value), or delete self.{name} first"),
        "module": ("Module", f"assign a module, or delete self.{name} first"),
    }[kind]
    given, cls = type(value).__name__, type(module).__name__
    return ModuleError(
        WRONG_KIND.format(cls=cls, name=name, kind=kind, given=given, expected=expected, fix=fix)
    )


def differ(held: object, given: object) -> bool:
    """Say whether two settings differ; values that are not plain are compared by identity."""
    if isinstance(given, bool | int | float | str | tuple) and type(held) is type(given):
        return held != given
    return held is not given
