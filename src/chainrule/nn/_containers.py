"""Modules that hold modules: in a row, in a list, under names; and parameters in a list."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self, overload

from ..errors import ModuleError
from ..tensor import Tensor
from ._module import Module
from ._parameter import Parameter

NO_CALL = (
    "{cls} only holds modules and cannot be called.\n"
    "  fix: call its members, for example `for layer in self.layers: x = layer(x)`, "
    "or use nn.Sequential"
)


class _ModuleRow(Module):
    """Children under the names '0', '1', ...: what Sequential and ModuleList share."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._row())

    def _row(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            return self._with(self._row()[index])
        return self._row()[self._position(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[self._position(index)], module)

    def __delitem__(self, index: int | slice) -> None:
        row = self._row()
        if isinstance(index, slice):
            del row[index]
        else:
            del row[self._position(index)]
        self._refill(row)

    def _position(self, index: int) -> int:
        count = len(self)
        place = operator.index(index)
        if not -count <= place < count:
            raise IndexError(
                f"{type(self).__name__} holds {count} modules; there is none at {place}"
            )
        return place % count

    def _with(self, modules: Iterable[Module]) -> Self:
        new = type(self)()
        new._refill(modules)
        return new

    def _refill(self, modules: Iterable[Module]) -> None:
        self._modules.clear()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at `index`; those after it move up by one."""
        row = self._row()
        row.insert(index, module)
        self._refill(row)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take out the module at `index` and return it."""
        module = self[index]
        del self[index]
        return module

    def __add__(self, other: Iterable[Module]) -> Self:
        return self._with([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)


class Sequential(_ModuleRow):
    """Modules called one after the other, each with the output of the one before.

    Args:
        *modules: the modules, or one dict from names to modules.

    Shapes: whatever the first takes, whatever the last gives.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Linear(4, 8), cr.nn.ReLU(), cr.nn.Linear(8, 3))
    >>> tuple(model(cr.zeros(5, 4)).shape)
    (5, 3)
    >>> model[1]
    ReLU()
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for position, member in enumerate(modules):
                self.add_module(str(position), member)  # type: ignore[arg-type]

    def forward(self, input: Any) -> Any:
        """Pass `input` through all modules in turn."""
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input


class ModuleList(_ModuleRow):
    """A list of modules that the network owns; call its members in `forward`.

    Args:
        modules: the modules to start with.

    >>> import chainrule as cr
    >>> layers = cr.nn.ModuleList([cr.nn.Linear(3, 3) for _ in range(2)])
    >>> layers
    ModuleList(
      (0-1): 2 x Linear(in_features=3, out_features=3, bias=True)
    )
    """

    _called: ClassVar[bool] = False

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a list has no order of computing."""
        raise ModuleError(NO_CALL.format(cls=type(self).__name__))


class ModuleDict(Module):
    """Modules under names of the user's choice; call its members in `forward`.

    Args:
        modules: a mapping, or pairs of name and module, to start with.

    >>> import chainrule as cr
    >>> heads = cr.nn.ModuleDict({"digit": cr.nn.Linear(8, 10), "odd": cr.nn.Linear(8, 1)})
    >>> tuple(heads["odd"](cr.zeros(2, 8)).shape)
    (2, 1)
    """

    _called: ClassVar[bool] = False

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        module = self._modules[key]
        assert module is not None
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace several modules."""
        for name, module in dict(modules).items():
            self.add_module(name, module)

    def pop(self, key: str) -> Module:
        """Take out the module under `key` and return it."""
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Take out all modules."""
        for name in list(self._modules):
            delattr(self, name)

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return [self[name] for name in self._modules]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return pairs of name and module."""
        return [(name, self[name]) for name in self._modules]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a dict has no order of computing."""
        raise ModuleError(NO_CALL.format(cls=type(self).__name__))


class ParameterList(Module):
    """A list of parameters that the network owns.

    Args:
        values: tensors or parameters to start with; tensors become parameters.

    >>> import chainrule as cr
    >>> weights = cr.nn.ParameterList([cr.zeros(2), cr.zeros(3)])
    >>> [name for name, _ in weights.named_parameters()]
    ['0', '1']
    """

    _called: ClassVar[bool] = False

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter([held for held in self._parameters.values() if held is not None])

    def __getitem__(self, index: int) -> Parameter:
        return list(self)[index]

    def __setitem__(self, index: int, value: Tensor) -> None:
        name = list(self._parameters)[index]
        self.register_parameter(name, _as_parameter(value))

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add several parameters at the end."""
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        """One line a parameter: its dtype and shape."""
        lines = [
            f"({name}): Parameter of {held.dtype}, size {tuple(held.shape)}"
            for name, held in self._parameters.items()
            if held is not None
        ]
        return "\n".join(lines)


def _as_parameter(value: Tensor) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
