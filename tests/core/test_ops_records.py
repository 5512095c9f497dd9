"""The records of ops: how each is written, what each refuses, what nobody may change."""

import dataclasses
import string
from typing import Any

import pytest

import chainrule as cr
from chainrule import dtypes, ops
from chainrule.errors import ChainruleError, DTypeError, ShapeError
from chainrule.graph import make_aval

NAMES = [op.name for op in ops.ALL]


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("op", ops.ALL, ids=NAMES)
def test_every_op_can_be_written(op: ops.Op) -> None:
    assert op.tex and op.text
    arguments = ("a", "b", "c")
    for template in (op.tex, op.text, *op.slopes):
        written = template.format(*arguments)
        assert places(template) <= {"0", "1", "2"}
        assert "{}" not in written.replace("^{}", "")
    if op.elementwise and op.vjps and any(op.vjps) and op.name != "shift_right":
        assert len(op.slopes) == len(op.vjps), "an elementwise op says each of its slopes"


@pytest.mark.parametrize("op", ops.ALL, ids=NAMES)
def test_rules_match_inputs(op: ops.Op) -> None:
    assert op.variadic == (op.name in ("concat", "scan", "custom"))
    assert op.joint == (op.name in ("scan", "custom"))
    if not op.variadic and op.name != "iota":
        assert len(op.vjps) >= 1


def test_records_are_frozen_and_unique() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ops.ADD.name = "other"  # type: ignore[misc]
    assert len(set(NAMES)) == len(NAMES)


X = make_aval((2, 3), dtypes.float32)
INDEX = make_aval((2,), dtypes.int64)


@pytest.mark.parametrize(
    ("op", "avals", "attrs", "error", "text"),
    [
        (ops.PERMUTE, [X], {"axes": (0,)}, ShapeError, "names 1 axes of a tensor with 2"),
        (ops.SLICE, [X], {"starts": (0, 0), "stops": (1, 1), "steps": (1, 0)}, ShapeError, "slice"),
        (
            ops.PAD,
            [X],
            {"low": (-1, 0), "high": (0, 0), "interior": (0, 0)},
            ShapeError,
            "0 or more",
        ),
        (ops.CONCAT, [X, INDEX], {"axis": 0}, ShapeError, "cannot be joined"),
        (
            ops.CONCAT,
            [X, make_aval((2, 3), dtypes.float64)],
            {"axis": 0},
            DTypeError,
            "joins one dtype",
        ),
        (ops.TAKE, [X, X], {"axis": 0}, DTypeError, "whole numbers as indices"),
        (ops.TAKE, [X, INDEX], {"axis": 2}, ShapeError, "distinct axes"),
        (ops.GATHER, [X, INDEX], {"axis": 0}, ShapeError, "equal lengths on every axis but 0"),
        (ops.SCATTER_ADD, [X, INDEX], {"axis": 0, "size": 3}, ShapeError, "differ in shape"),
        (
            ops.TAKE_ADD,
            [X, make_aval((5,), dtypes.int64)],
            {"axis": 0, "size": 3},
            ShapeError,
            "not lie",
        ),
        (ops.MATMUL, [INDEX, X], {"ta": False, "tb": False}, ShapeError, "two or more dimensions"),
        (
            ops.MATMUL,
            [X, X],
            {"ta": False, "tb": False},
            ShapeError,
            "fix: give the second operand",
        ),
        (
            ops.SUM,
            [make_aval((2,), dtypes.bool_)],
            {"axes": (0,), "keepdims": False},
            DTypeError,
            "booleans",
        ),
        (ops.RANDOM_BITS, [X, INDEX], {"shape": (2,)}, ShapeError, "a key of two uint32"),
        (ops.RESHAPE, [X], {"shape": (5,)}, ShapeError, "cannot be reshaped to"),
    ],
)
def test_shape_rules_refuse(
    op: ops.Op, avals: list[Any], attrs: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        op.infer(*avals, **attrs)


def test_eager_errors_name_the_op_and_are_not_remembered() -> None:
    for _ in range(2):
        with pytest.raises(ChainruleError, match="where: op add"):
            cr.ones(2) + cr.ones(3)


def test_dtypes_meet_by_casts_that_are_nodes() -> None:
    a = cr.ones(2, dtype=cr.int64)
    b = cr.ones(2, requires_grad=True)
    total = (a + b).node
    assert [source.op.name for source in total.inputs] == ["input", "input"]
    assert {source.dtype for source in total.inputs} == {cr.float32}
    wide = (b + cr.ones(2, dtype=cr.float64)).node
    assert [source.op.name for source in wide.inputs] == ["cast", "input"]


def test_equal_literals_are_one_node() -> None:
    assert ops.constant(2, dtypes.float32) is ops.constant(2, dtypes.float32)
    assert ops.constant(2, dtypes.float32) is not ops.constant(2, dtypes.float64)
    assert ops.constant(True, dtypes.int64) is not ops.constant(1, dtypes.int64)
    zero, minus = ops.constant(0.0, dtypes.float64), ops.constant(-0.0, dtypes.float64)
    assert str(zero.value()) == "0.0" and str(minus.value()) == "-0.0"
