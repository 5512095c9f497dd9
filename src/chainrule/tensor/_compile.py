"""``cr.compile``: the same function of tensors, run by an engine as one compiled graph."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..config import STATE, VERSION
from ..errors import EngineError, OptionError
from ..graph.node import Node
from ..graph.trace import Traced
from ._handle import array_leaf, leaf
from ._tensor import Tensor
from ._trace import Position, rebuild, trace

ENGINES = ("auto", "numpy", "native", "xla")
_MOST_SHAPES = 64
_MANY_SHAPES = 16
UNFIT: Any = object()  # no result: the function has to be traced again


def compile(
    function: Callable[..., Any] | None = None,
    *,
    engine: str = "auto",
    device: str | None = None,
    keep_grads: bool = False,
) -> Any:
    """Compile a function of tensors: a forward pass, or a whole training step.

    The function is run once for each new set of shapes, without values, to get its graph; after
    that an engine runs the graph. Tensors that it reads from outside are read anew at each call;
    those that it rebinds (an optimizer's step) are rebound. Arrays and floats among its arguments
    reach it as tensors; all other arguments that are not tensors are constants.

    Args:
        function: Python code on tensors. Left out: a decorator is returned.
        engine: "native" (LLVM, for CPUs), "xla" (JAX), "numpy" (interpreted, the reference) or
            "auto": native, or numpy with a warning that names the op that native lacks.
        device: "cuda", "gpu" or "tpu" runs on xla there; None or "cpu" on this processor.
        keep_grads: whether ``.grad`` of parameters holds the step's gradients after each call.

    Returns:
        A function that is called as the one given.

    Raises:
        OptionError: for an engine or device that does not exist.
        TraceError: at the first call, when the function asks for a value.

    Example:
        >>> import chainrule as cr
        >>> w = cr.tensor([1.0, 2.0])
        >>> double = compile(lambda x: (x * w * 2).sum(), engine="numpy")
        >>> double(cr.tensor([3.0, 4.0]))
        tensor(22.)
    """
    if engine not in ENGINES:
        raise OptionError(
            f"there is no engine {engine!r}.\n  expected: one of {', '.join(ENGINES)}"
        )
    if device not in (None, "cpu") and engine == "auto":
        engine = "xla"
    if function is None:
        return functools.partial(compile, engine=engine, device=device, keep_grads=keep_grads)
    return Compiled(function, engine, device, keep_grads)


class Compiled:
    """A function with the graphs it was compiled to, one for each set of shapes."""

    def __init__(
        self, function: Callable[..., Any], engine: str, device: str | None, keep_grads: bool
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.engine = engine
        self.device = device
        self.keep_grads = keep_grads
        self._entries: dict[Any, tuple[Any, Any]] = {}
        self._shortcuts: dict[Any, Any] = {}  # for calls with nothing but tensors in a row

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, compiling first where these shapes are new."""
        if STATE.trace is not None:
            return self.function(*args, **kwargs)
        key = None if kwargs else _shortcut(args)
        if key is not None:
            known = self._shortcuts.get(key)
            if known is not None:
                result = known.again(args)
                if result is not UNFIT:
                    return result
        tensors: list[Tensor] = []
        structure = _take_tensors((args, kwargs), tensors)
        runner = self._runner(structure, tensors)
        if key is not None and key[0] == VERSION.count:
            self._shortcuts[key] = runner
        return runner(tensors)

    def _runner(self, structure: Any, tensors: list[Tensor]) -> Any:
        found = self._entries.get(self._key(structure, tensors))
        if found is not None and found[0].fits():
            return found[0]

        def flat(*placeholders: Tensor) -> Any:
            args, kwargs = rebuild(structure, list(placeholders))
            return self.function(*args, **kwargs)

        traced = trace(flat, *tensors, keep_grads=self.keep_grads)
        runner = build(traced, self.engine, self.device)
        if len(self._entries) == _MANY_SHAPES:
            warnings.warn(
                f"a compiled function has met {_MANY_SHAPES} sets of shapes, and is compiled anew"
                " for each; pad inputs to fewer shapes",
                stacklevel=4,
            )
        if len(self._entries) >= _MOST_SHAPES:
            self._entries.pop(next(iter(self._entries)))
            self._shortcuts.clear()
        # The key of the next call: state that was made while tracing is captured already. The
        # structure is kept so that no other object takes the place, and the text, of its members.
        self._entries[self._key(structure, tensors)] = (runner, structure)
        return runner

    def _key(self, structure: Any, tensors: list[Tensor]) -> Any:
        """What a graph depends on, besides the function."""
        kinds = tuple((tensor._node.aval, tensor._node.requires_grad) for tensor in tensors)
        return kinds, repr(structure), VERSION.count, STATE.grad_enabled, STATE.default_dtype

    def graphs(self) -> list[Any]:
        """The graphs compiled so far."""
        return [runner.traced.graph for runner, _ in self._entries.values()]

    def programs(self) -> list[Any]:
        """The engine's programs compiled so far."""
        return [runner.program for runner, _ in self._entries.values()]

    def explain(self) -> str:
        """What the engine made of each graph, as text."""
        return "\n\n".join(program.explain() for program in self.programs())

    def llvm_ir(self) -> str:
        """The text that LLVM compiled, of each graph (native engine)."""
        return "\n\n".join(program.llvm_ir() for program in self._native("llvm_ir"))

    def profile(self, *args: Any, runs: int = 100, **kwargs: Any) -> Any:
        """Where the time of a call goes: time, GFLOP/s and share of the measured peak of each task.

        Nothing that the function rebinds changes; it is compiled first where the shapes are new.

        Args:
            *args: as for a call, and so are other keyword arguments.
            runs: how often it is run.

        Returns:
            A profile; printed, it is a table.

        Raises:
            EngineError: when another engine than native runs it, or the processor has no clock
                that programs may read.

        Example:
            >>> import chainrule as cr
            >>> double = cr.compile(lambda x: x * 2, engine="native")
            >>> print(double.profile(cr.ones(1000)))  # doctest: +SKIP
            0.5 us a step on 1 thread, 2.1 of 102 GFLOP/s (2%)
            ...
        """
        tensors: list[Tensor] = []
        structure = _take_tensors((args, kwargs), tensors)
        runner = self._runner(structure, tensors)
        self._native("profile", [runner.program])
        return runner.profile(tensors, runs)

    def _native(self, what: str, programs: list[Any] | None = None) -> list[Any]:
        """The programs, if they are the native engine's."""
        found = self.programs() if programs is None else programs
        if not all(hasattr(program, what) for program in found):
            raise EngineError(
                f"{what}() reads what the native engine made, and this function runs on another"
                " one.\n  fix: compile it with engine='native'"
            )
        return found


def build(traced: Traced, engine: str, device: str | None) -> Any:
    """What runs a traced graph on an engine."""
    if engine == "auto":
        try:
            return build(traced, "native", device)
        except EngineError as error:
            warnings.warn(
                f"the native engine cannot run this function, numpy does: {error}", stacklevel=5
            )
            engine = "numpy"
    if engine == "xla":
        room = importlib.import_module("chainrule.engines.xla")
        return Plain(traced, room.compile_graph(traced.graph, device=device))
    if device not in (None, "cpu"):
        raise OptionError(f"the {engine} engine runs on the CPU; given device {device!r}")
    if engine == "native":
        runners: Any = importlib.import_module("chainrule.tensor._resident")
        return runners.Resident(traced)
    room = importlib.import_module("chainrule.engines.numpy")
    return Plain(traced, room.compile_graph(traced.graph))


def _shortcut(args: Sequence[Any]) -> tuple[Any, ...] | None:
    """A key for a call with nothing but tensors, quicker made than the full one."""
    state = STATE.__dict__
    key: list[Any] = [VERSION.count, state["grad_enabled"], state["default_dtype"]]
    for one in args:
        if type(one) is not Tensor:
            return None
        node = one._node
        key.append(node.aval)
        key.append(node.requires_grad)
    return tuple(key)


class Runner:
    """What runs a traced function.

    Args:
        traced: its graph, and what its inputs and outputs stand for.
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self._flags = [handle._node.requires_grad for handle in traced.captured]

    def fits(self) -> bool:
        """Whether the same tensors from outside require grad as when it was traced."""
        return self._flags == [handle._node.requires_grad for handle in self.traced.captured]

    def again(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on other arguments of the same kinds; :data:`UNFIT` where it does not fit."""
        return self(tensors) if self.fits() else UNFIT

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on the arguments; tensors from outside are read and rebound."""
        raise NotImplementedError


class Plain(Runner):
    """Runs a program that takes all arrays and gives all arrays at each call."""

    def __init__(self, traced: Traced, program: Any) -> None:
        super().__init__(traced)
        self.program = program

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it."""
        traced = self.traced
        inputs = [tensor._node.value() for tensor in tensors]
        inputs += [handle._node.value() for handle in traced.captured]
        inputs += [np.asarray(getter(), np.float64) for getter in traced.getters]
        outputs = self.program(*inputs)
        results = traced.results
        for handle, array in zip(traced.rebound, outputs[results:], strict=False):
            handle._rebind(_result(array))
        for handle, array in zip(
            traced.grads, outputs[results + len(traced.rebound) :], strict=True
        ):
            handle.grad = Tensor(_result(array))
        return rebuild(traced.structure, [Tensor(_result(array)) for array in outputs[:results]])


def _result(array: Any) -> Node:
    if isinstance(array, np.ndarray):
        return array_leaf(array)
    return leaf(array, array.dtype, array.shape)


def _take_tensors(value: Any, tensors: list[Tensor]) -> Any:
    """The arguments with tensors (and arrays, and floats as 0-d ones) replaced by positions."""
    if isinstance(value, float):
        value = np.asarray(value, np.float64)
    if isinstance(value, np.ndarray):
        value = Tensor(array_leaf(value))
    if isinstance(value, Tensor):
        tensors.append(value)
        return Position(len(tensors) - 1)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_take_tensors(one, tensors) for one in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_take_tensors(one, tensors) for one in value)
    if isinstance(value, dict):
        return {key: _take_tensors(one, tensors) for key, one in value.items()}
    return value
