"""Curriculum, active learning, pseudo-labels, two networks against each other and maps, on
handwritten digits."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.train import (
    Adversarial,
    SelfOrganizingMap,
    active_learning,
    example_losses,
    fit_curriculum,
    fit_pseudo_labels,
)

pytest.importorskip("sklearn")
neighbours = pytest.importorskip("sklearn.neighbors")


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any, Any]:
    """Training digits and classes, test digits and classes."""
    found = cr.data.load("digits")
    order = np.random.default_rng(0).permutation(len(found.targets))
    x, y = np.asarray(found.inputs)[order], np.asarray(found.targets)[order]
    return x[:1300], y[:1300], x[1300:], y[1300:]


def trainer_of(seed: int) -> cr.Trainer:
    cr.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    adam = cr.optim.Adam(model.parameters(), lr=0.01)
    return cr.Trainer(model, nn.CrossEntropyLoss(), adam, seed=seed, progress=False)


def test_easy_digits_first(digits: Any) -> None:
    x, y, test_x, test_y = digits
    teacher = trainer_of(1)
    teacher.fit((x, y), epochs=5)
    scores = example_losses(teacher, (x, y))
    each = nn.functional.cross_entropy(
        cr.tensor(teacher.predict(x)), cr.tensor(y), reduction="none"
    )
    np.testing.assert_allclose(scores, each.numpy(), rtol=1e-6)
    accuracy = {}
    for hardest in (False, True):
        trainer = trainer_of(2)
        runs = fit_curriculum(
            trainer, (x, y), scores, shares=(0.1, 0.3), epochs=6, hardest_first=hardest
        )
        assert trainer.run is runs[-1] and all(run.status == "finished" for run in runs)
        # The losses show which end was begun with.
        accuracy[hardest] = runs[0].history["accuracy"][-1]
        rest = fit_curriculum(trainer, (x, y), scores, shares=(1.0,), epochs=6)
        assert rest[0].history["loss"][-1] < rest[0].history["loss"][0]
        assert trainer.evaluate((test_x, test_y))["accuracy"] > 0.9
    assert accuracy[False] > accuracy[True]


def asked(digits: Any, by: str, seed: int, **options: Any) -> list[Any]:
    x, y, test_x, test_y = digits
    return active_learning(
        lambda: trainer_of(seed), (x, y), (test_x, test_y), start=20, count=20, rounds=4, by=by,
        seed=seed, epochs=60, batch_size=20, **options,
    )  # fmt: skip


def test_labels_that_are_asked_for_teach_more_than_random_ones(digits: Any) -> None:
    last: dict[str, list[float]] = {}
    for by in ("margin", "random"):
        rounds = [asked(digits, by, seed) for seed in range(3)]
        assert [one.labels for one in rounds[0]] == [20, 40, 60, 80]
        assert all(len(set(one[-1].chosen)) == 80 for one in rounds)
        assert all((one[0].chosen == one[-1].chosen[:20]).all() for one in rounds)
        last[by] = [one[-1].numbers["accuracy"] for one in rounds]
    assert np.mean(last["margin"]) > np.mean(last["random"])
    assert np.mean(last["margin"]) > 0.85


def test_pseudo_labels_add_to_a_few_labels(digits: Any) -> None:
    x, y, test_x, test_y = digits
    before, after = [], []
    for seed in range(3):
        trainer = trainer_of(seed)
        options: dict[str, Any] = {"epochs": 40, "batch_size": 20}
        trainer.fit((x[:60], y[:60]), **options)
        before.append(trainer.evaluate((test_x, test_y))["accuracy"])
        trainer = trainer_of(seed)
        options["epochs"] = 15
        found = fit_pseudo_labels(
            trainer, (x[:60], y[:60]), x[60:], rounds=3, threshold=0.9, **options
        )
        after.append(trainer.evaluate((test_x, test_y))["accuracy"])
        right = (found[-1].classes == y[60:][found[-1].chosen]).mean()
        assert right > 0.85 and len(found[-1].chosen) > len(found[0].chosen) > 50
    assert np.mean(after) > np.mean(before)
    guesses = asked(digits, "margin", 0, threshold=0.95)
    assert guesses[-1].guessed > 500


def test_a_generator_draws_all_ten_digits(digits: Any) -> None:
    x, y = digits[0] * 2 - 1, digits[1]
    reader = neighbours.KNeighborsClassifier(3).fit(x, y)
    cr.manual_seed(0)
    draws = nn.Sequential(
        nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh()
    )
    tells = nn.Sequential(
        nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 1),
    )  # fmt: skip
    adam = [cr.optim.Adam(m.parameters(), lr=1e-3, betas=(0.5, 0.999)) for m in (draws, tells)]
    gan = Adversarial(draws, tells, *adam, noise=32, smoothing=0.1, engine="native")
    untrained = reader.kneighbors(gan.draw(500), 1)[0].mean()
    history = gan.fit(x, epochs=150)
    assert all(len(series) == 150 and np.isfinite(series).all() for series in history.values())
    drawn = gan.draw(3000)
    shares = np.bincount(reader.predict(drawn), minlength=10) / 3000
    assert (shares > 0.03).all(), shares
    # Nearly as close to real digits as other real digits are.
    real = reader.kneighbors(digits[2] * 2 - 1, 1)[0].mean()
    assert reader.kneighbors(drawn, 1)[0].mean() < 3 / 2 * real < untrained


def test_a_map_of_digits_keeps_neighbours_and_classes_together(digits: Any) -> None:
    x, y, test_x, test_y = digits
    som = SelfOrganizingMap(12, 12).fit(x)
    assert som.history[-1] < 0.75 * som.history[0]
    assert som.quantization_error(test_x) < 0.75 * som.history[0]
    assert som.topographic_error(test_x) < 0.25
    units = som.units(x) @ [12, 1]
    labels = np.full(144, -1)
    for unit in np.unique(units):
        labels[unit] = np.bincount(y[units == unit]).argmax()
    assert (labels[som.units(test_x) @ [12, 1]] == test_y).mean() > 0.85
    assert som.hits(x).sum() == len(x)
    # Borders between digits are wider than the ways inside of one.
    inside = [labels[12 * r + c] == labels[12 * r + c + 1] for r in range(12) for c in range(11)]
    apart = np.linalg.norm(np.diff(som.weights, axis=1), axis=2).reshape(-1)
    assert apart[np.array(inside)].mean() < apart[~np.array(inside)].mean()


def test_a_chain_finds_the_curve_that_a_straight_line_misses() -> None:
    sets = pytest.importorskip("sklearn.datasets")
    x, _ = sets.make_s_curve(800, noise=0.02, random_state=0)
    flat = x[:, [0, 2]]  # the S itself
    chain = SelfOrganizingMap(1, 40).fit(flat, epochs=60)
    centred = flat - flat.mean(axis=0)
    line = np.linalg.svd(centred, full_matrices=False)[2][0]
    from_line = np.linalg.norm(centred - np.outer(centred @ line, line), axis=1).mean()
    assert chain.quantization_error(flat) < 0.3 * from_line
