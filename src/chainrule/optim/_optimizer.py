"""`Optimizer`: parameter groups, state, and the walk over parameters that all update rules share.

A rule is graph code: it reads nodes, returns a node, and the parameter's handle is rebound to it.
The same `step()` therefore works eagerly and compiles with the training step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..config import STATE, VERSION, set_state
from ..dtypes import float64
from ..errors import DTypeError, OptionError, ShapeError
from ..graph.node import Node
from ..graph.trace import outside
from ..tensor import Tensor, tensor
from ._settings import ParamGroup, Settings

NO_PARAMETERS = (
    "{cls} was given no parameters.\n"
    "  fix: pass model.parameters(); a generator that was walked through once is empty"
)
ONE_TENSOR = (
    "{cls} takes an iterable of parameters, a {given} was given.\n"
    "  fix: pass model.parameters(), or [tensor]"
)
NOT_A_LEAF = (
    "{cls} can only change leaves; one of its tensors was computed: {what}.\n"
    "  fix: optimize the tensors it was computed from, or x.detach().requires_grad_()"
)
BAD_NUMBER = "{cls}: {name} must be {rule}; {value!r} was given"


class State:
    """One parameter's state during a step: read as nodes, written by rebinding handles."""

    __slots__ = ("held", "like")

    def __init__(self, held: dict[str, Tensor], like: Node) -> None:
        self.held = held
        self.like = like

    def read(self, name: str, start: float = 0.0) -> Any:
        """Return the node of a moment of the parameter's shape; `start` everywhere at first."""
        handle = self.held.get(name)
        if handle is None:
            with outside():
                value = np.full(self.like.shape, start, self.like.dtype.np)
                handle = self.held[name] = tensor(value)
        return handle.node

    def read_scalar(self, name: str, start: float = 0.0) -> Any:
        """Return the node of a 0-d float64 number; `start` at first."""
        handle = self.held.get(name)
        if handle is None:
            with outside():
                handle = self.held[name] = tensor(start, dtype=float64)
        return handle.node

    def write(self, name: str, node: Any) -> None:
        """Keep a new value."""
        keep(self.held[name], node)


def keep(handle: Tensor, node: Any) -> None:
    """Rebind a handle to a value without its history, which would grow from step to step."""
    if node.inputs and STATE.trace is None:
        node = Tensor(node).detach().node
    handle._rebind(node)


class Clock:
    """How many steps some parameters have seen, and the numbers that follow from it.

    Attributes:
        time: the count including the running step, a 0-d float64 node.
    """

    __slots__ = ("known", "time")

    def __init__(self, time: Any) -> None:
        self.time = time
        self.known: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what `make()` gives, computed once a step for all parameters of this clock."""
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = make()
        return found


class Optimizer:
    """Base of optimizers: subclasses define `update`, the rule for one parameter.

    Args:
        params: parameters, or dicts with "params" and settings of their own, or pairs of name and
            parameter.
        defaults: the settings of groups that do not name their own.

    Attributes:
        param_groups: list of dicts with "params" and the settings, to be changed at any time.
        state: for each parameter a dict of tensors.
    """

    # Whether the rule depends on the number of steps; parameters that started together share it.
    counts: ClassVar[bool] = False
    # The state that is one number, kept in float64, whatever the parameter's shape and dtype.
    scalars: ClassVar[frozenset[str]] = frozenset({"step", "started"})

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        cls = type(self).__name__
        if isinstance(params, Tensor | Mapping):
            raise OptionError(ONE_TENSOR.format(cls=cls, given=type(params).__name__))
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[ParamGroup] = []
        given = list(params)
        if not given:
            raise OptionError(NO_PARAMETERS.format(cls=cls))
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    # ------------------------------------------------------------------ groups

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters: a dict with "params" and any settings of its own.

        Raises:
            OptionError: for tensors that are no leaves or stand in a group already, and for
                settings that the optimizer does not have.
        """
        cls = type(self).__name__
        given = param_group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            members = [parameter for _, parameter in members]
        if not members:
            raise OptionError(NO_PARAMETERS.format(cls=cls))
        present = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for parameter in members:
            if not isinstance(parameter, Tensor):
                raise OptionError(ONE_TENSOR.format(cls=cls, given=type(parameter).__name__))
            if not parameter.is_leaf:
                raise OptionError(NOT_A_LEAF.format(cls=cls, what=parameter._node.describe()))
            if id(parameter) in present:
                raise OptionError(
                    f"{cls}: a parameter of shape {tuple(parameter.shape)} stands in two places.\n"
                    "  fix: name every parameter once, in one group"
                )
            present.add(id(parameter))
        settings = {name: value for name, value in param_group.items() if name != "params"}
        unknown = sorted(settings.keys() - self.defaults.keys() - {"name", "initial_lr"})
        if unknown:
            known = ", ".join(self.defaults)
            raise OptionError(
                f"{cls} has no setting {', '.join(unknown)}.\n  expected: some of {known}"
            )
        merged = {**self.defaults, **settings}
        self.check(merged)
        self.param_groups.append(ParamGroup(params=members, **merged))
        VERSION.bump()

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range."""
        rules: dict[str, tuple[str, Callable[[Any], bool]]] = {
            "lr": ("0 or more", lambda value: value >= 0),
            "momentum": ("0 or more", lambda value: value >= 0),
            "weight_decay": ("0 or more", lambda value: value >= 0),
            "eps": ("0 or more", lambda value: value >= 0),
            "betas": (
                "two numbers from 0 to below 1",
                lambda value: len(value) == 2 and all(0 <= beta < 1 for beta in value),
            ),
            "rho": ("from 0 to 1", lambda value: 0 <= value <= 1),
            "alpha": ("0 or more", lambda value: value >= 0),
            "lr_decay": ("0 or more", lambda value: value >= 0),
            "momentum_decay": ("0 or more", lambda value: value >= 0),
            "initial_accumulator_value": ("0 or more", lambda value: value >= 0),
        }
        for name, value in settings.items():
            rule, holds = rules.get(name, ("", None))
            if holds is not None and not holds(value):
                cls = type(self).__name__
                raise OptionError(BAD_NUMBER.format(cls=cls, name=name, rule=rule, value=value))

    # -------------------------------------------------------------------- step

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter's new node: the rule itself.

        Args:
            settings: the group's numbers.
            parameter: the parameter's node.
            gradient: its gradient's node, of its shape and dtype.
            state: its moments.
            clock: the step count, for rules that depend on it.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update rule")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient by one step of the rule.

        Args:
            closure: computes the loss anew and calls `backward()`; called once, before the step.

        Returns:
            What `closure` gave, or None.
        """
        loss = None
        if closure is not None:
            with set_state(grad_enabled=True):
                loss = closure()
        with set_state(grad_enabled=False):
            for group in self.param_groups:
                active = [parameter for parameter in group["params"] if parameter.grad is not None]
                if active:
                    self._step_group(group, active)
        return loss

    def _step_group(self, group: ParamGroup, active: list[Tensor]) -> None:
        settings = Settings(group)
        flip = bool(group.get("maximize"))
        clocks = self._advance(group, active) if self.counts else {}
        for parameter in active:
            node, gradient = parameter.node, parameter.grad.node
            if gradient.dtype is not node.dtype:
                gradient = gradient.cast(node.dtype)
            state = State(self.state.setdefault(parameter, {}), node)
            clock = clocks.get(id(parameter))
            new = self.update(settings, node, -gradient if flip else gradient, state, clock)
            parameter._rebind(new)

    def _advance(self, group: ParamGroup, active: list[Tensor]) -> dict[int, Clock]:
        """Count this step, once for all parameters that have seen the same steps."""
        users: dict[int, int] = {}
        for parameter in group["params"]:
            handle = self.state.get(parameter, {}).get("step")
            if handle is not None:
                users[id(handle)] = users.get(id(handle), 0) + 1
        together: dict[int, list[Tensor]] = {}
        for parameter in active:
            handle = self.state.setdefault(parameter, {}).get("step")
            together.setdefault(id(handle), []).append(parameter)
        clocks = {}
        for key, members in together.items():
            handle = self.state[members[0]].get("step")
            if handle is None or users[key] > len(members):
                handle = self._split(handle, members)
            clock = Clock(handle.node + 1)
            keep(handle, clock.time)
            clocks.update({id(parameter): clock for parameter in members})
        return clocks

    def _split(self, handle: Tensor | None, members: list[Tensor]) -> Tensor:
        """Give some parameters a step count of their own."""
        with outside():
            count = 0.0 if handle is None else handle.item()
            own = tensor(count, dtype=float64)
        for parameter in members:
            self.state[parameter]["step"] = own
        VERSION.bump()
        return own

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters; `set_to_none=False` makes them zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = None if set_to_none else parameter.grad.detach() * 0

    # ------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state in PyTorch's layout, parameters numbered in their order.

        The tensors keep their value: further steps do not change them.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                numbers[id(parameter)] = len(numbers)
            settings = {name: value for name, value in group.items() if name != "params"}
            members = [numbers[id(parameter)] for parameter in group["params"]]
            groups.append({**settings, "params": members})
        state = {
            numbers[id(parameter)]: {name: held.detach() for name, held in moments.items()}
            for parameter, moments in self.state.items()
            if moments
        }
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state as `state_dict()` gives them.

        Raises:
            OptionError: when the groups differ in number or size.
            ShapeError: when a moment's shape is not the parameter's.
        """
        groups, moments = state_dict["param_groups"], state_dict["state"]
        given = [len(group["params"]) for group in groups]
        present = [len(group["params"]) for group in self.param_groups]
        if given != present:
            raise OptionError(
                f"{type(self).__name__}.load_state_dict: the groups differ.\n"
                f"  given: groups of {given} parameters\n  expected: {present}\n"
                "  fix: build the optimizer as it was when the state was saved"
            )
        numbered: dict[Any, Tensor] = {}
        for group, saved in zip(self.param_groups, groups, strict=True):
            numbered.update(zip(saved["params"], group["params"], strict=True))
        by_number = {int(number): held for number, held in moments.items()}
        loaded = {
            parameter: _checked(by_number[int(number)], parameter, self.scalars)
            for number, parameter in numbered.items()
            if int(number) in by_number
        }
        for group, saved in zip(self.param_groups, groups, strict=True):
            # What PyTorch adds about its own kernels means nothing here.
            known = {*group, "initial_lr", "name"} - {"params"}
            group.update({name: value for name, value in saved.items() if name in known})
            self._adopt(group, loaded)
        VERSION.bump()

    def _adopt(
        self, group: ParamGroup, loaded: dict[Tensor, dict[str, np.ndarray[Any, Any]]]
    ) -> None:
        """Put loaded values into the handles that exist, and share equal step counts."""
        clocks: dict[float, Tensor] = {}
        for parameter in group["params"]:
            held = self.state.pop(parameter, {})
            if parameter not in loaded:
                continue
            fresh = self.state[parameter] = {}
            for name, value in loaded[parameter].items():
                if name == "step":
                    fresh[name] = _clock(clocks, float(value), held.get(name))
                else:
                    fresh[name] = held.get(name, tensor(value))
                    fresh[name].data = tensor(value)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            names = sorted(name for name in group if name != "params")
            lines.extend(f"    {name}: {group[name]}" for name in names)
        return "\n".join([*lines, ")"])


def _clock(clocks: dict[float, Tensor], count: float, held: Tensor | None) -> Tensor:
    """Return the one step count for parameters that have seen `count` steps."""
    if count not in clocks:
        taken = any(held is other for other in clocks.values())
        clocks[count] = tensor(count, dtype=float64) if held is None or taken else held
        clocks[count].data = tensor(count, dtype=float64)
    return clocks[count]


def _checked(
    moments: Mapping[str, Any], parameter: Tensor, scalars: frozenset[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return loaded moments as arrays of the parameter's dtype; scalars as float64."""
    result = {}
    for name, value in moments.items():
        if value is None:
            continue
        # Tensors of this library and of PyTorch alike give their values by these names.
        array = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "fiub":
            raise DTypeError(f"optimizer state {name!r} holds no numbers but {array.dtype}")
        if name in scalars:
            result[name] = array.astype(np.float64).reshape(())
        elif array.shape != tuple(parameter.shape):
            raise ShapeError(
                f"optimizer state {name!r} has shape {array.shape}, its parameter "
                f"{tuple(parameter.shape)}.\n"
                "  fix: build model and optimizer as they were when the state was saved"
            )
        else:
            result[name] = array.astype(parameter.dtype.np)
    return result
