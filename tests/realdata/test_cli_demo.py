"""The main job: real digits learned, timed, explained and reported."""

import re

import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    page = tmp_path_factory.mktemp("demo") / "report.html"
    result = CliRunner().invoke(app, ["demo", "--out", str(page)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output, page


def figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1].replace(",", ""))


def test_it_reads_nine_in_ten_and_more(told):
    assert figure(r"test accuracy ([\d.]+) %", told[0]) >= 97


def test_the_native_engine_is_faster_than_the_eager_one(told):
    native = figure(r"native +([\d.]+) us", told[0])
    eager = figure(r"numpy +([\d.]+) us", told[0])
    assert figure(r"native .* ([\d.]+) times as fast", told[0]) == pytest.approx(
        eager / native, rel=0.01, abs=0.1
    )
    assert native * 3 < eager


def test_the_layers_and_what_to_do_next_are_printed(told):
    assert figure(r"\nsum +([\d,]+)\n", told[0]) == 17_226
    assert "finding" in told[0]
    assert "chainrule derive" in told[0][told[0].index("next:") :]


def test_the_report_is_one_file_that_loads_nothing(told):
    text, page = told
    assert str(page) in text
    content = page.read_text(encoding="utf-8")
    assert "<svg" in content
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", content)
    assert not re.search(r"url\(\s*['\"]?https?:", content)
    assert "@import" not in content


def test_the_same_seed_gives_the_same_accuracy_and_loss():
    from chainrule.cli.demo import BATCH, build, make_trainer
    from chainrule.data import load

    train, test = load("digits").split(0.2, seed=1)
    runs = [
        make_trainer(build(1), 1, "native", progress=False).fit(
            train, validation=test, epochs=3, batch_size=BATCH
        )
        for _ in range(2)
    ]
    first, second = (run.history for run in runs)
    assert {name: series.tolist() for name, series in first.items()} == {
        name: series.tolist() for name, series in second.items()
    }
