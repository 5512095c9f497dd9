"""Layered layout of a directed graph without cycles, as plain data.

The steps of Sugiyama, Tagawa, Toda (1981, "Methods for visual understanding of hierarchical system
structures") with the edge weights of Gansner, Koutsofios, North, Vo (1993, "A technique for drawing
directed graphs"): layers from the longest way to an output, bends where an edge passes a layer,
orders by medians and swaps until crossings stop falling, then places by least squares.

The flow runs to the right, or down when `down=True`. Inside, `along` is the flow's direction and
`across` the other one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ._drawing import Point

ORDER_ROUNDS = 12
PLACE_ROUNDS = 60
BEND_SIZE = 10.0
# Straight long edges read best: a bend pulls harder on its neighbours than a cell does.
PULL = {0: 1.0, 1: 2.0, 2: 8.0}
# Leaves give way, so that the way of the results runs straight.
LEAF_PULL = 0.05


@dataclass(frozen=True)
class Place:
    """Where a cell lies: its top left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Places of cells, ways of edges, and the sheet that holds them."""

    width: float
    height: float
    places: dict[str, Place]
    routes: dict[tuple[str, str], tuple[Point, ...]]
    layers: tuple[tuple[str, ...], ...]
    crossings: int


@dataclass
class _Net:
    """The graph with a bend for every layer that an edge passes."""

    layers: list[list[str]]
    before: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    after: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    chains: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    bends: set[str] = field(default_factory=set)


def arrange(
    sizes: Mapping[str, tuple[float, float]],
    edges: Iterable[tuple[str, str]],
    *,
    down: bool = False,
    layer_gap: float = 44.0,
    cell_gap: float = 18.0,
) -> Layout:
    """Lay out a graph in layers.

    Args:
        sizes: Width and height of each cell; the order of the keys breaks ties.
        edges: (from, to) pairs of keys; doubles count once.
        down: Let the flow run down instead of to the right.
        layer_gap: Pixels between two layers.
        cell_gap: Least pixels between two cells of a layer.

    Returns:
        Places, edge routes and the sheet's size.

    Raises:
        ValueError: An edge names a cell without a size, or the edges form a cycle.

    Example:
        >>> sizes = dict.fromkeys("bcu", (60, 30))
        >>> layout = arrange(sizes, [("b", "u"), ("c", "u")])
        >>> layout.layers, layout.crossings
        ((('b', 'c'), ('u',)), 0)
    """
    pairs = list(dict.fromkeys(edges))
    for source, target in pairs:
        for key in (source, target):
            if key not in sizes:
                raise ValueError(f"edge {(source, target)!r} names {key!r}, which has no size")
    net = _with_bends(_layers(list(sizes), pairs), pairs)
    _order(net)
    return _placed(net, sizes, pairs, down, layer_gap, cell_gap)


def _layers(keys: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Number layers by the longest way to an output, so that leaves stand beside their users."""
    consumers: dict[str, list[str]] = defaultdict(list)
    producers: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        consumers[source].append(target)
        producers[target].append(source)
    waiting = {key: len(consumers[key]) for key in keys}
    ready = [key for key in keys if not waiting[key]]
    height = dict.fromkeys(ready, 0)
    done = 0
    while ready:
        key = ready.pop()
        done += 1
        for source in producers[key]:
            height[source] = max(height.get(source, 0), height[key] + 1)
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    if done < len(keys):
        stuck = [key for key in keys if waiting[key]]
        raise ValueError(f"the edges form a cycle through {stuck[:4]}; a computation has none")
    top = max(height.values(), default=0)
    return {key: top - height[key] for key in keys}


def _with_bends(layer: dict[str, int], edges: Sequence[tuple[str, str]]) -> _Net:
    net = _Net([[] for _ in range(max(layer.values(), default=-1) + 1)])
    for key, index in layer.items():
        net.layers[index].append(key)
    for source, target in edges:
        chain = [source]
        for index in range(layer[source] + 1, layer[target]):
            bend = f"\0{source}\0{target}\0{index}"
            net.bends.add(bend)
            net.layers[index].append(bend)
            chain.append(bend)
        chain.append(target)
        net.chains[source, target] = chain
        for first, second in pairwise(chain):
            net.after[first].append(second)
            net.before[second].append(first)
    return net


# --- the order within each layer -------------------------------------------------------------


def _order(net: _Net) -> None:
    """Reorder layers until crossings stop falling; keep the best order seen."""
    best, fewest = [list(layer) for layer in net.layers], _crossings(net)
    for step in range(ORDER_ROUNDS):
        _by_medians(net, downward=step % 2 == 0)
        _by_swaps(net)
        count = _crossings(net)
        if count < fewest:
            best, fewest = [list(layer) for layer in net.layers], count
        if fewest == 0:
            break
    net.layers[:] = best


def _by_medians(net: _Net, downward: bool) -> None:
    neighbours = net.before if downward else net.after
    indices = range(1, len(net.layers)) if downward else range(len(net.layers) - 2, -1, -1)
    for index in indices:
        reference = net.layers[index - 1 if downward else index + 1]
        position = {key: i for i, key in enumerate(reference)}
        layer = net.layers[index]
        now = {key: float(i) for i, key in enumerate(layer)}
        wanted = {key: _median(position, neighbours[key], now[key]) for key in layer}
        layer.sort(key=lambda key: (wanted[key], now[key]))


def _median(position: Mapping[str, int], keys: Sequence[str], otherwise: float) -> float:
    places = sorted(position[key] for key in keys if key in position)
    if not places:
        return otherwise
    middle = len(places) // 2
    if len(places) % 2:
        return float(places[middle])
    return (places[middle - 1] + places[middle]) / 2


def _by_swaps(net: _Net) -> None:
    """Swap neighbours of a layer where that saves crossings."""
    for index, layer in enumerate(net.layers):
        improved = True
        while improved:
            improved = False
            for i in range(len(layer) - 1):
                if _gain(net, index, layer[i], layer[i + 1]) > 0:
                    layer[i], layer[i + 1] = layer[i + 1], layer[i]
                    improved = True


def _gain(net: _Net, index: int, first: str, second: str) -> int:
    gain = 0
    for neighbours, other in ((net.before, index - 1), (net.after, index + 1)):
        if 0 <= other < len(net.layers):
            position = {key: i for i, key in enumerate(net.layers[other])}
            ones = [position[key] for key in neighbours[first]]
            twos = [position[key] for key in neighbours[second]]
            gain += sum(a > b for a in ones for b in twos) - sum(a < b for a in ones for b in twos)
    return gain


def _crossings(net: _Net) -> int:
    """Count crossings between neighbouring layers: inversions of the edges' far ends."""
    total = 0
    for layer, following in zip(net.layers, net.layers[1:], strict=False):
        position = {key: i for i, key in enumerate(following)}
        seen: list[int] = []
        for key in layer:
            ends = sorted(position[target] for target in net.after[key])
            total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# --- coordinates -----------------------------------------------------------------------------


def _placed(
    net: _Net,
    sizes: Mapping[str, tuple[float, float]],
    edges: Sequence[tuple[str, str]],
    down: bool,
    layer_gap: float,
    cell_gap: float,
) -> Layout:
    along = {key: size[1 if down else 0] for key, size in sizes.items()}
    across = {key: size[0 if down else 1] for key, size in sizes.items()}
    centre = _centres(net, across, cell_gap)
    starts, thickness = _layer_starts(net, along, layer_gap)
    places: dict[str, Place] = {}
    for index, layer in enumerate(net.layers):
        for key in layer:
            if key not in net.bends:
                a = starts[index] + (thickness[index] - along[key]) / 2
                b = centre[key] - across[key] / 2
                x, y = (b, a) if down else (a, b)
                places[key] = Place(x, y, *sizes[key])
    spans = {
        k: (s, s + t)
        for layer, s, t in zip(net.layers, starts, thickness, strict=True)
        for k in layer
    }
    routes = {edge: _route(net, edge, places, centre, spans, down) for edge in edges}
    ends = [
        starts[-1] + thickness[-1] if starts else 0.0,
        max((centre[k] + across.get(k, BEND_SIZE) / 2 for k in centre), default=0.0),
    ]
    width, height = reversed(ends) if down else ends
    real = tuple(tuple(k for k in layer if k not in net.bends) for layer in net.layers)
    return Layout(width, height, places, routes, real, _crossings(net))


def _layer_starts(
    net: _Net, along: Mapping[str, float], gap: float
) -> tuple[list[float], list[float]]:
    thickness = [
        max((along[k] for k in layer if k not in net.bends), default=0.0) for layer in net.layers
    ]
    starts, position = [], 0.0
    for size in thickness:
        starts.append(position)
        position += size + gap
    return starts, thickness


def _centres(net: _Net, across: Mapping[str, float], gap: float) -> dict[str, float]:
    """Find places across the flow: near the mean of the neighbours, in order, without overlap."""
    centre: dict[str, float] = {}
    for layer in net.layers:
        position = 0.0
        for key in layer:
            size = across.get(key, BEND_SIZE)
            centre[key] = position + size / 2
            position += size + gap
    for step in range(PLACE_ROUNDS):
        last = step >= PLACE_ROUNDS - 40
        sides = (net.before, net.after) if last else ((net.before, net.after)[step % 2],)
        layers = net.layers if step % 2 == 0 else net.layers[::-1]
        for layer in layers:
            wanted = [_wanted(net, key, centre, sides) for key in layer]
            weights = [_weight(net, key) for key in layer]
            extents = [across.get(key, BEND_SIZE) for key in layer]
            spread = spread_out(wanted, extents, gap, weights)
            centre.update(zip(layer, spread, strict=True))
    low = min((centre[k] - across.get(k, BEND_SIZE) / 2 for k in centre), default=0.0)
    return {key: value - low for key, value in centre.items()}


def _weight(net: _Net, key: str) -> float:
    if key in net.bends:
        return PULL[1]
    return 1.0 if net.before.get(key) else LEAF_PULL


def _wanted(
    net: _Net,
    key: str,
    centre: Mapping[str, float],
    sides: Sequence[Mapping[str, list[str]]],
) -> float:
    total = weight = 0.0
    for side in sides:
        for other in side.get(key, ()):
            pull = PULL[(key in net.bends) + (other in net.bends)]
            if not net.before.get(key) or not net.before.get(other):
                pull *= LEAF_PULL
            total += pull * centre[other]
            weight += pull
    return total / weight if weight else centre[key]


def spread_out(
    wanted: Sequence[float], sizes: Sequence[float], gap: float, weights: Sequence[float]
) -> list[float]:
    """Move centres as little as possible (least squares) so that cells keep order and distance.

    With the distances taken off, what remains is an isotonic regression, solved by pooling
    neighbours that violate the order (Ayer and others, 1955).

    Example:
        >>> spread_out([5.0, 5.0], [10.0, 10.0], 2.0, [1.0, 1.0])
        [-1.0, 11.0]
    """
    offsets = [0.0]
    for first, second in pairwise(sizes):
        offsets.append(offsets[-1] + (first + second) / 2 + gap)
    blocks: list[list[float]] = []  # [weighted mean, weight, count]
    for want, offset, weight in zip(wanted, offsets, weights, strict=False):
        blocks.append([want - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, total, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * total) / (last[1] + total)
            last[1] += total
            last[2] += count
    levels = [block[0] for block in blocks for _ in range(int(block[2]))]
    return [level + offset for level, offset in zip(levels, offsets, strict=False)]


def _route(
    net: _Net,
    edge: tuple[str, str],
    places: Mapping[str, Place],
    centre: Mapping[str, float],
    spans: Mapping[str, tuple[float, float]],
    down: bool,
) -> tuple[Point, ...]:
    source, target = edge
    start, end = places[source], places[target]
    points: list[Point] = [
        (start.y + start.height if down else start.x + start.width, centre[source])
    ]
    for bend in net.chains[edge][1:-1]:
        points += [(spans[bend][0], centre[bend]), (spans[bend][1], centre[bend])]
    points.append((end.y if down else end.x, centre[target] + _port(net, edge, centre, end, down)))
    return tuple((b, a) for a, b in points) if down else tuple(points)


def _port(
    net: _Net, edge: tuple[str, str], centre: Mapping[str, float], end: Place, down: bool
) -> float:
    """Let the edges into one cell arrive side by side, in the order they come from."""
    before = sorted(net.before[edge[1]], key=lambda key: centre[key])
    index = before.index(net.chains[edge][-2])
    extent = end.width if down else end.height
    step = min(14.0, max(0.0, extent - 14) / max(len(before) - 1, 1))
    return (index - (len(before) - 1) / 2) * step
