"""Findings, on trained networks: made where something is wrong, and not where all is well."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import LabelledDataset, load
from chainrule.diagnose import KINDS, diagnose, leaking_features
from chainrule.diagnose._course import learning_rate_too_large, overfitting
from chainrule.diagnose._units import same_rows
from chainrule.train import Run

pytest.importorskip("sklearn")


@cache
def digits() -> tuple[LabelledDataset, LabelledDataset]:
    train, test = load("digits").split(0.2, seed=0)
    return train, test


@cache
def fitted(
    lr: float, epochs: int = 12, *, rule: str = "SGD", units: int = 32, rows: int | None = None,
    constant: bool = False, activation: type[cr.nn.Module] = cr.nn.ReLU, engine: str = "numpy",
) -> tuple[Any, Run, LabelledDataset]:  # fmt: skip
    """A network trained on digits, its run, and the examples it was trained on."""
    cr.manual_seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(64, units), activation(), cr.nn.Linear(units, 10))
    if constant:
        for parameter in model.parameters():
            parameter.data = cr.full(tuple(parameter.shape), 0.1)
    optimizer = getattr(cr.optim, rule)(model.parameters(), lr=lr)
    trainer = cr.Trainer(
        model, cr.nn.CrossEntropyLoss(), optimizer, seed=0, progress=False, engine=engine
    )
    train, test = digits()
    train = train if rows is None else train.rows(np.arange(rows))
    run = trainer.fit(train, validation=test, epochs=epochs, batch_size=50)
    return model, run, train


def found(*args: Any, **kwargs: Any) -> dict[str, Any]:
    model, run, train = fitted(*args, **kwargs)
    return {one.kind: one for one in diagnose(run, model, train, digits()[1])}


def test_a_healthy_training_gives_no_finding() -> None:
    model, run, train = fitted(0.2)
    assert run.history["validation_accuracy"][-1] > 0.9
    assert diagnose(run, model, train, digits()[1]) == []
    assert run.findings() == []


@pytest.mark.parametrize("activation", [cr.nn.Tanh, cr.nn.Sigmoid])
def test_other_healthy_trainings_give_none(activation: type[cr.nn.Module]) -> None:
    rate = 0.3 if activation is cr.nn.Tanh else 2.0
    assert found(rate, activation=activation) == {}


def test_too_large_a_rate_that_kills_the_units() -> None:
    kinds = found(5.0, 8)
    rate, dead = kinds["learning-rate-too-large"], kinds["dead-units"]
    assert rate.severity == "error" and rate.evidence["share of dead units"] > 0.9
    assert "SGD with lr 5" in rate.why and rate.evidence["guessing"] == pytest.approx(2.3, abs=0.01)
    assert dead.where == "1" and dead.evidence["units"] == 32 and dead.evidence["dead"] >= 29
    model = fitted(5.0, 8)[0]
    output = model[1](model[0](cr.tensor(digits()[0].inputs))).detach().numpy()
    assert dead.evidence["dead"] == int((output.max(0) == 0).sum())


def test_too_large_a_rate_that_jumps() -> None:
    rate = found(2.0, 20, activation=cr.nn.Tanh)["learning-rate-too-large"]
    loss = fitted(2.0, 20, activation=cr.nn.Tanh)[1].history["loss"]
    rises = np.diff(loss)
    assert rate.evidence["largest rise"] == pytest.approx(rises.max())
    assert rate.evidence["at epoch"] == int(rises.argmax()) + 2


def test_too_large_a_rate_that_overflows() -> None:
    cr.manual_seed(0)
    model = cr.nn.Linear(64, 1)
    trainer = cr.Trainer(
        model, cr.nn.MSELoss(), cr.optim.SGD(model.parameters(), lr=10.0), seed=0,
        progress=False, engine="numpy",
    )  # fmt: skip
    train, _ = digits()
    target = train.targets[:, None].astype("float32")
    run = trainer.fit((train.inputs, target), epochs=4, batch_size=50)
    (rate,) = diagnose(run)
    assert rate.kind == "learning-rate-too-large" and rate.severity == "error"
    assert rate.evidence["epoch"] == int(np.flatnonzero(~np.isfinite(run.history["loss"]))[0]) + 1


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_equal_starting_weights_leave_identical_units(engine: str) -> None:
    """Exactly so natively; a BLAS may add up the columns at its tiles' edges in another order."""
    most = 0 if engine == "native" else 1e-6
    kinds = found(0.1, 5, constant=True, engine=engine)
    identical = kinds["identical-units"]
    assert "learning-rate-too-large" not in kinds
    assert identical.where == "0" and identical.severity == "error"
    assert identical.evidence["different"] == 1
    assert identical.evidence["largest distance within a group"] <= most
    weight = fitted(0.1, 5, constant=True, engine=engine)[0][0].weight.detach().numpy()
    assert np.abs(weight - weight[0]).max() <= most


def test_few_examples_are_learned_by_heart() -> None:
    model, run, train = fitted(0.01, 100, rule="Adam", units=100, rows=150)
    findings = {one.kind: one for one in diagnose(run, model, train, digits()[1])}
    overfit = findings["overfitting"]
    held = run.history["validation_loss"]
    assert overfit.evidence["lowest validation loss"] == held.min()
    assert overfit.evidence["at epoch"] == int(held.argmin()) + 1
    assert overfit.evidence["last validation loss"] > 1.2 * held.min()
    assert overfit.evidence["their share of the loss"] > 0.3
    assert run.findings()[-1].kind in KINDS


def test_findings_are_kept_with_the_run() -> None:
    model, run, train = fitted(5.0, 8)
    written = diagnose(run, model, train)
    assert run.findings() == written and [one.severity for one in written] == ["error", "error"]


def test_a_column_that_repeats_the_target_is_named() -> None:
    iris = load("iris")
    x = np.concatenate([iris.inputs, iris.targets[:, None] * 2.5 + 1], 1).astype("float32")
    leaking = LabelledDataset(x, iris.targets, feature_names=[*iris.feature_names, "code"])
    model, run = fit_small(leaking)
    (finding,) = [one for one in diagnose(run, model, leaking) if one.kind == "leaking-feature"]
    assert finding.where == "code" and finding.evidence["right"] == 1.0
    assert finding.severity == "error"


def fit_small(data: LabelledDataset) -> tuple[Any, Run]:
    cr.manual_seed(0)
    model = cr.nn.Linear(data.inputs.shape[1], 3)
    trainer = cr.Trainer(
        model, cr.nn.CrossEntropyLoss(), cr.optim.SGD(model.parameters(), lr=0.01), seed=0,
        progress=False, engine="numpy",
    )  # fmt: skip
    return model, trainer.fit(data, epochs=5)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits"])
def test_no_column_of_real_data_leaks(name: str) -> None:
    data = load(name)
    names = data.feature_names or [str(i) for i in range(data.inputs.shape[1])]
    columns = {str(n): data.inputs[:, i] for i, n in enumerate(names)}
    assert leaking_features(columns, data.targets.reshape(-1)) == []


def test_texts_codes_and_numbers_that_leak() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=200)
    group = rng.integers(0, 3, 200)
    columns = {
        "as text": np.array(["red", "green", "blue"])[group],
        "as code": np.array([7.0, 3.0, 9.0])[group],
        "row number": np.arange(200),
        "name": np.array([f"person {i}" for i in range(200)]),
        "noise": rng.normal(size=200),
    }
    assert [one.where for one in leaking_features(columns, group)] == ["as text", "as code"]
    numbers = {"scaled": 3 * target - 1, "cubed": target**3, "noisy": target + rng.normal(size=200)}
    assert [one.where for one in leaking_features(numbers, target)] == ["scaled", "cubed"]


def test_sorted_rows_do_not_make_row_numbers_leak_by_repeated_values() -> None:
    names = np.array([f"person {i}" for i in range(100)])
    assert leaking_features({"name": names}, np.repeat([0, 1], 50)) == []


def test_a_rare_class_hides_no_leak_and_large_data_is_sampled() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 5000)
    target[2500] = 3
    columns = {"copy": target * 1.5, "half": np.where(rng.random(5000) < 0.9, target, 0)}
    assert [one.where for one in leaking_features(columns, target)] == ["copy"]


def test_missing_values_are_left_out() -> None:
    target = np.tile([0, 1], 40)
    column = np.where(np.arange(80) % 5 == 0, np.nan, target * 2.0)
    (finding,) = leaking_features({"gaps": column}, target)
    assert finding.evidence["share of rows known"] == pytest.approx(0.8)


def test_steady_curves_are_no_finding() -> None:
    rng = np.random.default_rng(0)
    noisy = 2 * np.exp(-np.arange(200) / 20) + 0.05 + 0.004 * rng.normal(size=200)
    run = Run(history={"loss": noisy, "validation_loss": noisy + 0.02})
    assert learning_rate_too_large(run) == [] and overfitting(run) == []
    slow = Run(history={"loss": np.linspace(2.3, 2.2, 30)})
    assert learning_rate_too_large(slow) == []


def test_equal_rows_are_grouped() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert sorted(same_rows(rows)) == [[0, 2], [1, 3]]
    assert same_rows(np.random.default_rng(0).normal(size=(50, 3))) == []


def test_without_anything_there_is_nothing_to_find() -> None:
    assert diagnose(None) == [] and diagnose(Run()) == []


def test_diagnose_is_the_room_and_the_function() -> None:
    assert cr.diagnose(Run()) == []


# --- what was watched --------------------------------------------------------------------------


def watched_fit(
    depth: int, activation: Any, lr: float = 0.1, gain: float = 0.0, rule: str = "SGD"
) -> tuple[Any, Run, LabelledDataset]:
    """A deep network on digits, watched at every tenth step."""
    cr.manual_seed(0)
    widths = [64, *[32] * depth]
    layers = [
        layer
        for before, after in pairwise(widths)
        for layer in (cr.nn.Linear(before, after), activation())
    ]
    model = cr.nn.Sequential(*layers, cr.nn.Linear(32, 10))
    if gain:
        for module in model.modules():
            if isinstance(module, cr.nn.Linear):
                cr.nn.init.normal_(module.weight, std=gain / module.in_features**0.5)
    trainer = cr.Trainer(
        model, cr.nn.CrossEntropyLoss(), getattr(cr.optim, rule)(model.parameters(), lr=lr),
        seed=0, progress=False, engine="native", watch=cr.train.Watch(every=10),
    )  # fmt: skip
    train = digits()[0]
    return model, trainer.fit(train, epochs=5, batch_size=50), train


def kinds(run: Run, *others: Any) -> dict[str, Any]:
    return {one.kind: one for one in diagnose(run, *others)}


@pytest.mark.parametrize(
    ("depth", "activation", "lr", "gain", "rule"),
    [
        (2, cr.nn.ReLU, 0.1, 1.4, "SGD"),
        (5, cr.nn.Tanh, 0.1, 1.0, "SGD"),
        (3, cr.nn.ReLU, 1e-3, 0.0, "Adam"),
    ],
)
def test_healthy_watched_trainings_give_no_finding(
    depth: int, activation: Any, lr: float, gain: float, rule: str
) -> None:
    model, run, train = watched_fit(depth, activation, lr, gain, rule)
    assert kinds(run) == {}
    # Some units of such a network are dead from the beginning on, which watching does not change.
    assert set(kinds(run, model, train)) <= {"dead-units"}


def test_gradients_that_vanish_through_sigmoids() -> None:
    _, run, _ = watched_fit(8, cr.nn.Sigmoid)
    finding = kinds(run)["vanishing-gradients"]
    assert finding.where == "0.weight" and finding.severity == "error"
    series = [run.watched[name]["gradient_norm"] for name in ("0.weight", "16.weight")]
    norms = finding.evidence["median gradient norms"]
    assert norms["0.weight"] == pytest.approx(np.median(series[0]))
    assert norms["16.weight"] == pytest.approx(np.median(series[1]))
    expected = (norms["0.weight"] / norms["16.weight"]) ** (1 / 8)
    assert finding.evidence["factor a layer"] == pytest.approx(expected)
    assert "the first layers hardly learn" in finding.why


def test_gradients_that_grow_on_their_way_back() -> None:
    norms = {"0.weight": 3000.0, "2.weight": 60.0, "4.weight": 1.0}
    run = a_run(
        **{n: {"gradient_norm": [g] * 4, "update_ratio": [0.0] * 4} for n, g in norms.items()}
    )
    finding = kinds(run)["exploding-gradients"]
    assert finding.where == "0.weight"
    assert finding.evidence["factor a layer"] == pytest.approx(3000**0.5)
    assert "it grows on its way back (about 55 times in each layer)" in finding.why


def a_run(**series: dict[str, list[float]]) -> Run:
    """A run that watched these numbers at steps 0, 100, ..."""
    run = Run(history={"loss": np.array([1.0, 0.5])})
    columns = tuple((name, each) for name, found in series.items() for each in found)
    numbers = np.array([found[each] for name, found in series.items() for each in found]).T
    run.watched.add(columns, np.arange(len(numbers)) * 100, numbers)
    return run


def test_a_burst_of_the_gradient_and_a_slow_decay() -> None:
    norms = [1.0, 1.2, 0.9, 1.1, 400.0, 1.0]
    run = a_run(a={"gradient_norm": norms, "update_ratio": [0.001] * 6})
    finding = kinds(run)["exploding-gradients"]
    assert (finding.where, finding.evidence["step"]) == ("step 400", 400)
    assert finding.evidence["median of the looks before"] == pytest.approx(1.05)
    norms[4] = float("inf")
    run = a_run(a={"gradient_norm": norms, "update_ratio": [0.001] * 6})
    assert kinds(run)["exploding-gradients"].evidence["gradient norm"] == "inf"
    decay = a_run(a={"gradient_norm": [1e3, 1e2, 1e1, 1.0, 0.1], "update_ratio": [0.01] * 5})
    assert kinds(decay) == {}


def test_units_that_die_have_a_history() -> None:
    model, run, train = watched_fit(1, cr.nn.ReLU, lr=20.0)
    found = kinds(run, model, train)
    dead = found["dead-units"]
    zeros = run.watched["1"]["zeros"]
    assert dead.evidence["share of zeros, first look"] == pytest.approx(zeros[0])
    most = int(np.diff(zeros).argmax())
    assert dead.evidence["rose most by step"] == run.watched.steps[most + 1]
    assert "Its outputs were 0 in" in dead.why
    ratio = max(np.nanmax(run.watched[name]["update_ratio"]) for name in ("0.weight", "2.weight"))
    assert found["learning-rate-too-large"].evidence["largest update ratio"] == ratio
    # Without model and data, what was watched is all there is.
    alone = a_run(**{"1": {"zeros": [0.5, 0.9, 1.0, 1.0, 1.0]}})
    (finding,) = diagnose(alone)
    assert (finding.kind, finding.where, finding.severity) == ("dead-units", "1", "error")
    assert "were 0 in 50 % at step 0 and in 100 % at step 400" in finding.why
