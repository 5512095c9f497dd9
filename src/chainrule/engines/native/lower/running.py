"""The driver of a run: the native loop over steps, which agrees to stop, and counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..emit.driver import LATE, barrier, flush_denormals
from ..emit.ir import Function, Module
from ..emit.types import INT32, INT64, PTR, Type, Value
from .driver import AGREED, CUT, DONE, STOP, VIOLATED, header_word, write_barrier


@dataclass(frozen=True)
class LoopCode:
    """What the writer of the loop knows.

    Attributes:
        steps: names of the step functions, by variant.
        rows: how many rows of data each variant takes.
        sums: how many sums each variant reports.
        numbers: how many run-time numbers the steps share.
        threaded: whether several threads run.
        checked: whether a step checks indices; the loop ends where one was bad.
        asks: for each variant 1 if it may ask for the rows of the next step of its kind, else 0.
        name: the loop's name.
        long: whether a step can be cut, and then was not done.
    """

    steps: Sequence[str]
    rows: Sequence[int]
    sums: Sequence[int]
    numbers: int
    threaded: bool
    checked: bool
    asks: Sequence[int] = ()
    name: str = "run"
    long: bool = False


def write_loop(module: Module, code: LoopCode) -> None:
    """Add the loop over steps.

    ``run(arena, indices, plan, sums, numbers, turns, steps, threads, thread)``: a step's sums stand
    behind those of the step before it; ``turns`` says which row of ``numbers`` it reads.
    """
    names = ("arena", "indices", "plan", "sums", "numbers", "turns")
    params: list[tuple[str, Type]] = [(n, PTR) for n in names]
    params += [(n, INT64) for n in ("steps", "threads", "thread")]
    function = module.function(code.name, params, exported=True)
    arena, indices, plan, sums, numbers, turns, steps, threads, thread = function.params
    name = barrier(module) if code.threaded else ""
    restore = flush_denormals(function)
    head, leave, again = (function.fresh(each) for each in ("head", "leave", "again"))
    entry = function._block
    function.line(f"br label %{head}")
    function.block(head)
    # The step's number, its first row, and where its sums begin.
    now = [Value(f"%{function.fresh(each)}", INT64) for each in ("n", "r", "s")]
    later = [Value(f"%{function.fresh(each)}", INT64) for each in ("n", "r", "s")]
    for value, after in zip(now, later, strict=True):
        function.line(f"{value.text} = phi i64 [0, %{entry}], [{after.text}, %{again}]")
    number, row, place = now
    variant = function.load(function.offset(plan, number, "i32"), INT32)
    arguments = [
        arena,
        function.offset(indices, row, "i32"),
        _next_indices(function, code, indices, (plan, steps), (number, row, variant)),
        function.offset(sums, place, "double"),
        _numbers_of(function, code, numbers, turns, number),
        thread,
        threads,
    ]
    _call_variant(function, code, variant, arguments)
    ends = [
        function.add(row, _by_variant(function, variant, code.rows)),
        function.add(place, _by_variant(function, variant, code.sums)),
    ]
    _agree_to_stop(
        function, code, arena, number, thread, lambda: write_barrier(function, name, arena, threads)
    )
    stop = function.load(_agreed(function, arena, number), INT64)
    for value, end in zip(later, [function.add(number, 1), *ends], strict=True):
        function.line(f"{value.text} = add i64 {end.text}, 0")
    more = function.compare("lt", later[0], steps)
    going = function.compare("eq", stop, 0)
    both = function.value(f"and i1 {more.text}, {going.text}", more.type)
    function.line(f"br i1 {both.text}, label %{again}, label %{leave}")
    function.block(again)
    function.line(f"br label %{head}")
    function.block(leave)
    first = function.compare("eq", thread, 0)
    function.when(first, lambda: _count(function, code, arena, number, later[0]))
    restore()
    function.ret()


def write_single(module: Module) -> None:
    """Add ``single(call)``: the loop on one thread, its arguments read from where ``call`` points.

    Each argument of a foreign call costs Python as much time as a small graph takes.
    """
    function = module.function("single", [("call", PTR)], exported=True)
    call = function.params[0]
    kinds = [PTR] * 6 + [INT64] * 2
    given = [function.load(function.offset(call, 8 * k), kind) for k, kind in enumerate(kinds)]
    function.call("run", [*given, function.i64(0)])
    function.ret()


def _next_indices(
    function: Function,
    code: LoopCode,
    indices: Value,
    plan: tuple[Value, Value],
    now: tuple[Value, Value, Value],
) -> Value:
    """The indices of the step behind this one where it is of the same variant; else null."""
    null = Value("null", PTR, fixed=True)
    if not any(code.asks):
        return null
    number, row, variant = now
    # The plan is not read behind its end.
    last = function.sub(plan[1], 1)
    after = function.min(function.add(number, 1), last)
    following = function.load(function.offset(plan[0], after, "i32"), INT32)
    same = function.compare("eq", following, variant)
    more = function.compare("lt", number, last)
    asks = function.compare("ne", _by_variant(function, variant, code.asks), 0)
    good = function.value(f"and i1 {same.text}, {more.text}", more.type)
    good = function.value(f"and i1 {good.text}, {asks.text}", more.type)
    behind = function.add(row, _by_variant(function, variant, code.rows))
    return function.select(good, function.offset(indices, behind, "i32"), null)


def _count(function: Function, code: LoopCode, arena: Value, number: Value, after: Value) -> None:
    """Tell how many steps were run; one with a bad index, or one that was cut, was not."""
    undone = [VIOLATED] * code.checked + [CUT, CUT + 8] * code.long
    for place in undone:
        good = function.compare("eq", header_word(function, arena, place), 0)
        after = function.select(good, after, number)
    function.store(after, function.offset(arena, DONE))


def _numbers_of(
    function: Function, code: LoopCode, numbers: Value, turns: Value, number: Value
) -> Value:
    """The row of run-time numbers that a step reads."""
    if not code.numbers:
        return numbers
    turn = function.load(function.offset(turns, number, "i32"), INT32)
    wide = function.value(f"sext i32 {turn.text} to i64", INT64)
    return function.offset(numbers, function.mul(wide, 8 * code.numbers))


def _call_variant(
    function: Function, code: LoopCode, variant: Value, arguments: Sequence[Value]
) -> None:
    """Call the step's function."""
    if len(code.steps) == 1:
        function.call(code.steps[0], arguments)
        return
    for number, name in enumerate(code.steps):
        chosen = function.compare("eq", variant, number)
        function.when(chosen, _caller(function, name, arguments))


def _by_variant(function: Function, variant: Value, counts: Sequence[int]) -> Value:
    """The count that belongs to a step's variant."""
    found = function.i64(counts[0])
    if len(set(counts)) > 1:
        for number, count in enumerate(counts):
            found = function.select(function.compare("eq", variant, number), count, found)
    return found


def _caller(function: Function, name: str, arguments: Sequence[Value]) -> Callable[[], None]:
    return lambda: function.call(name, arguments)


def _agreed(function: Function, arena: Value, number: Value) -> Value:
    """The word on which the threads agree to stop; two take turns, so that none is overwritten
    before the slowest thread has read it."""
    turn = function.value(f"and i64 {number.text}, 1", INT64)
    return function.offset(function.offset(arena, AGREED), function.mul(turn, 64))


def _agree_to_stop(
    function: Function,
    code: LoopCode,
    arena: Value,
    number: Value,
    thread: Value,
    wait: Callable[[], None],
) -> None:
    """The first thread reads the stop word and tells the others; all wait for the step's end.

    A team in which a member waited too long comes back too, so that the number of threads can be
    chosen anew.
    """

    def tell() -> None:
        asked = header_word(function, arena, STOP)
        for word in (VIOLATED, VIOLATED + 8) if code.checked else ():
            bad = header_word(function, arena, word)
            asked = function.value(f"or i64 {asked.text}, {bad.text}", INT64)
        if code.threaded:
            place = function.offset(arena, LATE)
            late = function.value(f"load atomic i32, ptr {place.text} monotonic, align 4", INT32)
            wide = function.value(f"zext i32 {late.text} to i64", INT64)
            asked = function.value(f"or i64 {asked.text}, {wide.text}", INT64)
        function.store(asked, _agreed(function, arena, number))

    if not code.threaded:
        tell()
        return
    function.when(function.compare("eq", thread, 0), tell)
    wait()
