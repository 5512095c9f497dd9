"""`chainrule train` on real tables, as a user would call it."""

import re

import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app


def output(*words: object) -> str:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def accuracy(text: str) -> float:
    found = re.search(r"validation accuracy ([\d.]+) %", text)
    assert found is not None
    return float(found[1])


def test_titanic_as_given_reports_that_alive_repeats_the_target(shared_data):
    text = output("train", shared_data("tabular/titanic.csv"), "--target", "survived")
    assert re.search(r"^  error  leaking-feature in alive$", text, re.M)
    assert "it repeats the target" in text
    assert "--drop alive" in text
    assert accuracy(text) == 100


def test_titanic_without_the_leak(shared_data):
    file = shared_data("tabular/titanic.csv")
    text = output("train", file, "--target", "survived", "--drop", "alive", "--epochs", 30)
    assert "leaking-feature" not in text
    assert accuracy(text) > 75
    assert "177 missing" in text


@pytest.mark.parametrize(
    ("name", "target", "least"),
    [
        ("iris", "species", 90),
        ("penguins_palmer", "species", 95),
        ("winequality-red", "quality", 50),
    ],
)
def test_classification(shared_data, name, target, least):
    file = shared_data(f"tabular/{name}.csv")
    assert accuracy(output("train", file, "--target", target, "--epochs", 60)) >= least


@pytest.mark.parametrize(
    ("name", "target", "most"),
    [("mpg", "mpg", 4.0), ("california_housing", "median_house_value", 70_000)],
)
def test_regression(shared_data, name, target, most):
    file = shared_data(f"tabular/{name}.csv")
    text = output("train", file, "--target", target, "--epochs", 40, "--batch-size", 64)
    found = re.search(r"([\d.e+]+) root mean square, .*: ([\d.e+]+) root mean square", text)
    assert found is not None
    assert float(found[1]) < most
    assert float(found[1]) < 0.7 * float(found[2])
