"""Gather, scatter and random bits against NumPy."""

import numpy as np
import pytest
from native_harness import TARGETS, Compiled

from chainrule.dtypes import float32, float64, int32, int64, uint8, uint32
from chainrule.engines.native.kernels.bits import random_bits
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.indexed import (
    gather,
    gather_rows,
    scatter_add,
    scatter_add_rows,
)
from chainrule.random import philox_blocks

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("cols", [1, 10, 100, 784])
@pytest.mark.parametrize("dtype", [float32, uint8, int64], ids=str)
def test_rows_through_a_body(target, cols, dtype):
    data = (RNG.random((57, cols)) * 100).astype(dtype.np)
    index = RNG.integers(-57, 57, 23).astype("i4")
    kernel = Compiled(
        lambda m: gather_rows(
            m,
            cols=cols,
            size=57,
            data=Operand(dtype, (cols, 1)),
            index=int32,
            outputs=[Operand(float32, (cols, 1))],
            body=lambda e, x: e.mul(e.cast(x, float32), 0.5),
        ),
        TARGETS[target],
    )
    made = kernel([data, index, np.zeros((23, cols), "f4")], 23, splits=(8,))[2]
    np.testing.assert_array_equal(made, data[index].astype("f4") * np.float32(0.5))


def test_large_data_is_asked_for_ahead_and_gives_the_same():
    data = RNG.random((4000, 130)).astype("f4")
    index = RNG.integers(0, 4000, 33)
    kernel = Compiled(
        lambda m: gather_rows(
            m,
            cols=130,
            size=4000,
            data=Operand(float32, (130, 1)),
            index=int64,
            outputs=[Operand(float32, (130, 1))],
        )
    )
    assert "llvm.prefetch" in kernel.text
    made = kernel([data, index, np.zeros((33, 130), "f4")], 33)[2]
    np.testing.assert_array_equal(made, data[index])


def test_indices_out_of_range_read_nothing_else():
    data = np.arange(5.0)
    index = np.array([4, 5, 10**12, -1, -5, -6, -(10**12)])
    kernel = Compiled(
        lambda m: gather(
            m,
            inner=(),
            size=5,
            step=1,
            data=Operand(float64, (0,)),
            index=Operand(int64, (1,)),
            outputs=[Operand(float64, (1,))],
        )
    )
    made = kernel([data, index, np.zeros(7)], 7)[2]
    assert made.tolist() == [4, 4, 4, 4, 0, 0, 0]


@pytest.mark.parametrize("target", TARGETS)
def test_one_choice_for_each_element_and_its_derivative(target):
    data = RNG.standard_normal((9, 7)).astype("f4")
    index = RNG.integers(0, 7, (9, 3))
    chooser = Operand(int64, (3, 1))
    kernel = Compiled(
        lambda m: gather(
            m,
            inner=(3,),
            size=7,
            step=1,
            data=Operand(float32, (7, 0)),
            index=chooser,
            outputs=[Operand(float32, (3, 1))],
        ),
        TARGETS[target],
    )
    made = kernel([data, index, np.zeros((9, 3), "f4")], 9)[2]
    np.testing.assert_array_equal(made, np.take_along_axis(data, index, 1))
    slope = RNG.standard_normal((9, 3)).astype("f4")
    back = Compiled(
        lambda m: scatter_add(
            m,
            inner=(3,),
            size=7,
            step=1,
            values=Operand(float32, (3, 1)),
            index=chooser,
            output=Operand(float32, (7, 0)),
        ),
        TARGETS[target],
    )
    assert back.kernel.axis == "rows"
    wanted = np.zeros((9, 7), "f4")
    np.add.at(wanted, (np.arange(9)[:, None], index), slope)
    made = back([slope, index, np.zeros((9, 7), "f4")], 9, splits=(4,))[2]
    np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("target", TARGETS)
def test_choice_along_the_last_axis(target):
    """take(x, index, axis=1): every row takes the same columns."""
    data = RNG.standard_normal((6, 11)).astype("f4")
    index = RNG.integers(0, 11, 4).astype("i4")
    kernel = Compiled(
        lambda m: gather(
            m,
            inner=(4,),
            size=11,
            step=1,
            data=Operand(float32, (11, 0)),
            index=Operand(int32, (0, 1)),
            outputs=[Operand(float32, (4, 1))],
        ),
        TARGETS[target],
    )
    made = kernel([data, index, np.zeros((6, 4), "f4")], 6)[2]
    np.testing.assert_array_equal(made, data[:, index])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("cols", [1, 10, 100])
def test_rows_added_in_order(target, cols):
    values = RNG.standard_normal((23, cols)).astype("f4")
    index = RNG.integers(0, 5, 23)
    kernel = Compiled(
        lambda m: scatter_add_rows(
            m,
            cols=cols,
            size=5,
            values=Operand(float32, (cols, 1)),
            index=int64,
            output=Operand(float32, (cols, 1)),
        ),
        TARGETS[target],
    )
    wanted = np.zeros((5, cols), "f4")
    np.add.at(wanted, index, values)
    made = kernel([values, index, np.zeros((5, cols), "f4")], cols, (23,), splits=(cols // 2,))
    np.testing.assert_array_equal(made[2], wanted)


def test_scatter_of_single_numbers_is_whole():
    values, index = RNG.standard_normal(50), RNG.integers(0, 4, 50)
    kernel = Compiled(
        lambda m: scatter_add(
            m,
            inner=(),
            size=4,
            step=1,
            values=Operand(float64, (1,)),
            index=Operand(int64, (1,)),
            output=Operand(float64, (0,)),
        )
    )
    assert kernel.kernel.axis == "whole"
    wanted = np.zeros(4)
    np.add.at(wanted, index, values)
    np.testing.assert_array_equal(kernel([values, index, np.zeros(4)], 50)[2], wanted)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("count", "split"), [(1, 0), (3, 2), (4, 1), (64, 7), (67, 33), (900, 511)]
)
def test_random_bits_are_those_of_the_definition(target, count, split):
    key = np.array([0xDEADBEEF, 0xFEDCBA98], "u4")
    counter = np.array((5 << 32) - 3)  # crosses a carry into the second counter word
    kernel = Compiled(
        lambda m: random_bits(
            m,
            operands=[Operand(float32, (1,))],
            outputs=[Operand(uint32, (1,)), Operand(float32, (1,))],
            body=lambda e, bits, x: (bits, e.select(e.lt(bits, 1 << 31), x, 0.0)),
        ),
        TARGETS[target],
    )
    x = RNG.standard_normal(count).astype("f4")
    arrays = [key, counter, x, np.zeros(count, "u4"), np.zeros(count, "f4")]
    *_, bits, kept = kernel(arrays, count, splits=(split,))
    wanted = philox_blocks(key, int(counter), count // 4 + 1).ravel()[:count]
    np.testing.assert_array_equal(bits, wanted)
    np.testing.assert_array_equal(kept, np.where(wanted < 1 << 31, x, 0))


def test_random_bits_by_the_papers_known_answers():
    """Known answers for Philox 4x32-10 from the authors' published test vectors: zeros and ones."""
    kernel = Compiled(lambda m: random_bits(m, [], [Operand(uint32, (1,))], lambda e, bits: bits))
    made = kernel([np.zeros(2, "u4"), np.array(0), np.zeros(4, "u4")], 4)[2]
    assert [hex(word) for word in made] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
