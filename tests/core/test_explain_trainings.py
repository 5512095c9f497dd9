"""`explain.trainings`: a map of trainings beside its definition, its text and its picture."""

from typing import Any

import numpy as np
import pytest

from chainrule import explain
from chainrule.errors import OptionError
from chainrule.explain import _trainings
from chainrule.explain._drawing import Drawing, Line, Picture
from chainrule.explain._svg import to_svg
from chainrule.train import Runs

GOLDEN = """\
12 trainings: loss after 7 epochs, by lr and momentum
best: loss 0.002 at lr 0.01, momentum 0.9; 16.7 % diverged

momentum \\ lr  0.001   0.01   0.1     1
0.9              0.5  0.002     5     -
0.5              0.6   0.04     -  0.07
0                0.7   0.06  0.07  0.08

-: diverged, or not trained"""


def grid(losses: Any, **settings: Any) -> Runs:
    columns = {name: np.asarray(values) for name, values in settings.items()}
    runs = Runs(columns, {}, {}, (len(losses),))
    runs.history = {"loss": np.asarray(losses, float)[:, None]}
    runs.epochs = np.array([7])
    return runs


def example() -> Runs:
    rates = np.repeat([0.001, 0.01, 0.1, 1.0], 3)
    losses = [0.7, 0.6, 0.5, 0.06, 0.04, 0.002, 0.07, np.nan, 5, 0.08, 0.07, np.inf]
    return grid(losses, lr=rates, momentum=np.tile([0.0, 0.5, 0.9], 4))


def test_the_map_and_its_text() -> None:
    view = explain.trainings(example())
    assert view.text() == GOLDEN
    assert view.data["map"].shape == (3, 4) and view.data["map"][2, 1] == 0.002
    assert view.data["diverged"].tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert view.data["best"] == {"training": 5, "value": 0.002, "lr": 0.01, "momentum": 0.9}
    turned = explain.trainings(example(), x="momentum", y="lr").data["map"]
    np.testing.assert_array_equal(turned, view.data["map"].T)


def test_a_place_is_the_median_of_its_trainings() -> None:
    losses = [1.0, 5.0, 2.0, 9.0, np.nan, 4.0, np.nan, np.nan]
    runs = grid(losses, lr=[1, 1, 1, 1, 2, 2, 3, 3], wide=[0] * 8, seed=range(8))
    data = explain.trainings(runs, "lr", "wide").data
    assert data["map"][0, :2].tolist() == [3.5, 4.0] and np.isnan(data["map"][0, 2])
    assert data["diverged"].tolist() == [[0, 0.5, 1]]


def pictures(drawing: Drawing) -> list[Picture]:
    return [mark for mark in drawing.marks if isinstance(mark, Picture)]


def test_colours_follow_the_numbers() -> None:
    """Smaller is darker, by powers where the numbers span some; diverged has its own colour."""
    image = pictures(explain.trainings(example()).drawing())[0].pixels
    light = image[..., :3].sum(-1)
    # The first row of the picture is the largest momentum.
    assert image.shape == (3, 4, 4) and light[0, 1] == light[np.isfinite(light)].min()
    assert light[0, 1] < light[1, 1] < light[2, 1] < light[2, 0]
    red = _trainings.DIVERGED
    assert "#" + "".join(f"{part:02x}" for part in image[0, 3, :3]) == red
    assert (image[0, 3] == image[1, 2]).all()


def test_what_was_not_trained_shows_the_paper_and_is_named() -> None:
    runs = grid([1.0, 2.0, 3.0], lr=[1, 1, 2], wide=[0, 1, 0])
    drawing = explain.trainings(runs).drawing()
    assert pictures(drawing)[0].pixels[0, 1].tolist() == [0, 0, 0, 0]
    svg = to_svg(drawing)
    assert ">not trained<" in svg and ">diverged<" not in svg and ">best<" in svg


def test_equal_bests_are_counted_and_none_is_marked() -> None:
    runs = grid([0.0, 0.0, 3.0, 4.0], lr=[1, 1, 2, 2], wide=[0, 1, 0, 1])
    view = explain.trainings(runs)
    assert "best: loss 0 in 2 trainings" in view.text() and ">best<" not in view.svg()


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (np.geomspace(1e-3, 10, 64), ["0.001", "0.01", "0.1", "1", "10"]),
        (np.linspace(0, 1, 64), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([3, 5, 9]), ["3", "5", "9"]),
    ],
)
def test_sides_have_round_numbers(values: Any, texts: list[str]) -> None:
    ticks = _trainings._Axis.of("lr", values).ticks()
    assert [text for _, text in ticks] == texts
    places = [at for at, _ in ticks]
    assert places == sorted(places) and places[0] > 0 and places[-1] < 1


def test_the_ring_lies_on_the_best_training() -> None:
    drawing = explain.trainings(example()).drawing()
    image = pictures(drawing)[0]
    rings = [m for m in drawing.marks if isinstance(m, Line) and len(m.points) == 25]
    x, y = np.mean(rings[0].points[:-1], axis=0)
    assert x == pytest.approx(image.x + 1.5 / 4 * image.width)
    assert y == pytest.approx(image.y + 0.5 / 3 * image.height)


def test_other_settings_are_refused() -> None:
    with pytest.raises(OptionError, match=r"given: x='lr', y='seed'; these .* in lr, momentum"):
        explain.trainings(example(), "lr", "seed")
    with pytest.raises(OptionError, match="needs two settings"):
        explain.trainings(grid([1.0, 2.0], lr=[1, 2]))
    with pytest.raises(OptionError, match="no 'accuracy'"):
        explain.trainings(example(), value="accuracy")
