"""Scaling as a layer: learned once, kept with the model, the same on every engine."""

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import Standardize, load
from chainrule.errors import DataError, ShapeError


def test_the_scaling_travels_with_the_model(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(50, 9, (40, 3)).astype(np.float32)
    x[:, 2] = 7
    model = cr.nn.Sequential(Standardize.fit(x), cr.nn.Linear(3, 1))
    scaled = model[0](cr.tensor(x)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-5)
    cr.save(model.state_dict(), tmp_path / "m.safetensors")
    other = cr.nn.Sequential(Standardize(np.zeros(3), np.ones(3)), cr.nn.Linear(3, 1))
    other.load_state_dict(cr.load(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(other(cr.tensor(x)).tolist(), model(cr.tensor(x)).tolist())
    assert "Standardize((3,))" in repr(model)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_training_leaves_the_scaling_alone(engine: str) -> None:
    x = np.random.default_rng(1).normal(100, 20, (64, 2)).astype(np.float32)
    y = (x[:, :1] - 100) / 20
    cr.manual_seed(0)
    model = cr.nn.Sequential(Standardize.fit(x), cr.nn.Linear(2, 1))
    before = model[0].mean.tolist()
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, progress=False, engine=engine)
    run = trainer.fit((x, y), epochs=30, batch_size=16)
    assert float(run.history["loss"][-1]) < 1e-3 and model[0].mean.tolist() == before
    assert len(list(model.parameters())) == 2


def test_refusals() -> None:
    x = np.ones((5, 2))
    x[3, 1] = np.nan
    with pytest.raises(DataError, match=r"1 values that are not finite(.|\n)*example 3"):
        Standardize.fit(x)
    with pytest.raises(ShapeError, match=r"given: shape \(5,\)"):
        Standardize.fit(np.ones(5))
    with pytest.raises(ShapeError, match=r"given: shape \(0, 2\)"):
        Standardize.fit(np.ones((0, 2)))
    with pytest.raises(DataError, match=r"shapes \(2,\) and \(2,\), smallest spread 0"):
        Standardize([0, 0], [1, 0])


def test_linnerud_has_three_outputs() -> None:
    pytest.importorskip("sklearn")
    men = load("linnerud")
    assert men.inputs.shape == men.targets.shape == (20, 3) and men.class_names == ()
