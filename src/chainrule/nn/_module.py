"""`Module`: the base of every layer and network.

A module owns parameters (trained), buffers (state that is not trained) and child modules, each
under the attribute name that the user gave it. Names joined with dots are the keys of `state_dict`
and the scopes that the nodes of the graph remember, so that a node can say which layer made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from ..config import STATE, VERSION
from ..dtypes import float32, float64
from ..errors import ModuleError
from ..ops import where_am_i
from ..tensor import Tensor
from ._calling import call_with_hooks
from ._describe import describe
from ._hooks import Hook, RemovableHandle
from ._names import REGISTRIES, check_name, check_ready, differ, registry_of, wrong_kind
from ._parameter import Parameter
from ._state_dict import LoadResult, collect_state, load_state

MISSING_FORWARD = (
    "{cls} has no forward.\n"
    "  fix: define `def forward(self, x)` in {cls}, or call one of its children: {children}"
)
NO_ATTRIBUTE = "{cls!r} object has no attribute {name!r}"


class Module:
    """Base class of layers and networks.

    Write `__init__`, which calls `super().__init__()` and assigns layers and `Parameter`s as
    attributes, and `forward`, which computes the output; then call the module like a function.

    Attributes:
        training: True after `train()`, False after `eval()`; dropout and normalisation read it.

    >>> import chainrule as cr
    >>> class Net(cr.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = cr.nn.Linear(2, 4)
    ...         self.out = cr.nn.Linear(4, 1)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).relu())
    >>> net = Net()
    >>> tuple(net(cr.zeros(3, 2)).shape)
    (3, 1)
    >>> [name for name, _ in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    _pre_hooks: dict[int, Hook]
    _hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _label: str
    # A list or dict of modules is never called itself: its children carry its name in theirs.
    _called: ClassVar[bool] = True
    # What a layer computes, in words, where that is a loop or has several results; views show it
    # instead of the ops, and the layer as one.
    _summary: ClassVar[str] = ""
    # The settings of our own layers are part of what is compiled: changing one compiles anew.
    _fixed: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._fixed = cls.__module__.startswith(__name__.rpartition(".")[0] + ".")

    def __init__(self) -> None:
        fresh = {
            "training": True,
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_transient": set(),
            "_pre_hooks": {},
            "_hooks": {},
            "_backward_hooks": {},
            "_label": "",
        }
        self.__dict__.update(fresh)

    # ---------------------------------------------------------------- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module that is called defines it."""
        children = ", ".join(self._modules) or "it has none"
        raise ModuleError(MISSING_FORWARD.format(cls=type(self).__name__, children=children))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` inside this module's scope, with the registered hooks around it."""
        state = STATE.__dict__
        outer, site = state["scope"], state["site"]
        label = self._label
        if label:
            state["scope"] = f"{outer}.{label}" if outer else label
        if not outer and state["trace"] is not None:
            state["trace"].modules.append((state["scope"], self))
        hooked = self._pre_hooks or self._hooks or self._backward_hooks
        # Inside of our own modules every node comes from the line that called the outermost one,
        # which is looked for once; a user's module, or hook, has lines of its own.
        if hooked or not self._fixed:
            state["site"] = None
        elif site is None:
            state["site"] = where_am_i()
        try:
            if hooked:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            state["scope"], state["site"] = outer, site

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Have `hook(module, args)` called before `forward`; a result replaces the arguments.

        Args:
            hook: takes the module and the tuple of positional arguments, with `with_kwargs` the
                dict of keyword arguments too; returns None, or the new arguments (with both: a
                pair).
            prepend: run it before the hooks that are already there.
        """
        return RemovableHandle(self._pre_hooks, Hook(hook, with_kwargs), first=prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Have `hook(module, args, output)` called after `forward`; a result replaces the output.

        Args:
            hook: as for `register_forward_pre_hook`, with the output as the last argument.
            prepend: run it before the hooks that are already there.
        """
        return RemovableHandle(self._hooks, Hook(hook, with_kwargs), first=prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Have `hook(module, grad_input, grad_output)` called when the gradients have come.

        Args:
            hook: takes the module and the gradients of its positional inputs and of its outputs, as
                tuples with None where there is none; what it returns replaces `grad_input`.
            prepend: run it before the hooks that are already there.
        """
        return RemovableHandle(self._backward_hooks, Hook(hook), first=prepend)

    # ----------------------------------------------------------- registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; assigning a `Parameter` to an attribute does the same."""
        check_name(self, name, "parameter", "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise wrong_kind(self, name, "parameter", param)
        self._parameters[name] = param
        VERSION.bump()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add state that is not trained, such as a running mean.

        Args:
            name: the attribute under which it is read.
            tensor: the value, or None.
            persistent: whether `state_dict` holds it.
        """
        check_name(self, name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise wrong_kind(self, name, "buffer", tensor)
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)
        VERSION.bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under `name`; assigning a module to an attribute does the same."""
        check_name(self, name, "module", "_modules")
        if module is not None and not isinstance(module, Module):
            raise wrong_kind(self, name, "module", module)
        self._modules[name] = module
        if module is not None:
            module._relabel(name if self._called or not self._label else f"{self._label}.{name}")
        VERSION.bump()

    register_module = add_module

    def _relabel(self, label: str) -> None:
        """Remember the name from the nearest module that is called down to this one."""
        self.__dict__["_label"] = label
        if not self._called:
            for name, child in self._modules.items():
                if child is not None:
                    child._relabel(f"{label}.{name}" if label else name)

    # -------------------------------------------------------------- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            self.add_module(name, value)
        elif "_parameters" not in own:
            own[name] = value
        elif name in self._parameters:
            if value is not None:
                raise wrong_kind(self, name, "parameter", value)
            self.register_parameter(name, None)
        elif name in self._modules:
            if value is not None:
                raise wrong_kind(self, name, "module", value)
            self.add_module(name, None)
        elif name in self._buffers:
            self._assign_buffer(name, value)
        else:
            if (self._fixed or name == "training") and differ(own.get(name), value):
                VERSION.bump(mode=name == "training")
            object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: str) -> None:
        """Make room for a registration: the same name in another place is dropped."""
        check_ready(self, name)
        self.__dict__.pop(name, None)
        for registry in REGISTRIES:
            if registry != keep:
                self.__dict__[registry].pop(name, None)

    def _assign_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise wrong_kind(self, name, "buffer", value)
        held = self._buffers[name]
        if STATE.trace is not None and held is not None and value is not None:
            # Inside a trace the handle must live on: the compiled step writes to it.
            held._rebind(value.node)
            return
        self._buffers[name] = value
        VERSION.bump()

    def __getattr__(self, name: str) -> Any:
        # Called only when the usual look-up has failed.
        own = self.__dict__
        parameters = own.get("_parameters")
        if parameters is not None and name in parameters:
            return parameters[name]
        for registry in REGISTRIES:
            if registry in own and name in own[registry]:
                return own[registry][name]
        raise AttributeError(NO_ATTRIBUTE.format(cls=type(self).__name__, name=name))

    def __delattr__(self, name: str) -> None:
        registry = registry_of(self, name)
        if registry is None:
            object.__delattr__(self, name)
        else:
            del registry[name]
            self._transient.discard(name)
            VERSION.bump()

    def __dir__(self) -> list[str]:
        names = {
            *dir(type(self)),
            *self.__dict__,
            *self._parameters,
            *self._buffers,
            *self._modules,
        }
        return sorted(name for name in names if name.isidentifier())

    # ---------------------------------------------------------------- walking

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, with dotted names; a shared module comes once."""
        seen = set() if memo is None else memo
        if remove_duplicate:
            if self in seen:
                return
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(seen, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct children with their names; a shared one comes once."""
        seen: set[Module] = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the direct children."""
        for _, child in self.named_children():
            yield child

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with dotted names; a shared one comes once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, in the order of registration."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with dotted names; a shared one comes once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, in the order of registration."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, item in module.__dict__[registry].items():
                if item is None or (remove_duplicate and id(item) in seen):
                    continue
                seen.add(id(item))
                yield (f"{path}.{name}" if path else name), item

    def get_submodule(self, target: str) -> Module:
        """Return the module with this dotted name; an empty name is this module."""
        return self._walk(target, target.split(".") if target else [])

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with this dotted name."""
        found: Parameter = self._leaf(target, "_parameters", "parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with this dotted name."""
        found: Tensor = self._leaf(target, "_buffers", "buffer")
        return found

    def _walk(self, target: str, steps: list[str]) -> Module:
        module: Module = self
        for step in steps:
            child = module._modules.get(step)
            if child is None:
                where = f"{type(module).__name__} has {', '.join(module._modules) or 'no children'}"
                raise AttributeError(f"there is no module {target!r}: no {step!r} below, {where}")
            module = child
        return module

    def _leaf(self, target: str, registry: str, kind: str) -> Any:
        *steps, name = target.split(".")
        held = self._walk(target, steps).__dict__[registry]
        if held.get(name) is None:
            known = ", ".join(held) or "none"
            raise AttributeError(f"there is no {kind} {target!r}: the {kind}s there are {known}")
        return held[name]

    # ----------------------------------------------------------- whole modules

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call `fn` with every module below and then with this one: for initialising weights."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training, or with False to evaluation."""
        if not isinstance(mode, bool):
            raise ModuleError(f"train(mode) takes True or False, a {type(mode).__name__} was given")
        for module in self.modules():
            if module.training is not mode:
                module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: dropout passes all, normalisation uses its running statistics."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Have all parameters trained, or with False freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters; `set_to_none=False` makes them zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.detach() * 0

    def _replace(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Rebind what is floating, parameters and buffers, to what `change` makes of it."""
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.is_float:
                before = tensor.dtype
                tensor.data = change(tensor.detach())
                if tensor.dtype is not before:
                    VERSION.bump()
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert as `Tensor.to` does; a dtype applies to floating parameters and buffers only."""
        return self._replace(lambda tensor: tensor.to(*args, **kwargs))

    def float(self) -> Self:
        """Convert floating parameters and buffers to float32."""
        return self.to(float32)

    def double(self) -> Self:
        """Convert floating parameters and buffers to float64."""
        return self.to(float64)

    def cpu(self) -> Self:
        """Keep the parameters in the computer's own memory, where they are."""
        return self.to(device="cpu")

    def cuda(self, device: Any = "cuda") -> Self:
        """Say that eager tensors live in the computer's own memory; see `Tensor.cuda`."""
        return self._replace(lambda tensor: tensor.cuda(device))

    # ------------------------------------------------------------------- state

    def state_dict(
        self,
        *,
        destination: dict[str, Tensor] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Tensor]:
        """Return all parameters and persistent buffers under their dotted names.

        The tensors are detached and keep their value: training further does not change them.

        Args:
            destination: a dict to add to, instead of a new one.
            prefix: put before every name.
            keep_vars: return the parameters and buffers themselves.

        >>> import chainrule as cr
        >>> list(cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU()).state_dict())
        ['0.weight', '0.bias']
        """
        return collect_state(self, {} if destination is None else destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Copy tensors or NumPy arrays into the parameters and buffers of the same names.

        Args:
            state_dict: what `state_dict()` gave, or any mapping from names to tensors or arrays.
            strict: refuse missing and unexpected names.
            assign: take over the given dtype too, instead of converting to the present one.

        Returns:
            `missing_keys` and `unexpected_keys`.

        Raises:
            ModuleError: a name (with `strict`) or a shape does not fit; nothing is changed then.
        """
        return load_state(self, state_dict, strict, assign)

    # ------------------------------------------------------------------- print

    def extra_repr(self) -> str:
        """Return what stands in the parentheses of `repr`: the layer's settings."""
        return ""

    def __repr__(self) -> str:
        return describe(self)
