"""``cr.compile``: the same function of tensors, run by an engine as one compiled graph."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import STATE, VERSION, set_state
from ..errors import EngineError, OptionError
from ..graph.graph import Graph
from ..graph.trace import Traced
from ._handle import array_leaf
from ._nested import map_leaves
from ._precision import brought_to, check_parameters, precision_of
from ._runner import UNFIT, Plain
from ._tensor import Tensor
from ._trace import Position, rebuild, trace

if TYPE_CHECKING:
    from ._checked import Calls
    from ._observed import Observer
    from ._watching import Watched

ENGINES = ("auto", "numpy", "native", "xla")
_MOST_SHAPES = 64
_MANY_SHAPES = 16


def compile(
    function: Callable[..., Any] | None = None,
    *,
    engine: str = "auto",
    device: str | None = None,
    precision: Any = None,
    watch: Any = None,
    check: str | None = None,
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
        precision: "float32" or "float64": floating-point arguments are brought to it, what the
            function makes has it, and its parameters must have it; None takes all as they are.
        watch: statistics of layers, of values that the function calls ``.named("...")``, of
            parameters and their gradients, in the result's ``watched``: True for all, names or
            patterns of some (``["0", "*.weight"]``), or a :class:`~chainrule.train.Watch` that also
            says every how many calls. It changes no bits.
        check: "nan" makes the first call that gives a NaN or an infinity an error that names the
            node which made it, its layer, its line and its inputs. What a call returns is looked at
            each time; on the native engine parameters are looked at now and then (a hundredth of
            the time), so the error may come some calls later. It names the first bad call, and what
            the function changes holds its values from before that call.
        keep_grads: whether ``.grad`` of parameters holds the step's gradients after each call.

    Returns:
        A function that is called as the one given.

    Raises:
        OptionError: for an engine, device, precision or check that does not exist; at the first
            call for parameters of another precision, and for a watched name that fits nothing.
        TraceError: at the first call, when the function asks for a value.
        NonFiniteError: at a call, with ``check="nan"``.
        KeyboardInterrupt: Ctrl-C at a call. A long one on the native engine ends within a moment
            and is undone, unless it was already writing what it changes.

    Example:
        >>> import chainrule as cr
        >>> w = cr.tensor([1.0, 2.0])
        >>> double = compile(lambda x: (x * w * 2).sum(), engine="numpy")
        >>> double(cr.tensor([3.0, 4.0]))
        tensor(22.)
        >>> layer = cr.nn.Linear(2, 1)
        >>> forward = compile(layer, engine="numpy", watch=["weight"])
        >>> for _ in range(3):
        ...     _ = forward(cr.ones(4, 2))
        >>> forward.watched, forward.watched.steps.tolist()
        (<watched: 1 layers and parameters at 1 steps>, [0])
    """
    if engine not in ENGINES:
        raise OptionError(
            f"there is no engine {engine!r}.\n  expected: one of {', '.join(ENGINES)}"
        )
    if device not in (None, "cpu") and engine == "auto":
        engine = "xla"
    options = {"precision": precision, "watch": watch, "check": check, "keep_grads": keep_grads}
    if function is None:
        return functools.partial(compile, engine=engine, device=device, **options)
    return Compiled(function, engine, device, **options)


class Compiled:
    """A function with the graphs it was compiled to, one for each set of shapes."""

    def __init__(
        self,
        function: Callable[..., Any],
        engine: str,
        device: str | None,
        *,
        precision: Any = None,
        watch: Any = None,
        check: str | None = None,
        keep_grads: bool = False,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.engine = engine
        self.device = device
        self.keep_grads = keep_grads
        self.dtype = precision_of(precision)
        self._observer: Observer | None = None
        if check is not None or (watch is not None and watch is not False):
            self._observer = _room("_observed").observer_of(function, watch, check)
        self._entries: dict[Any, tuple[Any, Any]] = {}
        self._shortcuts: dict[Any, Any] = {}  # for calls with nothing but tensors in a row

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, compiling first where these shapes are new."""
        if STATE.trace is not None:
            return self.function(*args, **kwargs)
        if self.dtype is not None:
            args, kwargs = brought_to(self.dtype, (args, kwargs))
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

        with set_state(default_dtype=self.dtype or STATE.default_dtype):
            traced = trace(flat, *tensors, keep_grads=self.keep_grads)
        if self.dtype is not None:
            check_parameters(traced, self.dtype)
        runner = build(traced, self.engine, self.device, self._observer)
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

    @property
    def watched(self) -> Watched:
        """What was seen, with ``watch``: numbers for each layer or parameter and each statistic.

        Its ``steps`` are calls, counted from 0.

        Raises:
            OptionError: it was compiled without ``watch``.
        """
        if self._observer is None or self._observer.watch is None:
            raise OptionError(
                "this function is not watched.\n  fix: cr.compile(function, watch=True)"
            )
        return self._observer.watched

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
        if self.dtype is not None:
            args, kwargs = brought_to(self.dtype, (args, kwargs))
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


def build(traced: Traced, engine: str, device: str | None, observer: Observer | None = None) -> Any:
    """What runs a traced graph on an engine, and looks at what the observer asks for."""
    if observer is not None:
        looks = observer.looks(traced)
        runner = _runner(traced, engine, device, looks.graph, observer.calls)
        return observer.around(runner, looks)
    return _runner(traced, engine, device, None, None)


def _runner(
    traced: Traced, engine: str, device: str | None, look: Graph | None, calls: Calls | None
) -> Any:
    if engine == "auto":
        try:
            return _runner(traced, "native", device, look, calls)
        except EngineError as error:
            warnings.warn(
                f"the native engine cannot run this function, numpy does: {error}", stacklevel=6
            )
            engine = "numpy"
    if engine == "xla":
        room = importlib.import_module("chainrule.engines.xla")
        return _plain(traced, functools.partial(room.compile_graph, device=device), look, calls)
    if device not in (None, "cpu"):
        raise OptionError(f"the {engine} engine runs on the CPU; given device {device!r}")
    if engine == "native":
        if calls is not None:
            return _room("_checked_native").CheckedResident(traced, look, calls)
        return _room("_resident").Resident(traced, look)
    room = importlib.import_module("chainrule.engines.numpy")
    return _plain(traced, room.compile_graph, look, calls)


def _plain(
    traced: Traced, compile_graph: Callable[[Graph], Any], look: Graph | None, calls: Calls | None
) -> Any:
    programs = compile_graph(traced.graph), None if look is None else compile_graph(look)
    if calls is None:
        return Plain(traced, *programs)
    return _room("_checked").CheckedPlain(traced, *programs, calls)


def _room(name: str) -> Any:
    """A neighbour that few programs need, imported by those that do."""
    return importlib.import_module(f"chainrule.tensor.{name}")


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


def _take_tensors(value: Any, tensors: list[Tensor]) -> Any:
    """The arguments with tensors (and arrays, and floats as 0-d ones) replaced by positions."""

    def take(leaf: Any) -> Any:
        if isinstance(leaf, float):
            leaf = np.asarray(leaf, np.float64)
        if isinstance(leaf, np.ndarray):
            leaf = Tensor(array_leaf(leaf))
        if not isinstance(leaf, Tensor):
            return leaf
        tensors.append(leaf)
        return Position(len(tensors) - 1)

    return map_leaves(take, value)
