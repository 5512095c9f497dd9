"""The layered layout: order, room, routes."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.explain._layout import Layout, arrange, spread_out

Edges = list[tuple[str, str]]


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    places = list(layout.places.items())
    found = []
    for i, (a, p) in enumerate(places):
        for b, q in places[i + 1 :]:
            beside = p.x + p.width <= q.x + 1e-6 or q.x + q.width <= p.x + 1e-6
            above = p.y + p.height <= q.y + 1e-6 or q.y + q.height <= p.y + 1e-6
            if not (beside or above):
                found.append((a, b))
    return found


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], Edges]:
    count = draw(st.integers(1, 24))
    sizes = {f"n{i}": (draw(st.integers(20, 160)), draw(st.integers(20, 60))) for i in range(count)}
    pairs = [(i, j) for i in range(count) for j in range(i + 1, min(count, i + 6))]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []
    return sizes, [(f"n{i}", f"n{j}") for i, j in chosen]


@given(graphs(), st.booleans())
def test_cells_never_overlap_and_edges_flow_one_way(
    graph: tuple[dict[str, tuple[float, float]], Edges], down: bool
) -> None:
    sizes, edges = graph
    layout = arrange(sizes, edges, down=down)
    assert set(layout.places) == set(sizes)
    assert overlaps(layout) == []
    for source, target in edges:
        a, b = layout.places[source], layout.places[target]
        assert (a.y + a.height < b.y) if down else (a.x + a.width < b.x)
        route = layout.routes[source, target]
        assert len(route) >= 2
        start = a.y + a.height if down else a.x + a.width
        end = b.y if down else b.x
        assert route[0][1 if down else 0] == pytest.approx(start)
        assert route[-1][1 if down else 0] == pytest.approx(end)
    for place in layout.places.values():
        assert place.x >= -1e-6 and place.x + place.width <= layout.width + 1e-6
        assert place.y >= -1e-6 and place.y + place.height <= layout.height + 1e-6


def test_leaves_stand_beside_their_users() -> None:
    sizes = dict.fromkeys("abcuvJ", (60.0, 30.0))
    edges = [("b", "u"), ("c", "u"), ("a", "v"), ("u", "v"), ("v", "J")]
    layout = arrange(sizes, edges)
    assert [set(layer) for layer in layout.layers] == [{"b", "c"}, {"a", "u"}, {"v"}, {"J"}]
    assert layout.crossings == 0


def test_avoidable_crossings_are_avoided() -> None:
    sizes = dict.fromkeys(["a1", "a2", "a3", "b3", "b2", "b1"], (40.0, 20.0))
    layout = arrange(sizes, [("a1", "b1"), ("a2", "b2"), ("a3", "b3")])
    assert layout.crossings == 0


def test_sixty_nodes_take_little_time() -> None:
    sizes = {f"n{i}": (110.0, 44.0) for i in range(60)}
    edges = [(f"n{i}", f"n{j}") for i in range(60) for j in (i + 1, i + 4, i + 9) if j < 60]
    start = time.perf_counter()
    layout = arrange(sizes, edges)
    assert time.perf_counter() - start < 2.0
    assert overlaps(layout) == []


def test_a_cycle_is_named() -> None:
    with pytest.raises(ValueError, match="form a cycle through"):
        arrange(dict.fromkeys("ab", (10.0, 10.0)), [("a", "b"), ("b", "a")])


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(ValueError, match="names 'z', which has no size"):
        arrange({"a": (10.0, 10.0)}, [("a", "z")])


def test_a_long_chain_needs_no_recursion() -> None:
    keys = [f"n{i}" for i in range(5000)]
    layout = arrange(dict.fromkeys(keys, (10.0, 10.0)), pairwise(keys))
    assert len(layout.layers) == 5000


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_spread_out_keeps_order_and_distance(wanted: list[float]) -> None:
    placed = spread_out(wanted, [10.0] * len(wanted), 2.0, [1.0] * len(wanted))
    for first, second in pairwise(placed):
        assert second - first >= 12.0 - 1e-9
    # Least squares moves the mean of a block nowhere.
    assert sum(placed) == pytest.approx(sum(wanted), abs=1e-6)
