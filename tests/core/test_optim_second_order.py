"""Optimizers that use curvature: beside PyTorch's LBFGS and SciPy, on quadratics and at saddles."""

import importlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import GradientError, MissingExtraError, OptionError

RNG = np.random.default_rng(0)


def rosenbrock(w: Any) -> Any:
    return (1 - w[:-1]) ** 2 @ (w[:-1] * 0 + 1) + 100 * ((w[1:] - w[:-1] ** 2) ** 2).sum()


def leaf(values: Any) -> cr.Tensor:
    return cr.tensor(np.asarray(values, np.float64), requires_grad=True)


def closure_of(optimizer: Any, loss_of: Callable[[], Any]) -> Callable[[], Any]:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("history", [2, 100])
def test_lbfgs_takes_the_steps_of_torch_on_rosenbrock(search: str | None, history: int) -> None:
    start = [-1.2, 1.0, 0.5]
    a, b = leaf(start), torch.tensor(start, dtype=torch.float64, requires_grad=True)
    settings: dict[str, Any] = {"line_search_fn": search, "history_size": history}
    settings |= {"lr": 1.0 if search else 1e-3, "max_iter": 5}
    ours, theirs = optim.LBFGS([a], **settings), torch.optim.LBFGS([b], **settings)
    for _ in range(5):  # later the differences of rounding have grown
        one = ours.step(closure_of(ours, lambda: rosenbrock(a)))
        other = theirs.step(closure_of(theirs, lambda: rosenbrock(b)))
        assert float(one) == pytest.approx(other.item(), rel=1e-6, abs=1e-14)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9)
    for _ in range(10 if search else 0):
        ours.step(closure_of(ours, lambda: rosenbrock(a)))
    assert not search or a.tolist() == pytest.approx([1.0] * 3, rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_lbfgs_trains_a_network_as_in_torch(compiled: bool) -> None:
    x, y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    theirs.double()
    ours = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    a = optim.LBFGS(ours.parameters(), line_search_fn="strong_wolfe", max_iter=10)
    b = torch.optim.LBFGS(theirs.parameters(), line_search_fn="strong_wolfe", max_iter=10)
    inputs, targets = cr.tensor(x), cr.tensor(y)
    first = closure_of(a, lambda: nn.functional.mse_loss(ours(inputs), targets))
    if compiled:
        first = cr.compile(first, keep_grads=True, engine="native")
    pair = torch.tensor(x), torch.tensor(y)
    second = closure_of(b, lambda: torch.nn.functional.mse_loss(theirs(pair[0]), pair[1]))
    losses = [(float(a.step(first)), b.step(second).item()) for _ in range(4)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-5)
    assert losses[-1][0] < 0.7 * losses[0][0]


def test_lbfgs_goes_on_from_its_state() -> None:
    def run(stops: bool) -> list[float]:
        w = leaf([-1.2, 1.0])
        optimizer = optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")
        for _ in range(6):
            optimizer.step(closure_of(optimizer, lambda: rosenbrock(w)))
            if stops:
                again = optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")
                again.load_state_dict(optimizer.state_dict())
                optimizer = again
        return w.tolist()

    assert run(True) == run(False)


@pytest.mark.parametrize("beta", ["polak-ribiere", "hestenes-stiefel", "fletcher-reeves"])
def test_conjugate_gradients(beta: str) -> None:
    w = leaf([-1.2, 1.0])
    optimizer = optim.ConjugateGradient([w], beta=beta, max_iter=200)
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(w)))
    np.testing.assert_allclose(w.detach().numpy(), 1.0, atol=1e-3)
    # Far fewer directions than steepest descent takes on an elongated bowl.
    scales = cr.tensor(np.geomspace(1, 1e4, 20))
    v = leaf(np.ones(20))
    calls = 0

    def bowl() -> Any:
        nonlocal calls
        calls += 1
        return (scales * v * v).sum() / 2

    optimizer = optim.ConjugateGradient([v], beta=beta, max_iter=150, max_eval=600)
    optimizer.step(closure_of(optimizer, bowl))
    assert bowl().item() < 1e-4 and calls < 500


@given(size=st.integers(1, 7), condition=st.sampled_from([1.0, 1e3, 1e10]), seed=st.integers(0, 99))
def test_one_newton_step_lands_at_the_minimum_of_any_quadratic(
    size: int, condition: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    matrix = turn @ np.diag(np.geomspace(1.0, condition, size)) @ turn.T
    a, centre = cr.tensor((matrix + matrix.T) / 2), rng.normal(size=size)
    for saddle_free in (False, True):
        w = leaf(rng.normal(size=size))

        def loss(w: Any = w) -> Any:
            off = w - cr.tensor(centre)
            return off @ a @ off / 2 + 3.0

        before = loss().item() - 3.0
        given = optim.Newton([w], saddle_free=saddle_free).step(loss)
        assert given.item() - 3.0 == pytest.approx(before)
        assert loss().item() - 3.0 <= 1e-9 * before


def test_newton_is_drawn_to_a_saddle_and_flees_it_with_absolute_eigenvalues() -> None:
    def saddle(w: Any) -> Any:  # minima at x = -1 and 1, a saddle at 0
        return (w[0] ** 2 - 1) ** 2 + 2 * w[1] ** 2

    ends = {}
    for saddle_free in (False, True):
        w = leaf([0.1, 0.5])
        optimizer = optim.Newton([w], damping=0.0, saddle_free=saddle_free)
        for _ in range(30):
            optimizer.step(lambda w=w: saddle(w))
        ends[saddle_free] = w.tolist()
    assert ends[False] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert ends[True] == pytest.approx([1.0, 0.0], abs=1e-9)


def test_damping_makes_steps_smaller_and_singular_hessians_do_no_harm() -> None:
    w = leaf([4.0])
    optim.Newton([w], damping=2.0).step(lambda: (w**2).sum())
    assert w.item() == pytest.approx(2.0)
    for saddle_free in (False, True):
        v = leaf([3.0, 5.0])
        optim.Newton([v], saddle_free=saddle_free).step(lambda v=v: (v[0] - 1) ** 2)
        assert v.tolist() == pytest.approx([1.0, 5.0])
    u = leaf([3.0])
    optim.Newton([u]).step(lambda: 2 * u.sum())  # no curvature at all
    assert np.isfinite(u.item())


def curve(w: Any, x: Any) -> Any:
    return w[0] * (-w[1] * x).exp() + w[2]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_levenberg_marquardt_fits_as_scipy_does(noise: float) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    x = np.linspace(0, 3, 40)
    y = 2.5 * np.exp(-1.3 * x) + 0.5 + noise * np.random.default_rng(1).normal(size=40)
    start = [1.0, 5.0, 0.0]
    expected = optimize.least_squares(
        lambda w: w[0] * np.exp(-w[1] * x) + w[2] - y, start, method="lm"
    )
    w, a, b = leaf(start), cr.tensor(x), cr.tensor(y)
    optimizer = optim.LevenbergMarquardt([w])
    costs = [optimizer.step(lambda: curve(w, a) - b) for _ in range(40)]
    assert all(later <= earlier for earlier, later in pairwise(costs))
    np.testing.assert_allclose(w.detach().numpy(), expected.x, rtol=1e-5)
    assert costs[-1] == pytest.approx(expected.cost, rel=1e-6, abs=1e-15)


def test_gauss_newton_on_a_linear_model_is_least_squares() -> None:
    x, y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 2))
    layer = nn.Linear(4, 2).double()
    given, target = cr.tensor(x), cr.tensor(y)
    optim.GaussNewton(layer.parameters()).step(lambda: layer(given) - target)
    wide = np.column_stack([x, np.ones(30)])
    expected = np.linalg.lstsq(wide, y, rcond=None)[0]
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected[:4].T, atol=1e-10)
    np.testing.assert_allclose(layer.bias.detach().numpy(), expected[4], atol=1e-10)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_spectrum_of_a_network_is_that_of_its_dense_hessian(engine: str) -> None:
    pytest.importorskip("scipy")
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = cr.tensor(RNG.normal(size=(15, 3))), cr.tensor(RNG.integers(0, 3, 15))
    parameters = list(model.parameters())

    def loss() -> Any:
        return nn.functional.cross_entropy(model(x), y)

    product = optim.HessianProduct(loss, parameters, engine)
    dense = np.stack([product(unit) for unit in np.eye(product.size)])
    np.testing.assert_allclose(dense, dense.T, atol=1e-10)
    slopes = cr.cat([one.reshape(-1) for one in cr.grad(loss(), parameters)])
    expected = torch_free_hessian(slopes, parameters)
    np.testing.assert_allclose(dense, expected, atol=1e-10)
    values = np.linalg.eigvalsh(dense)
    for which, wanted in (("LA", values[-3:]), ("SA", values[:3])):
        found = optim.hessian_spectrum(loss, parameters, 3, which, engine=engine, tolerance=1e-8)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)
    found, vectors = optim.hessian_spectrum(
        loss, parameters, 2, "LM", vectors=True, engine=engine, tolerance=1e-8
    )
    np.testing.assert_allclose(dense @ vectors, vectors * found, atol=1e-5)


def torch_free_hessian(slopes: Any, parameters: Any) -> np.ndarray[Any, Any]:
    """Row by row: the gradient of each slope."""
    rows = [cr.grad(one, parameters, allow_unused=True) for one in slopes]
    return np.stack(
        [
            np.concatenate(
                [
                    np.zeros(p.numel()) if g is None else g.detach().numpy().reshape(-1)
                    for p, g in zip(parameters, row, strict=True)
                ]
            )
            for row in rows
        ]
    )


def step_in_trace() -> None:
    w = leaf([1.0])
    optimizer = optim.LBFGS([w])
    cr.compile(lambda: optimizer.step(lambda: (w * w).sum()), engine="numpy")()


LINE = leaf([1.0])
ERRORS: list[tuple[Any, str, Callable[[], Any]]] = [
    (
        OptionError,
        r"fix: optimizer.step\(closure\).*\n.*a Trainer",
        lambda: optim.LBFGS([LINE]).step(),
    ),
    (OptionError, r"cannot be compiled as a whole", step_in_trace),
    (OptionError, "line_search_fn='exact'", lambda: optim.LBFGS([LINE], line_search_fn="exact")),
    (OptionError, "max_iter must be 1 or more; 0", lambda: optim.LBFGS([LINE], max_iter=0)),
    (OptionError, "history_size must be 1", lambda: optim.LBFGS([LINE], history_size=0)),
    (
        OptionError,
        "takes one group; 2 were given",
        lambda: optim.LBFGS([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])]}]),
    ),
    (
        GradientError,
        "the closure left no gradients",
        lambda: optim.LBFGS([leaf([1.0])]).step(lambda: cr.tensor(1.0)),
    ),
    (OptionError, "beta='none'", lambda: optim.ConjugateGradient([LINE], beta="none")),
    (OptionError, "damping must be 0 or more; -1", lambda: optim.Newton([LINE], damping=-1)),
    (
        GradientError,
        "must return the loss, with its history",
        lambda: optim.Newton([LINE]).step(lambda: LINE.detach().sum()),
    ),
    (
        GradientError,
        "must return the residuals, with their history",
        lambda: optim.GaussNewton([LINE]).step(lambda: 1.0),
    ),
    (
        GradientError,
        "gradient or Hessian holds numbers that are not finite",
        lambda: optim.Newton([LINE]).step(lambda: (LINE * np.inf).sum() * LINE.sum()),
    ),
    (
        GradientError,
        "residuals or their derivatives holds numbers",
        lambda: optim.LevenbergMarquardt([LINE]).step(lambda: LINE * np.nan),
    ),
    (
        GradientError,
        "the loss does not depend on the parameters",
        lambda: optim.HessianProduct(lambda: cr.tensor(1.0), [LINE])(np.ones(1)),
    ),
    (
        OptionError,
        "k must be from 1 to below the 1 parameters; given 6",
        lambda: optim.hessian_spectrum(lambda: (LINE**2).sum(), [LINE]),
    ),
    (
        OptionError,
        "which='XX' does not exist",
        lambda: optim.hessian_spectrum(lambda: 0, [leaf([1.0, 2.0])], 1, "XX"),
    ),
]


@pytest.mark.parametrize(("error", "text", "make"), ERRORS)
def test_errors_say_what_to_do(error: Any, text: str, make: Callable[[], Any]) -> None:
    if "k must" in text or "which" in text:
        pytest.importorskip("scipy")
    with pytest.raises(error, match=text):
        make()


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install \"chainrule\[sklearn\]\""):
        optim.hessian_spectrum(lambda: 0, [LINE])
