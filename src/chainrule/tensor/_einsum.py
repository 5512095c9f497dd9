"""Sums of products by Einstein's notation, as matrix products."""

from __future__ import annotations

from math import prod as _product
from typing import Any

from ..errors import OptionError, ShapeError
from ._tensor import Tensor


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by Einstein's notation, for any number of operands.

    Operands are combined from left to right, each pair as one matrix product.

    Args:
        equation: letters for the axes of each operand, separated by commas; after ``->`` the axes
            of the result (left out: letters that occur once, in the order of the alphabet).
        *operands: as many tensors.

    Raises:
        OptionError: when the equation does not fit the operands.
        ShapeError: when one letter stands for two lengths.

    Example:
        >>> import chainrule as cr
        >>> einsum("ij,jk->ik", cr.ones(2, 3), cr.ones(3, 4)).shape
        chainrule.Size([2, 4])
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    terms, result = _read_equation(equation, operands)
    tensors = [_diagonals(one, term) for one, term in zip(operands, terms, strict=True)]
    current, letters = tensors[0]
    for index, (tensor, term) in enumerate(tensors[1:], start=1):
        later = set(result).union(*(other for _, other in tensors[index + 1 :]))
        current, letters = _contract(current, letters, tensor, term, later)
    extra = tuple(k for k, letter in enumerate(letters) if letter not in result)
    if extra:
        current = current.sum(extra)
        letters = "".join(letter for letter in letters if letter in result)
    return current.permute(*(letters.index(letter) for letter in result)) if result else current


def _read_equation(equation: str, operands: Any) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if "..." in text or not all(term.isalpha() or term == "" for term in (*terms, result)):
        raise OptionError(
            f"einsum: the equation {equation!r} is not understood.\n"
            "  expected: letters for axes, commas, and ->, as in 'ij,jk->ik'"
        )
    if len(terms) != len(operands):
        raise OptionError(
            f"einsum: the equation names {len(terms)} operands, and {len(operands)} were given"
        )
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        if len(term) != operand.ndim:
            raise OptionError(
                f"einsum: {term!r} names {len(term)} axes of an operand of shape"
                f" {tuple(operand.shape)}"
            )
        for letter, length in zip(term, operand.shape, strict=True):
            if sizes.setdefault(letter, length) != length:
                raise ShapeError(
                    f"einsum: axis {letter!r} has lengths {sizes[letter]} and {length}"
                )
    if not arrow:
        result = "".join(sorted(letter for letter in sizes if left.count(letter) == 1))
    unknown = [letter for letter in result if letter not in sizes]
    if unknown or len(set(result)) != len(result):
        raise OptionError(f"einsum: the result {result!r} names an axis twice, or one unknown")
    return terms, result


def _diagonals(tensor: Tensor, term: str) -> tuple[Tensor, str]:
    """An operand in which every letter stands once: of repeated ones the diagonal is taken."""
    while len(set(term)) != len(term):
        letter = next(one for one in term if term.count(one) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        rest = [k for k in range(tensor.ndim) if k not in (first, second)]
        moved = tensor.permute(first, second, *rest)
        n = moved.size(0)
        flat = moved.reshape(n * n, *moved.shape[2:])
        tensor = flat[slice(None, None, n + 1)]
        term = letter + "".join(term[k] for k in rest)
    return tensor, term


def _contract(
    a: Tensor, a_letters: str, b: Tensor, b_letters: str, later: set[str]
) -> tuple[Tensor, str]:
    """Two operands as one matrix product: shared axes that nobody needs later are summed over."""
    a, a_letters = _sum_alone(a, a_letters, set(b_letters) | later)
    b, b_letters = _sum_alone(b, b_letters, set(a_letters) | later)
    both = [letter for letter in a_letters if letter in b_letters]
    batch = [letter for letter in both if letter in later]
    summed = [letter for letter in both if letter not in later]
    own_a = [letter for letter in a_letters if letter not in b_letters]
    own_b = [letter for letter in b_letters if letter not in a_letters]
    size = {
        **dict(zip(a_letters, a.shape, strict=True)),
        **dict(zip(b_letters, b.shape, strict=True)),
    }
    lead = [size[letter] for letter in batch]
    inner = _product(size[letter] for letter in summed)
    left = a.permute(*(a_letters.index(one) for one in (*batch, *own_a, *summed)))
    right = b.permute(*(b_letters.index(one) for one in (*batch, *summed, *own_b)))
    left = left.reshape(*lead, _product(size[one] for one in own_a), inner)
    right = right.reshape(*lead, inner, _product(size[one] for one in own_b))
    shape = [*lead, *(size[one] for one in own_a), *(size[one] for one in own_b)]
    return (left @ right).reshape(tuple(shape)), "".join((*batch, *own_a, *own_b))


def _sum_alone(tensor: Tensor, letters: str, needed: set[str]) -> tuple[Tensor, str]:
    alone = tuple(k for k, letter in enumerate(letters) if letter not in needed)
    if not alone:
        return tensor, letters
    return tensor.sum(alone), "".join(letter for letter in letters if letter in needed)
