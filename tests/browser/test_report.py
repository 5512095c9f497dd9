"""The report in a real browser: it steps, it loads nothing, it fits every screen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.data import LabelledDataset
from chainrule.report import report

from .chromium import Page, browser, executable

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    cr.manual_seed(0)
    x = rng.uniform(size=(80, 64)).astype("float32")
    y = (x[:, :20].sum(1) > 10).astype(int) + (x[:, 40:].sum(1) > 12)
    data = LabelledDataset(x, y, image_shape=(8, 8), name="squares")
    model = cr.nn.Sequential(cr.nn.Linear(64, 12), cr.nn.ReLU(), cr.nn.Linear(12, 3))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)
    trainer = cr.Trainer(
        model, cr.nn.CrossEntropyLoss(), optimizer, seed=0, progress=False, engine="numpy"
    )
    run = trainer.fit(data, validation=data, epochs=3)
    path = tmp_path_factory.mktemp("report") / "report.html"
    return report(run, model, train=data, validation=data).save(path)


def text(page: Page, selector: str) -> Any:
    return page.run(f"document.querySelector({selector!r}).textContent")


def test_it_loads_nothing_and_reports_no_error(page: Page, file: Path) -> None:
    page.errors.clear()
    page.requests.clear()
    page.open(file)
    page.run("document.querySelector('[data-go=last]').click()")
    assert page.errors == []
    asked = [address for address in page.requests if not address.startswith("data:")]
    assert asked == [file.resolve().as_uri()]


def test_stepping_shows_values_and_then_partials(page: Page, file: Path) -> None:
    page.open(file)
    count = page.run("document.querySelectorAll('#graph-scroll .node').length")
    assert page.run("document.querySelectorAll('.node.valued').length") == 0
    page.press("ArrowRight")
    assert page.run("document.querySelectorAll('.node.valued').length") == 1
    assert text(page, "#node-panel h3") == "x"
    for _ in range(count - 1):
        page.run("document.querySelector('[data-go=next]').click()")
    assert page.run("document.querySelectorAll('.node.valued').length") == count
    assert page.run("document.querySelectorAll('.node.slid').length") == 0
    assert text(page, "#node-panel h3").startswith("J = ")
    page.press("ArrowRight")
    assert page.run("document.querySelectorAll('.node.slid').length") == 1
    assert "∂J/∂J" in text(page, "#node-panel")
    page.press("ArrowLeft")
    assert page.run("document.querySelectorAll('.node.slid').length") == 0
    assert text(page, "#step-text").startswith(f"{count} of ")


def test_the_slider_and_play_move_it_too(page: Page, file: Path) -> None:
    page.open(file)
    page.run(
        "const s=document.getElementById('step-slider'); s.value=5;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert text(page, "#step-text").startswith("5 of ")
    page.run("document.querySelector('[data-go=play]').click()")
    assert text(page, "[data-go=play]") == "stop"
    page.run("document.querySelector('[data-go=play]').click()")
    assert text(page, "[data-go=play]") == "play"


def test_a_click_on_a_number_shows_how_it_is_computed(page: Page, file: Path) -> None:
    page.open(file)
    page.run("document.querySelector('[data-go=last]').click()")
    page.run(
        "[...document.querySelectorAll('.node')].find(n => n.textContent.includes('z1 = '))"
        ".dispatchEvent(new Event('click'))"
    )
    assert "Σ_k x[0,k]·w1[" in text(page, "#node-panel .picked")
    assert "∂J/∂z1[0," in text(page, "#node-panel .picked")


def test_another_weight_has_other_factors(page: Page, file: Path) -> None:
    page.open(file)
    before = text(page, "#factors")
    assert "∂J/∂w1[" in before
    page.run(
        "const u=document.getElementById('weight-unit'); u.value=(Number(u.value)+1)%12;"
        "u.dispatchEvent(new Event('change'))"
    )
    other = text(page, "#factors")
    assert other != before
    page.run("document.querySelectorAll('[data-layer]')[1].click()")
    assert "∂J/∂w2[" in text(page, "#factors")
    page.run("document.getElementById('inputs').onclick({clientX: 1e6, clientY: 1e6})")
    assert page.errors == []


@pytest.mark.parametrize("width", [320, 480, 768, 1200, 1600])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_every_screen(page: Page, file: Path, width: int, dark: bool) -> None:
    page.open(file, width, 800, dark=dark)
    page.run("document.querySelector('[data-go=last]').click()")
    assert page.run("document.documentElement.scrollWidth") <= width
    shade = page.run("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in shade.strip("rgb()").split(",")) > 3 * 128
    assert light is not dark


def test_without_script_everything_is_shown(page: Page, file: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(file)
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
    opacity = "getComputedStyle(document.querySelector('.node .partial')).opacity"
    assert page.run(opacity) == "1"


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_a_view_opens_by_itself(page: Page, tmp_path: Path, suffix: str) -> None:
    a, b = cr.tensor(5.0, requires_grad=True), cr.tensor(3.0, requires_grad=True)
    path = explain.graph(a.named("a") * b.named("b")).save(tmp_path / f"graph{suffix}")
    page.errors.clear()
    page.requests.clear()
    page.open(path)
    assert page.errors == []
    assert [one for one in page.requests if not one.startswith("data:")] == [path.as_uri()]
    assert "∂J/∂a" in page.run("document.documentElement.textContent")
