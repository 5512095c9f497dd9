"""Large products and products over long sums, and weights laid for many rows, beside NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines import native
from chainrule.engines.native.lower.stacked import is_crowded

Array = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return made


def check(
    function: Callable[..., Any], a: Array, b: Array, *expected: Array, says: str = ""
) -> None:
    """The expected values, the same bits by 1, 2 and 3 threads, and the form that was chosen."""
    graph = cr.trace(function, cr.tensor(a), cr.tensor(b)).graph
    programs = [native.compile_graph(graph, threads=count) for count in (1, 2, 3)]
    assert says in programs[0].explain()
    found = [program(a, b) for program in programs]
    for place, want in enumerate(expected):
        np.testing.assert_allclose(found[0][place], want, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(found[1][place], found[0][place])
        np.testing.assert_array_equal(found[2][place], found[0][place])


# Rows of a tile are 6, blocks of A 192 by 256, sums of 384 rows wait for the next block.
@pytest.mark.parametrize(
    ("rows", "columns", "depth"),
    [(24, 24, 512), (25, 33, 577), (390, 100, 600), (30, 530, 512)],
)
def test_products_over_long_sums(rows: int, columns: int, depth: int) -> None:
    a, b = draw(depth, rows), draw(depth, columns, seed=1)
    product = a.T @ b
    check(
        lambda a, b: [a.T @ b, (a.T @ b) * 2 + 1], a, b, product, product * 2 + 1, says="(blocked"
    )


def test_not_a_number_reaches_its_row_and_no_other() -> None:
    a, b = draw(600, 31), draw(600, 20, seed=1)
    a[3, 5] = np.nan
    graph = cr.trace(lambda a, b: a.T @ b, cr.tensor(a), cr.tensor(b)).graph
    (found,) = native.compile_graph(graph)(a, b)
    wrong = np.isnan(found)
    assert wrong[5].all() and wrong.sum() == 20


@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(512, 128, 7), (513, 17, 33), (600, 256, 3)]
)
def test_weights_are_laid_once_for_many_rows(rows: int, columns: int, depth: int) -> None:
    a, b = draw(rows, depth), draw(columns, depth, seed=1)
    check(lambda a, b: a @ b.T, a, b, a @ b.T, says="[laid]")


def test_few_rows_read_the_weight_as_it_lies() -> None:
    a, b = draw(100, 64), draw(128, 64, seed=1)
    graph = cr.trace(lambda a, b: a @ b.T, cr.tensor(a), cr.tensor(b)).graph
    assert "laid" not in native.compile_graph(graph).explain()


def test_leading_dimensions_are_rows_of_one_product() -> None:
    a, b = draw(4, 5, 30), draw(30, 12, seed=1)
    check(lambda a, b: a @ b + 1, a, b, a @ b + 1, says="product 20x12 over 30")
    turned = a.transpose(1, 0, 2)
    check(lambda a, b: a.transpose(0, 1) @ b, a, b, turned @ b, says="5x4x12 over 30")


def test_sums_of_products_and_of_permuted_arrays() -> None:
    a, b = draw(4, 5, 30), draw(5, 4, 12, seed=1)

    def both(a: Any, b: Any) -> Any:
        turned = b.transpose(0, 1)
        return [(a.transpose(1, 2) @ turned).sum(0), turned.sum((0, 1))]

    expected = np.einsum("tbi,bto->io", a, b)
    check(both, a, b, expected, b.sum((0, 1)), says="product 30x12 over 20")


def test_pieces_that_fill_the_whole_are_joined_in_place() -> None:
    def run(a: Any, b: Any) -> Any:
        first, second, third = a.chunk(3, 1)
        value = (first * second.tanh() + third.exp() * b).sum()
        return cr.grad(value, [a])

    a, b = draw(7, 33), draw(7, 11, seed=1)
    wanted = cr.tensor(a, requires_grad=True)
    graph = cr.trace(run, wanted, cr.tensor(b)).graph
    program = native.compile_graph(graph)
    (found,) = program(a, b)
    expected = run(wanted, cr.tensor(b))[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    text = program.explain()
    assert "sum_of_pieces" in text and "join part" not in text and "zeros" not in text


def test_rows_that_crowd_a_cache() -> None:
    assert is_crowded(1024) and is_crowded(4096)
    assert not is_crowded(4096 + 64) and not is_crowded(400)


def test_factors_that_were_single_numbers() -> None:
    a, b = draw(), draw(seed=1)
    check(lambda a, b: a.reshape(1, 1).T @ b.reshape(1, 1), a, b, (a * b).reshape(1, 1))
