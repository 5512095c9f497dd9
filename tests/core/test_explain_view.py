"""Views and pictures: every way to look at them, and that nothing in them is ever loaded."""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.errors import MissingExtraError, OptionError
from chainrule.explain._charts import Bar, Series, bar_chart, line_chart, matrix_chart, tiles
from chainrule.explain._drawing import Line, shorten, text_width
from chainrule.explain._svg import png, rgba, to_svg
from chainrule.explain._theme import DARK, LIGHT, contrast
from chainrule.explain._view import plain

TEXT_ROLES = ("ink", "muted", "forward", "backward", "good", "warning", "bad")


@pytest.fixture
def view() -> explain.View:
    a, b = cr.tensor(5.0, requires_grad=True), cr.tensor(3.0, requires_grad=True)
    return explain.graph(a.named("a") * b.named("b"))


@pytest.mark.parametrize("suffix", [".svg", ".html", ".txt", ".json"])
def test_a_view_is_saved_by_suffix(view: explain.View, tmp_path: Path, suffix: str) -> None:
    path = view.save(tmp_path / f"view{suffix}")
    text = path.read_text(encoding="utf-8")
    assert path.suffix == suffix
    if suffix == ".json":
        assert json.loads(text)["output"] == "J"
    elif suffix == ".svg":
        assert ElementTree.fromstring(text).tag.endswith("svg")
    else:
        assert "∂J/∂a" in text


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_a_view_is_a_figure_with_the_extra(view: explain.View, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000
    assert view.figure().axes


def test_without_matplotlib_the_error_names_the_extra(
    view: explain.View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'fix: pip install "chainrule\[plots\]"'):
        view.figure()
    assert view.svg() and view.html() and view.text()


def test_an_unknown_suffix_shows_the_fix(view: explain.View) -> None:
    with pytest.raises(OptionError) as caught:
        view.save("graph.bmp")
    assert str(caught.value) == (
        "a view cannot be saved as '.bmp'.\n"
        "  given: graph.bmp\n"
        "  expected: a path that ends in one of .svg, .html, .txt, .json, .png, .pdf\n"
        '  fix: view.save("graph.svg")'
    )


def test_pictures_load_nothing_and_can_be_read_out(view: explain.View) -> None:
    svg = view.svg()
    addresses = re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\')\s>]+)', svg)
    assert all(address.startswith("data:") for address in addresses)
    assert "<title>" in svg and "aria-label=" in svg and "<desc>" in svg
    assert "prefers-color-scheme: dark" in svg


def test_titles_are_escaped() -> None:
    chart = line_chart([Series("a<b", [1, 2], [1, 2])], title='<&"', x_label="x", y_label="y")
    assert ElementTree.fromstring(to_svg(chart)).attrib["aria-label"] == '<&"'


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("role", TEXT_ROLES)
def test_text_has_contrast_on_its_paper(theme: dict[str, str], role: str) -> None:
    assert contrast(theme[role], theme["paper"]) >= 4.5
    assert contrast(theme[role], theme["panel"]) >= 4.5


def test_light_and_dark_have_the_same_roles() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_charts_bear_empty_broken_and_constant_data() -> None:
    broken = Series("broken", [1, 2, 3, 4], [1.0, np.nan, np.inf, 2.0])
    for series in ([], [broken], [Series("flat", [1, 2], [3.0, 3.0])], [Series("one", [1], [2.0])]):
        chart = line_chart(series, title="t", x_label="x", y_label="y", mark_best="min")
        assert "nan" not in to_svg(chart)
    bars = bar_chart([Bar("a", float("nan")), Bar("b", -1.0), Bar("c", 0.0)], title="t")
    assert "nan" not in to_svg(bars)
    assert to_svg(matrix_chart(np.zeros((2, 2), int), ["a", "b"], title="t"))
    assert to_svg(tiles([], [], title="t"))


def test_long_curves_keep_their_peaks() -> None:
    values = np.zeros(100_000)
    values[54_321] = 7.0
    chart = line_chart(
        [Series("spike", np.arange(100_000), values)], title="t", x_label="x", y_label="y"
    )
    svg = to_svg(chart)
    assert len(svg) < 60_000
    curves = [mark for mark in chart.marks if isinstance(mark, Line) and len(mark.points) > 100]
    heights = [y for _, y in curves[0].points]
    assert min(heights) < 70 < 200 < max(heights)


def test_pixels_become_a_png_that_others_can_read() -> None:
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    pixels = np.array([[0.0, 1.0], [-2.0, 0.5]])
    colours = rgba(pixels, signed=True)
    assert colours[0, 0, 3] == 0 and colours[1, 0, 3] == 255
    assert (np.asarray(image.open(BytesIO(png(colours)))) == colours).all()


def test_texts_are_cut_to_fit() -> None:
    assert shorten("short", 100) == "short"
    cut = shorten("a very long label that does not fit", 80)
    assert cut.endswith("…") and text_width(cut) <= 80


def test_data_becomes_plain_json() -> None:
    found = plain({"a": np.float32(1.5), "b": [np.int64(2), float("nan")], "c": (np.bool_(True),)})
    assert json.dumps(found) == '{"a": 1.5, "b": [2, "nan"], "c": [true]}'
