"""`report`: one file that holds all it shows."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import LabelledDataset
from chainrule.errors import OptionError
from chainrule.report import report
from chainrule.report._sections import packed
from chainrule.train import Run

RNG = np.random.default_rng(0)
VOID = {"meta", "img", "input", "br", "hr", "link"}


class Outline(HTMLParser):
    """Collects tags and addresses, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "action") and value:
                self.addresses.append(value)
            if name == "id" and value:
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


def fitted(data: Any, model: Any, loss: Any) -> Run:
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)
    trainer = cr.Trainer(model, loss, optimizer, seed=0, progress=False, engine="numpy")
    return trainer.fit(data, validation=data, epochs=4)


@pytest.fixture(scope="module")
def made() -> tuple[Any, Any, LabelledDataset]:
    cr.manual_seed(0)
    x = RNG.uniform(size=(60, 64)).astype("float32")
    y = (x[:, :20].sum(1) > 10).astype(int) + (x[:, 40:].sum(1) > 12)
    data = LabelledDataset(
        x, y, class_names=["<low>", "mid", "high"], image_shape=(8, 8), name="squares"
    )
    model = cr.nn.Sequential(cr.nn.Linear(64, 12), cr.nn.ReLU(), cr.nn.Linear(12, 3))
    run = fitted(data, model, cr.nn.CrossEntropyLoss())
    return report(run, model, train=data, validation=data), model, data


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    assert parser.open == []
    return parser


def test_the_page_holds_all_it_shows(made: Any, tmp_path: Path) -> None:
    page = made[0].html()
    found = outline(page)
    assert all(address.startswith(("data:", "#")) for address in found.addresses)
    assert not re.search(r"""@import|url\(|\bfetch\(|XMLHttpRequest|src=["']http""", page)
    assert len(found.ids) == len(set(found.ids))
    assert made[0].save(tmp_path / "report.html").stat().st_size < 1_000_000


def test_every_section_is_there(made: Any) -> None:
    ids = outline(made[0].html()).ids
    for section in ("graph", "weights", "blame", "curves", "mistakes", "findings", "layers"):
        assert section in ids


def test_texts_are_escaped(made: Any) -> None:
    page = made[0].html()
    assert "&lt;low&gt;" in page and "<low>" not in page


def test_the_numbers_are_chainrule_s_own(made: Any) -> None:
    import base64

    page, model, data = made[0], made[1], made[2]
    graph = json.loads(re.search(r'id="graph-data">(.*?)</script>', page.html(), re.S)[1])
    index = page.data["example"]["index"]
    x, y = cr.tensor(data.inputs[index : index + 1]), cr.tensor(data.targets[index : index + 1])
    cost = cr.nn.CrossEntropyLoss()(model(x), y)
    gradients = cr.grad(cost, [model[0].weight, model[2].bias])
    nodes = {node["label"]: node for node in graph["nodes"]}

    def read(one: Any) -> Any:
        return np.frombuffer(base64.b64decode(one["data"]), np.float32).reshape(one["shape"])

    assert read(nodes["J"]["value"]) == cost.item()
    np.testing.assert_array_equal(read(nodes["w1"]["partial"]), gradients[0].detach().numpy())
    np.testing.assert_array_equal(read(nodes["b2"]["partial"]), gradients[1].detach().numpy())
    assert nodes["x"]["picture"] == [8, 8]


def test_the_three_factors_multiply(made: Any) -> None:
    import base64

    def read(one: Any) -> Any:
        return np.frombuffer(base64.b64decode(one["data"]), np.float32).reshape(one["shape"])

    page = made[0].html()
    layers = json.loads(re.search(r'id="weights-data">(.*?)</script>', page, re.S)[1])
    graph = json.loads(re.search(r'id="graph-data">(.*?)</script>', page, re.S)[1])
    partials = {node["key"]: node["partial"] for node in graph["nodes"]}
    assert [layer["name"] for layer in layers] == ["0.weight", "2.weight"]
    for layer in layers:
        product = np.outer(read(layer["error"]) * read(layer["slope"]), read(layer["input"]))
        np.testing.assert_allclose(product, read(partials[layer["node"]]), atol=1e-6)


def test_the_model_is_left_alone(made: Any) -> None:
    model, data = made[1], made[2]
    before = [p.detach().numpy().copy() for p in model.parameters()]
    model.train()
    report(Run(config={"loss": "CrossEntropyLoss()"}), model, validation=data)
    assert model.training
    for old, parameter in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(old, parameter.detach().numpy())


def test_a_table_of_numbers_and_a_regression() -> None:
    cr.manual_seed(0)
    x = RNG.normal(size=(40, 3)).astype("float32")
    y = (x @ [[1.0], [2.0], [3.0]]).astype("float32")
    model = cr.nn.Sequential(cr.nn.Linear(3, 4), cr.nn.Tanh(), cr.nn.Linear(4, 1))
    run = fitted((x, y), model, cr.nn.MSELoss())
    page = report(run, model, validation=(x, y), title="A <regression>").html()
    found = outline(page)
    assert "mistakes" not in found.ids and "A &lt;regression&gt;" in page


def test_large_weights_are_shown_shrunk() -> None:
    one = packed(RNG.normal(size=(400, 784)).astype("float32"))
    assert one["shrunk"] and one["shape"] == [48, 192] and len(one["data"]) < 60_000
    assert not packed(np.zeros((3, 4), "float32"))["shrunk"]


def test_no_examples_show_the_fix() -> None:
    with pytest.raises(OptionError, match=r"fix: cr.report\(run, model, train=\(x, y\)"):
        report(Run(), cr.nn.Linear(1, 1))


def test_an_unknown_loss_shows_the_fix() -> None:
    run = Run(config={"loss": "my_loss"})
    with pytest.raises(OptionError, match=r"names 'my_loss'\n  fix: cr.report.*loss=your_loss"):
        report(run, cr.nn.Linear(1, 1), validation=(np.zeros((2, 1)), np.zeros((2, 1))))


def test_report_is_the_room_and_the_function() -> None:
    with pytest.raises(OptionError):
        cr.report(Run(), cr.nn.Linear(1, 1))
