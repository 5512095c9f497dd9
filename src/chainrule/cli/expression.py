"""Formulas typed at the command line: read, checked against a list of what is allowed, computed.

Python's own grammar is read into a tree of syntax and nothing of it is executed: the tree is walked
here, and every step in it is looked up in the tables below.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ChainruleError
from ..tensor import Tensor

Array = npt.NDArray[np.float64]


class ExpressionError(ChainruleError, ValueError):
    """A formula that cannot be read or computed, with a mark under the place."""


@dataclass(frozen=True)
class Formula:
    """A checked formula: its text, and its syntax."""

    text: str
    tree: ast.expr

    @property
    def variables(self) -> list[str]:
        """Name the variables in the order they are written.

        Example:
            >>> parse("3*(b + exp(a)*b)").variables
            ['b', 'a']
        """
        called = {id(part.func) for part in ast.walk(self.tree) if isinstance(part, ast.Call)}
        found = [part for part in ast.walk(self.tree) if isinstance(part, ast.Name)]
        found.sort(key=lambda part: part.col_offset)
        return list(dict.fromkeys(part.id for part in found if id(part) not in called))


OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.MatMult: lambda a, b: a @ b,
}
"""What stands between two operands. A product `a @ b` is one of arrays."""

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "log1p": lambda x: x.log1p(),
    "expm1": lambda x: x.expm1(),
    "sqrt": lambda x: x.sqrt(),
    "abs": lambda x: x.abs(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(),
}
"""Functions of one value."""

CONSTANTS = {"pi": math.pi}

_SAME_WIDTH = str.maketrans({"·": "*", "×": "*", "−": "-", "÷": "/"})
_LONGEST = 10_000
_LARGEST = 10**308


def parse_values(pairs: list[str]) -> dict[str, Array]:
    """Read `name=value` pairs; a value is a number or an array such as `[1,2,3]`.

    Raises:
        ExpressionError: when a pair has another form, or names a variable twice.

    Example:
        >>> parse_values(["a=5", "w=[1, 2]"])
        {'a': array(5.), 'w': array([1., 2.])}
    """
    values: dict[str, Array] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not name.isidentifier():
            raise ExpressionError(
                f"cannot read {pair!r}.\n  expected: name=value, for example a=5 or a=[1,2,3]"
            )
        if name in FUNCTIONS:
            raise ExpressionError(f"{name} is a function; give the variable another name.")
        if name in values:
            raise ExpressionError(f"{name} is given twice.")
        values[name] = _value(pair, text)
    return values


def _value(pair: str, text: str) -> Array:
    # 5, .5 and 1e-3 are not all JSON, so numbers inside an array are read by JSON and a lone one
    # by Python's float.
    try:
        plain = json.loads(text) if text.startswith("[") else float(text)
        value = np.array(plain, dtype=np.float64)
    except (ValueError, TypeError, RecursionError):
        value = np.array(math.nan)
    if not np.isfinite(value).all() or value.size == 0:
        raise ExpressionError(
            f"cannot read {pair!r}: {text!r} is not a number or an array of numbers.\n"
            "  expected: for example a=5, a=-0.5 or a=[1,2,3]"
        )
    return value


def parse(text: str) -> Formula:
    """Read a formula and check that every part of it is allowed.

    Raises:
        ExpressionError: with a mark under the first part that is not.

    Example:
        >>> parse("a + ")
        Traceback (most recent call last):
        ...
        chainrule.cli.expression.ExpressionError: the formula ends too early.
          a +
             ^
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"the formula has more than {_LONGEST} characters.")
    text = " ".join(text.translate(_SAME_WIDTH).split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on Python code
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(_syntax(text, error)) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(
            "the formula cannot be read: a zero byte, or too much nesting."
        ) from None
    parts = [part for part in ast.walk(tree) if isinstance(part, ast.expr)]
    for part in sorted(parts, key=lambda part: part.col_offset):
        problem = _problem(part)
        if problem:
            raise ExpressionError(_mark(text, part, problem))
    return Formula(text, tree)


def match(formula: Formula, values: Mapping[str, Array]) -> None:
    """Check that every variable has a value and every value a variable.

    Raises:
        ExpressionError: naming the one that has none, and the arguments to add.
    """
    wanted = [name for name in formula.variables if name not in CONSTANTS or name in values]
    lacking = [name for name in wanted if name not in values]
    if lacking:
        names = [part for part in ast.walk(formula.tree) if isinstance(part, ast.Name)]
        first = next(part for part in names if part.id == lacking[0])
        problem = f"{_and(lacking)} {'has' if len(lacking) == 1 else 'have'} no value."
        fix = " ".join(f"{name}=1" for name in lacking)
        place = _mark(formula.text, first, problem)
        raise ExpressionError(f"{place}\n  fix: add {fix} (with the numbers you want)")
    unused = [name for name in values if name not in wanted]
    if unused:
        raise ExpressionError(
            f"{_and(unused)} {'is' if len(unused) == 1 else 'are'} not in the formula.\n"
            f"  its variables: {', '.join(wanted) or 'none'}"
        )


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def compute(formula: Formula, given: Mapping[str, Tensor]) -> Tensor:
    """Compute a formula on tensors.

    The walk keeps its own stack, so that a long sum is no deep recursion.

    Raises:
        ExpressionError: when shapes do not fit, with a mark under the operation.

    Example:
        >>> import chainrule as cr
        >>> compute(parse("a*a + 1"), {"a": cr.tensor(3.0)}).item()
        10.0
    """
    done: dict[int, Any] = {}
    stack: list[tuple[ast.expr, bool]] = [(formula.tree, False)]
    while stack:
        part, ready = stack.pop()
        if not ready:
            stack.append((part, True))
            stack += [(child, False) for child in reversed(_operands(part))]
            continue
        try:
            done[id(part)] = _apply(part, done, given)
        except ChainruleError as error:
            raise ExpressionError(_mark(formula.text, part, str(error))) from error
    return _tensor(done[id(formula.tree)])


def _operands(part: ast.expr) -> list[ast.expr]:
    if isinstance(part, ast.BinOp):
        return [part.left, part.right]
    if isinstance(part, ast.UnaryOp):
        return [part.operand]
    return list(part.args) if isinstance(part, ast.Call) else []


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.array(value, dtype=np.float64))


def _apply(part: ast.expr, done: dict[int, Any], given: Mapping[str, Tensor]) -> Any:
    """Compute one part from its operands; numbers alone stay plain numbers."""
    operands = [done[id(operand)] for operand in _operands(part)]
    match part:
        case ast.Constant(value=float() | int() as number):
            return float(number)
        case ast.Name(id=name):
            return given[name] if name in given else CONSTANTS[name]
        case ast.UnaryOp(op=operator):
            return -operands[0] if isinstance(operator, ast.USub) else operands[0]
        case ast.BinOp(op=operator):
            return _combine(OPERATORS[type(operator)], *operands)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](_tensor(operands[0]))
    raise AssertionError(part)  # `parse` lets nothing else through


def _combine(operator: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return operator(left, right)
    with np.errstate(all="ignore"):  # as float64, where 1/0 is infinite and no error
        return float(operator(np.float64(left), np.float64(right)))


def _problem(part: ast.expr) -> str:
    """Say what is wrong with one part of the syntax, or give an empty text."""
    match part:
        case ast.Constant(value=number):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                return "only numbers can be written here."
            return "" if abs(number) < _LARGEST else "the number is too large."
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            if name not in FUNCTIONS:
                return _unknown_function(name)
            return "" if len(arguments) == 1 and not keywords else f"{name} takes one value."
        case ast.Call():
            return "a product is written with *, and only a function can stand before brackets."
        case ast.BinOp(op=ast.BitXor()):
            return "a power is written ** (a**2)."
        case ast.BinOp(op=operator):
            return "" if type(operator) in OPERATORS else "the operators are + - * / ** and @."
        case ast.UnaryOp(op=ast.UAdd() | ast.USub()) | ast.Name():
            return ""
    return "a formula is made of numbers, names, + - * / ** @, brackets and functions."


def _unknown_function(name: str) -> str:
    near = difflib.get_close_matches(name, FUNCTIONS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"there is no function {name}.{hint} The functions: {', '.join(FUNCTIONS)}."


def _syntax(text: str, error: SyntaxError) -> str:
    if not text:
        return 'the formula is empty.\n  expected: for example "3*(a + b*c)"'
    # Python counts characters from 1, and says 0 where the text has come to its end.
    at = (error.offset or len(text) + 1) - 1
    if "nested" in error.msg:
        return "the formula is nested too deeply."
    if "was never closed" in error.msg:
        return _point(text, at, "the bracket is never closed.")
    if at >= len(text):
        return _point(text, at, "the formula ends too early.")
    hint = " A product is written with *." if re.match(r"[\d.]*[A-Za-z_(]", text[at:]) else ""
    return _point(text, at, f"the formula cannot be read here.{hint}")


def _mark(text: str, part: ast.expr, problem: str) -> str:
    """Put a mark under a part; for an operation, under the operator itself."""
    encoded = text.encode()
    offset = part.col_offset  # Python counts bytes here
    if isinstance(part, ast.BinOp):
        offset = part.left.end_col_offset or offset
        while encoded[offset : offset + 1] in (b" ", b")"):
            offset += 1
    return _point(text, len(encoded[:offset].decode()), problem)


def _point(text: str, column: int, problem: str) -> str:
    return f"{problem}\n  {text}\n  {' ' * column}^"
