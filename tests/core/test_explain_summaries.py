"""Layers whose formula is a loop, or that have several results, are shown as one."""

from __future__ import annotations

from typing import Any

import pytest

import chainrule as cr
from chainrule import nn


class Reads(nn.Module):
    """A recurrent layer and a head on its last step."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.RNN(4, 8, batch_first=True), "h(t) = tanh("),
        (nn.RNN(4, 8, batch_first=True, nonlinearity="relu"), "h(t) = relu("),
        (nn.LSTM(4, 8, batch_first=True), "c(t) = f · c(t-1) + i · g"),
        (nn.GRU(4, 8, batch_first=True), "h(t) = (1 - z) · n + z · h(t-1)"),
    ],
)
def test_recurrent_layers_say_what_a_step_computes(layer: Any, said: str) -> None:
    rows = cr.explain.layers(Reads(layer), cr.zeros(2, 5, 4)).data["layers"]
    assert [row["name"] for row in rows] == ["layer", "head"]
    assert said in rows[0]["formula"]
    assert (rows[0]["shape_in"], rows[0]["shape_out"]) == ("N×5×4", "N×5×8")
    assert rows[0]["parameters"] == sum(p.numel() for p in layer.parameters())


def test_attention_is_one_layer_with_all_its_parameters() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    rows = cr.explain.layers(model, cr.zeros(2, 5, 8)).data["layers"]
    assert rows[0]["name"] == "self_attn"
    assert "softmax" in rows[0]["formula"]
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())


def test_running_statistics_have_their_names() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    (row,) = cr.explain.layers(model, cr.zeros(2, 3)).data["layers"]
    assert "0.running_mean" in row["formula"] and "0.running_var" in row["formula"]
