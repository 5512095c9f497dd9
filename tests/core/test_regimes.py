"""Ways of training: what is chosen, what goes on from a saved state, and errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import CurriculumSampler, DataLoader, TensorDataset, easiest
from chainrule.errors import DataError, OptionError, ShapeError
from chainrule.train import (
    Adversarial,
    SelfOrganizingMap,
    active_learning,
    class_shares,
    confident,
    example_losses,
    fit_curriculum,
    most_informative,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def trainer_of(loss: Any = None, outputs: int = 2) -> cr.Trainer:
    cr.manual_seed(0)
    model = nn.Linear(3, outputs)
    sgd = cr.optim.SGD(model.parameters(), lr=0.5)
    return cr.Trainer(model, loss or nn.CrossEntropyLoss(), sgd, engine="numpy", progress=False)


def test_a_sampler_visits_the_easiest_share() -> None:
    scores = RNG.permutation(20).astype(float)
    sampler = CurriculumSampler(scores, share=0.25)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == sorted(np.flatnonzero(scores < 5)) and first != second
    sampler.hardest_first = True
    assert sorted(sampler) == sorted(np.flatnonzero(scores >= 15))
    sampler.share = 1.0
    assert sorted(sampler) == list(range(20))
    loader = DataLoader(TensorDataset(cr.arange(20)), batch_size=5, sampler=sampler)
    assert len(loader) == 4 and len(list(loader)) == 4
    assert easiest([2.0, 2.0, 1.0], 0.5).tolist() == [2, 0]


def test_stages_of_a_curriculum() -> None:
    trainer = trainer_of()
    scores = abs(X[:, 0])
    runs = fit_curriculum(trainer, (X, Y), scores, shares=(0.5, 1.0), epochs=(2, 3), batch_size=4)
    assert [run.epochs for run in runs] == [2, 3]
    plain = trainer_of()
    for share, epochs in ((0.5, 2), (1.0, 3)):
        chosen = easiest(scores, share)
        plain.fit((X[chosen], Y[chosen]), epochs=epochs, batch_size=4)
    for a, b in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


SHARES = np.array(
    [[0.8, 0.1, 0.1], [0.45, 0.44, 0.11], [0.4, 0.3, 0.3], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]]
)


def test_queries() -> None:
    assert most_informative(SHARES, 2, "least-confidence").tolist() == [2, 1]
    assert most_informative(SHARES, 2, "margin").tolist() == [1, 2]
    assert most_informative(SHARES, 5, "entropy").tolist() == [2, 1, 4, 0, 3]
    targets = np.array([1, 0, 0, 2, 2])  # 0 and 3 are wrong
    assert most_informative(SHARES, 5, "wrong", targets)[:2].tolist() == [3, 0]
    first = most_informative(SHARES, 5, "random", seed=1).tolist()
    assert sorted(first) == [0, 1, 2, 3, 4] != most_informative(SHARES, 5, "random").tolist()
    assert most_informative(SHARES, 9, "margin").size == 5
    sure, classes = confident(SHARES, 0.8)
    assert (sure.tolist(), classes.tolist()) == ([0, 3], [0, 1])


def test_probabilities_by_loss() -> None:
    for loss, outputs in ((nn.CrossEntropyLoss(), 2), (nn.BCEWithLogitsLoss(), 1)):
        shares = class_shares(trainer_of(loss, outputs), X)
        assert shares.shape == (24, 2)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    model = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1))
    trainer = cr.Trainer(model, nn.NLLLoss(), cr.optim.SGD(model.parameters()), progress=False)
    np.testing.assert_allclose(class_shares(trainer, X).sum(axis=1), 1, rtol=1e-6)
    yes = trainer_of(nn.BCEWithLogitsLoss(), 1)
    logits = yes.predict(X)[:, 0]
    np.testing.assert_allclose(class_shares(yes, X)[:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_an_oracle_is_asked_about_wrong_ones_and_labels_are_not_read_before() -> None:
    hidden = Y.copy()
    found = active_learning(
        trainer_of, (X, hidden), (X, Y), start=4, count=4, rounds=3, by="wrong", epochs=2
    )
    assert found[-1].labels == 12
    spoiled = Y.copy()
    chosen = active_learning(
        trainer_of, (X, Y), (X, Y), start=4, count=4, rounds=2, by="entropy", epochs=2
    )[-1].chosen
    unread = np.setdiff1d(np.arange(24), chosen)
    spoiled[unread] = 1 - spoiled[unread]
    again = active_learning(
        trainer_of, (X, spoiled), (X, Y), start=4, count=4, rounds=2, by="entropy", epochs=2
    )
    assert again[-1].chosen.tolist() == chosen.tolist()


def gan_of(engine: str = "numpy") -> Adversarial:
    cr.manual_seed(0)
    draws = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    tells = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(4, 1))
    optimizers = [cr.optim.Adam(m.parameters(), lr=0.01) for m in (draws, tells)]
    return Adversarial(draws, tells, *optimizers, noise=2, engine=engine)


def weights(gan: Adversarial) -> list[Any]:
    return [
        one.detach().numpy().copy()
        for part in (gan.generator, gan.discriminator)
        for one in part.parameters()
    ]


def test_two_networks_on_two_engines_and_from_a_saved_state(tmp_path: Any) -> None:
    whole = gan_of()
    whole.fit(X, epochs=4, batch_size=8)
    native = gan_of("native")
    native.fit(X, epochs=4, batch_size=8)
    for name, series in whole.history.items():
        np.testing.assert_allclose(series, native.history[name], rtol=1e-3, atol=1e-4)
    begun = gan_of()
    begun.fit(X, epochs=2, batch_size=8)
    cr.save(begun.state_dict(), tmp_path / "gan")
    resumed = gan_of()
    cr.manual_seed(99)
    resumed.load_state_dict(cr.load(tmp_path / "gan"))
    resumed.fit(X, epochs=2, batch_size=8)
    for a, b in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.history["real_score"].tolist() == whole.history["real_score"].tolist()
    assert resumed.draw(7).shape == (7, 3)


def test_each_network_learns_from_its_own_loss_alone() -> None:
    gan = gan_of()
    before = weights(gan)
    gan.generator_optimizer.param_groups[0]["lr"] = 0.0
    gan.fit(X, batch_size=8)
    after = weights(gan)
    count = len(list(gan.generator.parameters()))
    assert all((a == b).all() for a, b in zip(before[:count], after[:count], strict=True))
    assert not any((a == b).all() for a, b in zip(before[count:], after[count:], strict=True))
    assert all(p.grad is None for p in gan.discriminator.parameters())


def test_a_map_against_its_definition() -> None:
    x = RNG.normal(size=(60, 3))
    som = SelfOrganizingMap(3, 4).fit(x, epochs=5)
    flat = som.weights.reshape(12, 3)
    apart = np.linalg.norm(x[:, None] - flat[None], axis=2)
    nearest = np.argsort(apart, axis=1)[:, :2]
    np.testing.assert_array_equal(som.units(x) @ [4, 1], nearest[:, 0])
    assert som.quantization_error(x) == pytest.approx(apart.min(axis=1).mean())
    rows, columns = np.divmod(nearest, 4)
    far = np.maximum(abs(np.diff(rows, axis=1)), abs(np.diff(columns, axis=1))) > 1
    assert som.topographic_error(x) == pytest.approx(far.mean())
    corner = [np.linalg.norm(flat[0] - flat[k]) for k in (1, 4, 5)]
    assert som.distances()[0, 0] == pytest.approx(np.mean(corner))
    assert som.hits(x).tolist() == np.bincount(nearest[:, 0], minlength=12).reshape(3, 4).tolist()
    again = SelfOrganizingMap(3, 4).fit(cr.tensor(x), epochs=5)
    assert again.weights.tolist() == som.weights.tolist()
    one = SelfOrganizingMap(2, 2).fit(np.ones((5, 2)))  # no direction varies
    assert one.quantization_error(np.ones((5, 2))) == pytest.approx(0.0, abs=1e-6)


ERRORS: list[tuple[Any, str, Callable[[], Any]]] = [
    (OptionError, "none of them NaN; their shape is", lambda: easiest([np.nan], 1.0)),
    (OptionError, "above 0 and at most 1; 0 was given", lambda: easiest([1.0], 0)),
    (
        OptionError,
        "3 scores were given for 24 examples",
        lambda: fit_curriculum(trainer_of(), (X, Y), [1, 2, 3]),
    ),
    (
        OptionError,
        "2 epochs were given for 4 stages",
        lambda: fit_curriculum(trainer_of(), (X, Y), X[:, 0], epochs=(1, 2)),
    ),
    (
        OptionError,
        "a function is not a loss of each example",
        lambda: example_losses(trainer_of(lambda o, t: o.sum()), (X, Y)),
    ),
    (OptionError, "there is no query 'best'", lambda: most_informative(SHARES, 1, "best")),
    (OptionError, "'wrong' needs targets=", lambda: most_informative(SHARES, 1, "wrong")),
    (OptionError, "threshold must be from 0 to 1; 2", lambda: confident(SHARES, 2)),
    (
        OptionError,
        "there is no query 'best'",
        lambda: active_learning(trainer_of, (X, Y), (X, Y), by="best"),
    ),
    (
        OptionError,
        r"given: 20 \+ 20 x 4 labels of a pool of 24",
        lambda: active_learning(trainer_of, (X, Y), (X, Y)),
    ),
    (OptionError, "noise=0", lambda: Adversarial(None, None, None, None, noise=0)),
    (DataError, "24 examples make no batch of 64", lambda: gan_of().fit(X)),
    (OptionError, "two units or more; 1 x 1", lambda: SelfOrganizingMap(1, 1)),
    (OptionError, "nothing has been learned yet", lambda: SelfOrganizingMap(2, 2).units(X)),
    (OptionError, "nothing has been learned yet", lambda: SelfOrganizingMap(2, 2).distances()),
    (ShapeError, r"must be \(examples, features\)", lambda: SelfOrganizingMap(2, 2).fit(X[0])),
    (OptionError, "given: epochs=0", lambda: SelfOrganizingMap(2, 2).fit(X, epochs=0)),
    (
        ShapeError,
        "the data have 2 features, the map 3",
        lambda: SelfOrganizingMap(2, 2).fit(X).units(X[:, :2]),
    ),
]


@pytest.mark.parametrize(("error", "text", "make"), ERRORS)
def test_errors_say_what_fits(error: Any, text: str, make: Callable[[], Any]) -> None:
    with pytest.raises(error, match=text):
        make()
