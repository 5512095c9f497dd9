"""A model of a table, whole: the weights, how cells become numbers, and the labels of the target.

It is kept in two places: beside a run of the store (`encoders/NAME.json`, next to the weights of
its checkpoints), and in one safetensors file that `chainrule train --model FILE` writes. Neither
needs the table it was trained on, and nothing in them is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from .. import nn
from ..data import TableEncoder, Task
from ..data._encode import CategoryFeature, NumberFeature
from ..errors import ChainruleError, StoreError
from ..io import read_arrays, write_arrays, write_bytes
from ..tensor import Tensor
from ..tensor._grad import no_grad
from .recipe import Recipe, kept_path
from .train import build, prepare

KEY = "chainrule.table"
"""The metadata entry of a model file."""
SUFFIX = ".safetensors"
_ROWS = 4096
_NOT_A_MODEL = (
    "{where} holds no model of a table: {why}.\n"
    "  expected: what `chainrule train FILE --target COLUMN --model NAME.safetensors` writes"
)
_DAMAGED = "what is kept about the columns in {where} cannot be read: {why}.\n  fix: train it again"


@dataclass(frozen=True)
class TableModel:
    """A network for the rows of a table, with all that its answers need.

    Attributes:
        encoder: how cells become inputs, and what the outputs mean.
        columns: the columns of the table it was trained on, the target among them.
        state: the network's parameters by name: "0.weight", "0.bias", "2.weight", ...
    """

    encoder: TableEncoder
    columns: tuple[str, ...]
    state: Mapping[str, npt.NDArray[Any]]

    def outputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Run the network: float32 (rows, features) to float64 (rows, classes or 1)."""
        sizes = _sizes(self.state)
        model = build(sizes[0], sizes[1:-1], sizes[-1])
        model.load_state_dict({name: Tensor(array) for name, array in self.state.items()})
        model.eval()
        parts = [np.zeros((0, sizes[-1]))]
        with no_grad():
            for start in range(0, len(inputs), _ROWS):
                output = model(Tensor(inputs[start : start + _ROWS]))
                parts.append(output.numpy().astype(np.float64))
        return np.concatenate(parts)

    def write(self, path: Path) -> None:
        """Write one file that holds all of it.

        Raises:
            StorageError: the disk is full, the folder is missing or not writable.
        """
        write_arrays(path, self.state, {KEY: json.dumps(_plain(self.encoder, self.columns))})


def open_model(word: str) -> TableModel:
    """Open a model by the path of its file, or by the name of its run.

    Args:
        word: a path that ends in .safetensors, or a run's name.

    Raises:
        StoreError: there is none, or it cannot be read.
        StorageError: a file that is no whole safetensors file.
        FileNotFoundError: there is no such file.
    """
    if word.endswith(SUFFIX):
        return _from_file(Path(word))
    from .runs import find_run

    run = find_run(word)
    path = _encoder_path(word)
    if path.is_file():
        return _from_text(path.read_bytes(), run.state_dict(), str(path))
    # Runs of other makers have no recipe, which the error says.
    made = prepare(Recipe.load(word, "used to predict"))
    return TableModel(made.encoder, made.table.names, run.state_dict())


def of_network(model: nn.Module, encoder: TableEncoder, columns: tuple[str, ...]) -> TableModel:
    """Put a network that was just trained together with its encoder."""
    state = {name: np.array(tensor.numpy()) for name, tensor in model.state_dict().items()}
    return TableModel(encoder, columns, state)


def keep_encoder(
    name: str, encoder: TableEncoder, columns: tuple[str, ...], *, again: bool = True
) -> None:
    """Keep beside a run how its cells become numbers.

    Args:
        name: the run's name.
        encoder: what was learned from its training rows.
        columns: those of its table.
        again: write it where one is kept already. A run that is resumed keeps its own: the file it
            was trained on may have changed since, which is found out later.
    """
    path = _encoder_path(name)
    if path.is_file() and not again:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(_plain(encoder, columns), indent=1).encode())


def _encoder_path(name: str) -> Path:
    return kept_path("encoders", name)


def _plain(encoder: TableEncoder, columns: tuple[str, ...]) -> dict[str, Any]:
    return {"version": 1, "columns": list(columns), "encoder": encoder.to_plain()}


def _from_file(path: Path) -> TableModel:
    state, metadata = read_arrays(path)
    if KEY not in metadata:
        raise StoreError(_NOT_A_MODEL.format(where=path, why="it says nothing of columns"))
    return _from_text(metadata[KEY].encode("utf-8", "replace"), state, str(path))


def _from_text(text: bytes, state: Mapping[str, npt.NDArray[Any]], where: str) -> TableModel:
    """Rebuild a model; whatever the text holds, the worst is an error."""
    try:
        plain = json.loads(text)
        columns = tuple(str(name) for name in plain["columns"])
        encoder = TableEncoder.from_plain(plain["encoder"])
        _check_types(encoder)
        fits = (len(encoder.feature_names), len(encoder.target.classes) or 1)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(_DAMAGED.format(where=where, why=error)) from error
    try:
        sizes = _sizes(state)
    except ValueError as error:
        raise StoreError(_NOT_A_MODEL.format(where=where, why=error)) from None
    if (sizes[0], sizes[-1]) != fits:
        why = f"its network takes {sizes[0]} numbers and gives {sizes[-1]}, its columns {fits}"
        raise StoreError(_NOT_A_MODEL.format(where=where, why=why))
    model = TableModel(encoder, columns, state)
    try:
        with np.errstate(all="ignore"):
            model.outputs(np.zeros((1, sizes[0]), np.float32))
    except ChainruleError as error:
        raise StoreError(_NOT_A_MODEL.format(where=where, why=str(error).split("\n")[0])) from error
    return model


def _check_types(encoder: TableEncoder) -> None:
    """Refuse what another hand may have put in the place of a name or a number.

    Raises:
        TypeError: something of another type.
    """
    goal = encoder.target
    numbers: list[Any] = [goal.mean, goal.spread]
    texts: list[Any] = [goal.column, goal.task, *goal.classes]
    for feature in encoder.features:
        texts.append(feature.column)
        if isinstance(feature, NumberFeature):
            numbers += [feature.median, feature.mean, feature.spread]
            texts.append(feature.kind)
        else:
            texts += feature.categories if isinstance(feature, CategoryFeature) else feature.words
    odd = [each for each in numbers if type(each) not in (int, float) or not abs(each) < 1e300]
    odd += [each for each in texts if not isinstance(each, str)]
    odd += [goal.task] if (goal.task == "classification") != bool(goal.classes) else []
    if odd or goal.task not in get_args(Task):
        raise TypeError(f"{str(odd[0] if odd else goal.task)[:40]!r} is out of place")


def _sizes(state: Mapping[str, npt.NDArray[Any]]) -> list[int]:
    """Give the layers' widths, inputs first, from the shapes of the weights alone.

    Raises:
        ValueError: they are not those of a feed-forward network; the text says why.

    Example:
        >>> state = {"0.weight": np.zeros((8, 3)), "0.bias": np.zeros(8),
        ...          "2.weight": np.zeros((2, 8)), "2.bias": np.zeros(2)}
        >>> _sizes(state)
        [3, 8, 2]
    """
    sizes: list[int] = []
    for k in range(len(state) // 2):
        weight, bias = state.get(f"{2 * k}.weight"), state.get(f"{2 * k}.bias")
        if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"layer {2 * k} has no weight and bias that fit")
        if sizes and weight.shape[1] != sizes[-1]:
            raise ValueError(f"layer {2 * k} takes {weight.shape[1]} numbers and gets {sizes[-1]}")
        if weight.dtype.kind != "f" or 0 in weight.shape:
            raise ValueError(f"the weight of layer {2 * k} is {weight.dtype} of {weight.shape}")
        sizes += [weight.shape[0]] if sizes else [weight.shape[1], weight.shape[0]]
    odd = [name for name in state if not re.fullmatch(r"\d+\.(weight|bias)", name)]
    if not sizes or odd or len(state) % 2:
        raise ValueError(f"it holds {', '.join(list(state)[:4]) or 'no arrays'}")
    return sizes
