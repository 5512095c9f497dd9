"""The writer of LLVM's text: loops, branches, folding of constants, lanes moved about."""

import ctypes

import numpy as np
import pytest
from native_harness import HOST, TARGETS

from chainrule.engines.native import jit
from chainrule.engines.native.emit.body import Emitter
from chainrule.engines.native.emit.driver import copy_bytes
from chainrule.engines.native.emit.ir import Module
from chainrule.engines.native.emit.shuffle import fold_lanes, fold_many, transpose, vector_of
from chainrule.engines.native.emit.types import (
    FLOAT32,
    FLOAT64,
    INT64,
    PTR,
    Type,
    literal,
    vector_literal,
)
from chainrule.errors import EngineError


def call(write, *arrays, numbers=(), target=HOST):
    """Write ``run(pointers..., int64s...)``, compile it and call it."""
    module = Module(target)
    params = [(f"p{i}", PTR) for i in range(len(arrays))]
    params += [(f"n{i}", INT64) for i in range(len(numbers))]
    run = module.function("run", params, exported=True)
    write(run, *run.params)
    run.ret()
    machine = jit.compile(module.text(), target)
    kinds = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64] * len(numbers)
    pointers = [array.ctypes.data for array in arrays]
    ctypes.CFUNCTYPE(None, *kinds)(machine.address("run"))(*pointers, *numbers)
    return module.text()


@pytest.mark.parametrize(("low", "high", "step"), [(0, 5, 1), (2, 11, 3), (4, 4, 1), (7, 3, 1)])
def test_guarded_loops_count_like_range(low, high, step):
    out = np.zeros(2, "i8")

    def write(f, p, low, high):
        def turn(i, carried):
            return [f.add(carried[0], i), f.add(carried[1], 1)]

        total, turns = f.loop(low, high, step, [f.i64(0), f.i64(0)], turn, guard=True)
        f.store(total, p)
        f.store(turns, p, 1)

    call(write, out, numbers=(low, high))
    assert out.tolist() == [sum(range(low, high, step)), len(range(low, high, step))]


def test_loops_of_known_length_vanish_or_run_once():
    out = np.zeros(2, "i8")

    def write(f, p):
        kept = f.loop(3, 3, 1, [f.i64(5)], lambda i, c: [f.add(c[0], 1)])
        f.store(kept[0], p)
        once = f.loop(0, 4, 4, [f.i64(5)], lambda i, c: [f.add(c[0], 1)])
        f.store(once[0], p, 1)

    text = call(write, out)
    assert out.tolist() == [5, 6]
    assert "phi" not in text


def test_branches():
    out = np.zeros(2, "i8")

    def write(f, p, n):
        f.when(f.compare("gt", n, 3), lambda: f.store(f.i64(7), p))
        chosen = f.choose(f.compare("lt", n, 3), lambda: [f.mul(n, 10)], [n])
        f.store(chosen[0], p, 1)

    for number, wanted in ((2, [0, 20]), (5, [7, 5])):
        out[:] = 0
        call(write, out, numbers=(number,))
        assert out.tolist() == wanted


def test_known_numbers_fold():
    function = Module(HOST).function("f", [("n", INT64)])
    n = function.params[0]
    assert function.mul(n, 1) is n
    assert function.add(n, 0) is n
    assert function.mul(function.i64(6), 7).number == 42
    assert function.udiv(function.i64(7), 2).number == 3
    assert function.min(3, 5).number == 3
    assert function.max(3, 5).number == 5
    assert function.length() == 0


def test_scalars_and_bytes():
    source, target = np.arange(9, dtype="u1"), np.zeros(9, "u1")
    call(lambda f, a, b: copy_bytes(f, b, a, 7), source, target)
    assert target.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 0]
    numbers = np.array([3.0, 4.0, 0.0, 0.0])

    def write(f, p):
        a, b = f.load(p, FLOAT64), f.load(p, FLOAT64, 1)
        f.store(f.add(f.mul(a, a), f.sub(f.mul(b, b), literal(1.0, FLOAT64))), p, 2)
        f.store(f.min(a, b), p, 3)

    call(write, numbers)
    assert numbers.tolist() == [3, 4, 24, 3]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_lanes_fold_and_turn(target, lanes):
    square = np.random.default_rng(0).integers(-9, 9, (lanes, lanes)).astype("f4")
    turned, sums, some = np.zeros_like(square), np.zeros(lanes, "f4"), np.zeros(1, "f4")
    type = Type("float32", lanes)

    def write(f, p, q, s, one):
        e = Emitter(f, lanes)
        rows = [f.load(p, type, i * lanes) for i in range(lanes)]
        for i, column in enumerate(transpose(e, rows)):
            f.store(column, q, i * lanes)
        left_out = [row if i != 1 else None for i, row in enumerate(rows)]
        f.store(fold_many(e, e.add, left_out), s)
        f.store(fold_lanes(e, e.max, rows[0]), one)

    call(write, square, turned, sums, some, target=TARGETS[target])
    np.testing.assert_array_equal(turned, square.T)
    keep = np.arange(lanes) != 1
    np.testing.assert_array_equal(sums[keep], square.sum(1)[keep])
    assert some[0] == square[0].max()


def test_vectors_of_scalars_and_literals():
    out = np.zeros(4, "f4")

    def write(f, p):
        e = Emitter(f, 4)
        scalars = [literal(float(i), FLOAT32) for i in (3, 1, 2)]
        made = vector_of(e, [*scalars, scalars[0]], 4)
        f.store(e.add(made, vector_literal([0.5, 0.25, 1e40, -1e40], Type("float32", 4))), p)

    call(write, out)
    assert out.tolist() == [3.5, 1.25, float("inf"), float("-inf")]


def test_products_are_contracted_by_the_writer():
    function = Module(HOST).function("f", [("x", FLOAT32), ("y", FLOAT32)])
    e = Emitter(function, 0)
    x = function.add(function.params[0], 1.0)
    product = e.mul(x, x)
    for made in (e.add(product, x), e.sub(x, product), e.sub(product, 2.0)):
        assert made.product is None
    text = function.finished()
    assert text.count("llvm.fma") == 3
    assert "contract" not in text


def test_an_index_is_refused_where_there_is_none():
    with pytest.raises(EngineError, match="gives its body no index"):
        Emitter(Module(HOST).function("f", []), 4).index(0)
