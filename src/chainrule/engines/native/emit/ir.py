"""A small writer of LLVM's intermediate representation in its final form.

No pass runs behind it (native code generation is all), so the writer itself keeps loops rotated,
accumulators in phi nodes, and what does not change inside a function at its entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..target import Target
from .types import BOOL, INT64, PTR, Type, Value, literal

Number = int | float
Operand = Value | int | float
_INTEGER = {"add": "add", "sub": "sub", "mul": "mul"}
_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_FOLD: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: a // b,
    "urem": lambda a, b: a % b,
}
_SELF_NAME = "unnamed"


class Module:
    """The functions and declarations of one compilation."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._functions: dict[str, str] = {}
        self._open: list[Function] = []
        self._declarations: set[str] = set()

    def declare(self, declaration: str) -> None:
        """Declare an outside function once; ``declaration`` is LLVM's whole line."""
        self._declarations.add(declaration)

    def function(
        self, name: str, params: Sequence[tuple[str, Type]], *, exported: bool = False
    ) -> Function:
        """Open a function without result that is written by the caller."""
        made = Function(self, name, params, exported=exported)
        self._open.append(made)
        return made

    def shared(
        self, prefix: str, params: Sequence[tuple[str, Type]], write: Callable[[Function], object]
    ) -> str:
        """Add a function named by the hash of its text, so that equal ones exist once.

        Args:
            prefix: what the function does, the readable part of its name.
            params: its parameters.
            write: writes the body.

        Returns:
            Its name.
        """
        made = Function(self, _SELF_NAME, params)
        write(made)
        text = made.finished()
        name = f"{prefix}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self._functions.setdefault(name, text.replace(f"@{_SELF_NAME}(", f"@{name}(", 1))
        return name

    def verbatim(self, name: str, text: str) -> str:
        """Add a function given as text, once; returns its name."""
        self._functions.setdefault(name, text)
        return name

    def parts(self) -> tuple[dict[str, str], list[str]]:
        """The texts of the finished functions by name, and the declarations."""
        return dict(self._functions), sorted(self._declarations)

    def fill(self, functions: Mapping[str, str], declarations: Iterable[str]) -> None:
        """Add functions and declarations that :meth:`parts` gave, where they are not here yet."""
        for name, text in functions.items():
            self._functions.setdefault(name, text)
        self._declarations.update(declarations)

    def include(self, other: Module) -> None:
        """Add what another module for the same target has."""
        self.fill(other._functions, other._declarations)

    def text(self) -> str:
        """The module as LLVM reads it."""
        bodies = [*self._functions.values(), *(each.finished() for each in self._open)]
        attributes = "attributes #0 = { noinline nounwind }"
        return "\n".join([*sorted(self._declarations), *bodies, attributes, ""])

    def names(self) -> list[str]:
        """Names of the functions, kernels first."""
        return [*self._functions, *(each.name for each in self._open)]


class Function:
    """Writes one function: typed values, memory, loops and branches."""

    def __init__(
        self,
        module: Module,
        name: str,
        params: Sequence[tuple[str, Type]],
        *,
        exported: bool = False,
    ) -> None:
        self.module = module
        self.target = module.target
        self.name = name
        self.params = [Value(f"%{n}", t, fixed=True) for n, t in params]
        self._exported = exported
        self._entry: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"
        self._entry_cache: dict[str, Value] = {}

    # -- text ------------------------------------------------------------------------------------
    def finished(self) -> str:
        """The whole function as text."""
        params = ", ".join(f"{p.type.text} {p.text}" for p in self.params)
        linkage = "" if self._exported else "internal "
        lines = "\n".join([*self._entry, *self._lines])
        return f"define {linkage}void @{self.name}({params}) #0 {{\nentry:\n{lines}\n}}"

    def length(self) -> int:
        """Lines written so far, without those at the entry."""
        return len(self._lines)

    def fresh(self, prefix: str = "t") -> str:
        """A new local name without its per cent sign."""
        self._count += 1
        return f"{prefix}{self._count}"

    def line(self, text: str) -> None:
        """Append one instruction without result."""
        self._lines.append(f" {text}")

    def block(self, label: str) -> None:
        """Start a block."""
        self._lines.append(f"{label}:")
        self._block = label

    def value(
        self, text: str, type: Type, parts: Sequence[Value] = (), pure: bool = False
    ) -> Value:
        """Append one instruction with a result.

        A pure instruction on fixed values goes to the entry instead, once for equal texts, so that
        loops do not repeat it.
        """
        if pure and parts and all(part.fixed for part in parts):
            known = self._entry_cache.get(text)
            if known is None:
                known = Value(f"%{self.fresh('c')}", type, fixed=True)
                self._entry.append(f" {known.text} = {text}")
                self._entry_cache[text] = known
            return known
        made = Value(f"%{self.fresh()}", type)
        self._lines.append(f" {made.text} = {text}")
        return made

    def entry_value(self, text: str, type: Type) -> Value:
        """Append an instruction at the entry, before everything else that is not there yet."""
        made = Value(f"%{self.fresh('c')}", type, fixed=True)
        self._entry.append(f" {made.text} = {text}")
        return made

    # -- scalars ---------------------------------------------------------------------------------
    def i64(self, value: Operand) -> Value:
        """A 64-bit integer value of a Python number, or the value itself."""
        return value if isinstance(value, Value) else literal(int(value), INT64)

    def _pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        like = a.type if isinstance(a, Value) else b.type if isinstance(b, Value) else INT64
        one = a if isinstance(a, Value) else literal(a, like)
        two = b if isinstance(b, Value) else literal(b, like)
        return one, two

    def _arithmetic(self, kind: str, a: Operand, b: Operand) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return self.i64(_FOLD[kind](a, b))
        one, two = self._pair(a, b)
        if one.number is not None and two.number is not None and one.type == INT64:
            return self.i64(_FOLD[kind](int(one.number), int(two.number)))
        if two.number == (1 if kind in ("mul", "udiv") else 0) and kind != "urem":
            return one
        if one.number == (1 if kind == "mul" else 0) and kind in ("mul", "add"):
            return two
        table = _FLOAT if one.type.is_float else _INTEGER
        name = table.get(kind, kind)
        return self.value(f"{name} {one.type.text} {one.text}, {two.text}", one.type)

    def add(self, a: Operand, b: Operand) -> Value:
        """The sum of two scalars."""
        return self._arithmetic("add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        """The difference of two scalars."""
        return self._arithmetic("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        """The product of two scalars."""
        return self._arithmetic("mul", a, b)

    def udiv(self, a: Operand, b: Operand) -> Value:
        """The quotient of two integers of 0 or more, rounded down."""
        return self._arithmetic("udiv", a, b)

    def urem(self, a: Operand, b: Operand) -> Value:
        """The remainder of two integers of 0 or more."""
        return self._arithmetic("urem", a, b)

    def min(self, a: Operand, b: Operand) -> Value:
        """The smaller of two scalars."""
        if isinstance(a, int) and isinstance(b, int):
            return self.i64(min(a, b))
        return self.select(self.compare("lt", a, b), a, b)

    def max(self, a: Operand, b: Operand) -> Value:
        """The larger of two scalars."""
        if isinstance(a, int) and isinstance(b, int):
            return self.i64(max(a, b))
        return self.select(self.compare("gt", a, b), a, b)

    def compare(self, kind: str, a: Operand, b: Operand) -> Value:
        """Whether ``a`` stands to ``b`` as ``kind`` says: eq, ne, lt, le, gt or ge."""
        one, two = self._pair(a, b)
        name = comparison(kind, one.type)
        return self.value(
            f"{name} {one.type.text} {one.text}, {two.text}", BOOL.with_lanes(one.lanes)
        )

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """``a`` where the condition holds, ``b`` elsewhere."""
        one, two = self._pair(a, b)
        text = f"select {condition.type.text} {condition.text}, {one.type.text} {one.text}, "
        return self.value(f"{text}{two.type.text} {two.text}", one.type)

    # -- memory ----------------------------------------------------------------------------------
    def offset(self, pointer: Value, offset: Operand, element: str = "i8") -> Value:
        """A pointer moved on by a number of bytes (or of elements of LLVM type ``element``)."""
        if isinstance(offset, int) or offset.__class__ is float:
            if offset == 0:
                return pointer
            return self.value(f"getelementptr {element}, ptr {pointer.text}, i64 {offset}", PTR)
        assert isinstance(offset, Value)
        if offset.number == 0:
            return pointer
        text = f"getelementptr {element}, ptr {pointer.text}, i64 {offset.text}"
        return self.value(text, PTR)

    def anchor(self, pointer: Value) -> Value:
        """The same pointer, opaque to loop analysis.

        Many constant distances from one pointer make LLVM's strength reduction weigh every one of
        them; from an anchored pointer they are plain displacements, and code is made sooner.
        """
        return self.value(f"freeze ptr {pointer.text}", PTR)

    def load(self, pointer: Value, type: Type, offset: int = 0, *, fixed: bool = False) -> Value:
        """Load a scalar or vector; ``offset`` counts elements.

        Args:
            pointer: where from.
            type: what; of ``bool`` only bytes can be loaded, as ``uint8``.
            offset: elements further on.
            fixed: load at the entry; the pointer must be an argument.
        """
        if fixed:
            return self.entry_value(
                f"load {type.text}, ptr {pointer.text}, align {type.bytes}", type
            )
        at = self.offset(pointer, offset, type.element)
        return self.value(f"load {type.text}, ptr {at.text}, align {_alignment(type)}", type)

    def store(self, value: Value, pointer: Value, offset: int = 0) -> None:
        """Store a scalar or vector; ``offset`` counts elements."""
        at = self.offset(pointer, offset, value.type.element)
        self.line(f"store {value!r}, ptr {at.text}, align {_alignment(value.type)}")

    def prefetch(self, pointer: Value, write: bool = False) -> None:
        """Ask for the cache line of a pointer, to read or to write; it need not point to memory."""
        self.module.declare(
            "declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)"
        )
        self.line(
            f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 {int(write)}, i32 3, i32 1)"
        )

    # -- control ---------------------------------------------------------------------------------
    def loop(
        self,
        low: Operand,
        high: Operand,
        step: Operand,
        init: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value] | None],
        *,
        guard: bool = False,
    ) -> list[Value]:
        """Count from ``low`` up to, not including, ``high``, carrying values.

        The test is at the end, so the body runs at least once unless ``guard`` is set.

        Args:
            low: first value of the counter.
            high: where to stop.
            step: added each time.
            init: carried values before the first turn.
            body: ``body(counter, carried)`` writes one turn and returns the values carried on.
            guard: test before the first turn too.

        Returns:
            The carried values after the last turn.
        """
        first, last = self.i64(low), self.i64(high)
        if isinstance(low, int) and isinstance(high, int):
            if low >= high:
                return list(init)
            guard = False
            if isinstance(step, int) and low + step >= high:
                return list(body(first, list(init)) or [])
        head, leave = self.fresh("head"), self.fresh("exit")
        before = self._block
        if guard:
            enter = self.compare("lt", first, last)
            self.line(f"br i1 {enter.text}, label %{head}, label %{leave}")
        else:
            self.line(f"br label %{head}")
        self.block(head)
        counter = Value(f"%{self.fresh('i')}", INT64)
        after = Value(f"%{self.fresh('i')}", INT64)
        carried = [Value(f"%{self.fresh('p')}", each.type) for each in init]
        place = len(self._lines)
        results = list(body(counter, carried) or [])
        assert len(results) == len(carried), "a loop must return as many values as it carries"
        end = self._block
        phis = [(counter, first, after), *zip(carried, init, results, strict=True)]
        self._lines[place:place] = [
            f" {p.text} = phi {p.type.text} [{a.text}, %{before}], [{b.text}, %{end}]"
            for p, a, b in phis
        ]
        self.line(f"{after.text} = add i64 {counter.text}, {self.i64(step).text}")
        again = self.compare("lt", after, last)
        self.line(f"br i1 {again.text}, label %{head}, label %{leave}")
        self.block(leave)
        if not guard:
            return results
        return [
            self.value(f"phi {a.type.text} [{a.text}, %{before}], [{b.text}, %{end}]", a.type)
            for a, b in zip(init, results, strict=True)
        ]

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """Write ``body`` under a branch."""
        inside, leave = self.fresh("then"), self.fresh("exit")
        self.line(f"br i1 {condition.text}, label %{inside}, label %{leave}")
        self.block(inside)
        body()
        self.line(f"br label %{leave}")
        self.block(leave)

    def choose(
        self, condition: Value, body: Callable[[], Sequence[Value]], otherwise: Sequence[Value]
    ) -> list[Value]:
        """The values that ``body`` computes under a branch, or else those given."""
        inside, leave = self.fresh("then"), self.fresh("exit")
        before = self._block
        self.line(f"br i1 {condition.text}, label %{inside}, label %{leave}")
        self.block(inside)
        made = list(body())
        end = self._block
        self.line(f"br label %{leave}")
        self.block(leave)
        return [
            self.value(f"phi {a.type.text} [{a.text}, %{end}], [{b.text}, %{before}]", a.type)
            for a, b in zip(made, otherwise, strict=True)
        ]

    def call(self, name: str, arguments: Sequence[Value]) -> None:
        """Call a function without result."""
        self.line(f"call void @{name}({', '.join(repr(each) for each in arguments)})")

    def intrinsic(
        self, name: str, type: Type, arguments: Sequence[Value], flags: str = ""
    ) -> Value:
        """Call a pure LLVM intrinsic overloaded on its result type alone."""
        full = f"llvm.{name}.{type.suffix}"
        kinds = ", ".join(each.type.text for each in arguments)
        self.module.declare(f"declare {type.text} @{full}({kinds})")
        listed = ", ".join(repr(each) for each in arguments)
        return self.value(f"call {flags}{type.text} @{full}({listed})", type, arguments, pure=True)

    def ret(self) -> None:
        """Return."""
        self.line("ret void")


def comparison(kind: str, type: Type) -> str:
    """LLVM's instruction and condition for a comparison on a type.

    Example:
        >>> from .types import FLOAT32, UINT8
        >>> comparison("lt", FLOAT32), comparison("lt", UINT8)
        ('fcmp olt', 'icmp ult')
    """
    if type.is_float:
        return f"fcmp {'une' if kind == 'ne' else 'o' + kind}"
    if kind in ("eq", "ne"):
        return f"icmp {kind}"
    return f"icmp {'s' if type.is_signed else 'u'}{kind}"


def _alignment(type: Type) -> int:
    return 8 if type.name == "ptr" else type.bytes
