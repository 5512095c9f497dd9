"""Code for other processors: 64-bit Arm under qemu, AVX-512 in a whole emulated PC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import emulated
import emulated_pc
import numpy as np
import pytest
from function_edges import EDGES, ULPS
from native_graphs import Trained, random_graph
from op_cases import CASES
from op_graphs import compare, graph_of, samples

import chainrule as cr
from chainrule import dtypes, nn, optim
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native import program
from chainrule.train import Trainer

ROOT = Path(__file__).resolve().parents[2]
PROCESSORS = {
    "arm": (emulated.Arm, emulated.missing),
    "avx512": (emulated_pc.PC, emulated_pc.missing),
}


@pytest.fixture(params=PROCESSORS)
def elsewhere(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> emulated.Emulated:
    """The engine, compiling for another processor and run under an emulator."""
    kind, missing = PROCESSORS[request.param]
    if lacks := missing():
        pytest.skip(f"{request.param} cannot be emulated here: {lacks} missing")
    made = kind(tmp_path)
    made.install(monkeypatch)
    monkeypatch.setattr(program, "_COPIED", 1 << 40)  # inputs lie in the program's memory
    return made


def close(found: Any, expected: Any) -> None:
    finite = np.abs(np.where(np.isfinite(expected), expected, 0))
    scale = max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * scale)


def draw(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(elsewhere: emulated.Emulated, seed: int) -> None:
    graph, arrays = random_graph(seed)
    expected = reference.compile_graph(graph)(*arrays)
    # Code for a team, run by one member: barriers and parts are in it.
    found = native.compile_graph(graph, threads=2 if seed % 2 else 1, guards=True)(*arrays)
    for one, other in zip(found, expected, strict=True):
        close(one, other)
    assert elsewhere.runs == 1


def every_op(part: int, kind: dtypes.DType) -> tuple[list[Any], list[Any]]:
    """Graphs and arrays of every third op that takes a type."""
    names = [name for name in sorted(CASES) if kind in CASES[name].types]
    made = [graph_of(name, samples(name)[0], kind) for name in names[part::3]]
    return [graph for graph, _ in made], [arrays for _, arrays in made]


@pytest.mark.parametrize("kind", [dtypes.float32, dtypes.float64], ids=str)
@pytest.mark.parametrize("part", range(3))
def test_every_op_and_its_derivatives(
    elsewhere: emulated.Emulated, part: int, kind: dtypes.DType
) -> None:
    """Many graphs as one program, so that the emulator starts once."""
    graphs, arrays = every_op(part, kind)
    whole = cr.graph.graph.Graph(
        tuple(node for graph in graphs for node in graph.inputs),
        tuple(node for graph in graphs for node in graph.outputs),
    )
    found = list(native.compile_graph(whole, guards=True)(*(a for each in arrays for a in each)))
    for graph, given in zip(graphs, arrays, strict=True):
        count = len(graph.outputs)
        compare(found[:count], reference.compile_graph(graph)(*given), kind)
        del found[:count]
    assert elsewhere.runs == 1


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp2": cr.exp2,
    "log2": cr.log2,
    "pow": lambda x, y: x**y,
    "softplus": nn.functional.softplus,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_within_their_bound(
    elsewhere: emulated.Emulated, monkeypatch: pytest.MonkeyPatch, dtype: Any
) -> None:
    """All exponents and the ends of the range.

    A compiled graph takes denormal results for 0, and so it does what lies on the way to a result.
    """
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import ulp

    least = np.finfo(dtype).tiny
    least_read = least if elsewhere.target.architecture == "aarch64" else 0
    given, wanted = [], []
    for name in ulp.FUNCTIONS:
        parts = [ulp.exact(name, each) for each in ulp.samples(name, dtype, 0.003)]
        exact = np.concatenate([part for _, part in parts])
        arrays = [np.concatenate(each) for each in zip(*(few for few, _ in parts), strict=True)]
        kept = ~(np.abs(exact) < 4 * least) | (exact == 0)
        for x in arrays:
            kept &= ~(np.abs(x) < least_read) & (np.isfinite(x) | (name != "erf"))
        given.append([x[kept] for x in arrays])
        wanted.append(exact[kept])
    every = [x for arrays in given for x in arrays]

    def function(*tensors: Any) -> list[Any]:
        left = iter(tensors)
        calls = [FUNCTIONS.get(name, lambda x, n=name: getattr(x, n)()) for name in ulp.FUNCTIONS]
        return [f(*(next(left) for _ in x)) for f, x in zip(calls, given, strict=True)]

    graph = cr.trace(function, *map(cr.tensor, every)).graph
    found = native.compile_graph(graph)(*every)
    for name, x, made, exact in zip(ulp.FUNCTIONS, given, found, wanted, strict=True):
        off = ulp.errors(made, exact)
        at = int(off.argmax())
        assert off[at] <= ULPS, f"{name} is {off[at]:.2f} units off at {[a[at] for a in x]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_edges_are_exact(elsewhere: emulated.Emulated, dtype: Any) -> None:
    names = list(EDGES)
    given = [np.array([*(x for x, _ in EDGES[name]), np.nan], dtype) for name in names]

    def function(*tensors: Any) -> list[Any]:
        calls = [FUNCTIONS.get(name, lambda x, n=name: getattr(x, n)()) for name in names]
        return [f(x) for f, x in zip(calls, tensors, strict=True)]

    graph = cr.trace(function, *map(cr.tensor, given)).graph
    for name, made in zip(names, native.compile_graph(graph)(*given), strict=True):
        wanted = np.array([*(y for _, y in EDGES[name]), np.nan], dtype)
        np.testing.assert_array_equal(made, wanted, err_msg=name)
        known = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(made[known]), np.signbit(wanted[known]), name)


# -- products ------------------------------------------------------------------------------------
LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "a @ b": lambda a, b: a @ b,
    "a.T @ b": lambda a, b: a.T @ b,
    "a @ b.T": lambda a, b: a @ b.T,
}
# Around tiles of 6 to 12 rows and 1 to 4 vectors of 4 to 16 columns; then sums in several blocks.
SIZES = [
    *((1, 1, 1), (7, 13, 17), (16, 16, 16), (17, 65, 33), (33, 5, 15), (12, 37, 64), (5, 31, 129)),
    *((24, 577, 31), (26, 24, 600), (130, 33, 90)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products(elsewhere: emulated.Emulated, layout: str) -> None:
    """Sums, bias and what follows, at the edges of tiles; no byte is written outside."""
    arrays = []
    for number, (rows, inner, columns) in enumerate(SIZES):
        a, b = draw(rows, inner, seed=number), draw(inner, columns, seed=100 + number)
        a, b = (a.T.copy() if "a.T" in layout else a), (b.T.copy() if "b.T" in layout else b)
        arrays += [a, b, draw(columns, seed=200 + number)]
    arrays[0][...] = np.nan

    def function(*tensors: Any) -> list[Any]:
        threes = zip(tensors[::3], tensors[1::3], tensors[2::3], strict=True)
        return [(LAYOUTS[layout](a, b) + bias).tanh() for a, b, bias in threes]

    graph = cr.trace(function, *map(cr.tensor, arrays)).graph
    made = native.compile_graph(graph, guards=True)
    expected = reference.compile_graph(graph)(*arrays)
    for one, other in zip(made(*arrays), expected, strict=True):
        close(one, other)
    wanted = {"a @ b": "broadcast", "a.T @ b": "blocked", "a @ b.T": "dot"}[layout]
    assert f"({wanted}" in made.explain()


class Recurrent(nn.Module):
    """A loop over time, read from its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.LSTM(7, 18, batch_first=True), nn.Linear(18, 5)

    def forward(self, x: Any) -> Any:
        outputs, _ = self.layer(x)
        return self.last(outputs[:, -1])


def networks() -> dict[str, Any]:
    return {
        "fnn": lambda: (nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 5)), (20,)),
        "norms": lambda: (
            nn.Sequential(
                *(nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2)),
                *(nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5)),
            ),
            (20,),
        ),
        "cnn": lambda: (
            nn.Sequential(
                *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
            ),
            (1, 8, 8),
        ),
        "lstm": lambda: (Recurrent(), (6, 7)),
    }


@pytest.mark.parametrize("name", networks())
def test_training_loops(elsewhere: emulated.Emulated, name: str) -> None:
    """Twelve steps of Adam, data gathered by index, against eager steps."""
    rows, draw = 24, np.random.default_rng(0)
    shape = networks()[name]()[1]
    x = draw.standard_normal((rows, *shape)).astype(np.float32)
    y = draw.integers(0, 5, rows)
    results = []
    for engine in ("native", "eager"):
        cr.manual_seed(0)
        model, _ = networks()[name]()
        made = Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)
        order = np.concatenate([np.random.default_rng(k).permutation(rows) for k in range(4)])
        if engine == "eager":
            batches = order.reshape(-1, 8)
            results.append([made.eager(x[batch], y[batch]) for batch in batches])
            continue
        traced, step = made.trace(x[:8], y[:8])
        loop = native.compile_loop([step], [x, y], threads=2)
        for number, handle in enumerate(traced.captured):
            loop.write(number, handle.node.value())
        numbers = [float(getter()) for getter in traced.getters]
        report = loop.run(order.astype(np.int32), np.zeros(12, np.int32), numbers)
        results.append(report[:, 0])
    assert elsewhere.runs >= 1
    np.testing.assert_allclose(results[0], results[1], rtol=2e-3, atol=2e-4)


def test_fit_is_as_with_numpy(elsewhere: emulated.Emulated) -> None:
    """Shuffling, dropout, Adam, metrics and validation of whole epochs in the emulated program."""
    x = draw(43, 7)
    y = x[:, :3].argmax(1)
    # Programs of equal trainings are kept, as no process has two processors but this one.
    hidden = 19 if elsewhere.target.architecture == "aarch64" else 21

    def fitted(engine: str) -> tuple[dict[str, Any], dict[str, Any]]:
        cr.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, hidden), nn.ReLU(), nn.Dropout(0.2))
        model.append(nn.Linear(hidden, 3))
        optimizer = optim.Adam(model.parameters(), 0.01)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, engine=engine, seed=3)
        run = trainer.fit((x, y), epochs=2, batch_size=20, validation=(x[:31], y[:31]))
        return {name: t.numpy() for name, t in model.state_dict().items()}, run.history

    for found, expected in zip(fitted("native"), fitted("numpy"), strict=True):
        assert list(found) == list(expected)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], 1e-5, 1e-6, err_msg=name)
    assert elsewhere.runs >= 2
