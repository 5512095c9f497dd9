"""What `chainrule train` was asked for, kept beside a named run so that it can be done again.

`chainrule resume NAME` and `chainrule report NAME` need the data and the network of a run, which
its record does not hold: the recipe says from which file, and with which settings, they are made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..io import write_bytes
from ..train import store_folder

_NO_RECIPE = (
    "there is no recipe for the run {name!r} in {folder}.\n"
    "  only runs made by `chainrule train FILE --run NAME` can be {done} from the command line\n"
    "  there are: {known}"
)


@dataclass(frozen=True)
class Recipe:
    """A training on a table, as the command line gave it.

    Attributes:
        file: the CSV file, as an absolute path.
        target: the column to predict.
        epochs: passes over the training rows.
        hidden: units of the hidden layers, such as "64,32".
        lr: the learning rate of Adam.
        batch_size: rows in a step.
        seed: of the split, the weights and the shuffle.
        task: "classification" or "regression", or None to decide by the target.
        drop: columns to leave out.
        engine: which engine trains.
    """

    file: str
    target: str
    epochs: int = 100
    hidden: str = "32"
    lr: float = 0.003
    batch_size: int = 32
    seed: int = 0
    task: str | None = None
    drop: tuple[str, ...] = ()
    engine: str = "auto"

    def save(self, name: str) -> None:
        """Keep the recipe of the run of this name."""
        path = kept_path("recipes", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, name: str, done: str) -> Recipe:
        """Read the recipe of a run.

        Args:
            name: the run's name.
            done: what is to be done with it, for the message: "resumed".

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        path = kept_path("recipes", name)
        if not path.is_file():
            known = sorted(found.stem for found in path.parent.glob("*.json"))
            raise StoreError(
                _NO_RECIPE.format(
                    name=name, folder=store_folder(), done=done, known=", ".join(known) or "none"
                )
            )
        try:
            plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            known_fields = {field.name for field in fields(cls)}
            settings = {key: value for key, value in plain.items() if key in known_fields}
            return cls(**settings | {"drop": tuple(settings.get("drop", ()))})
        except (ValueError, TypeError) as error:
            raise StoreError(f"the recipe {path} cannot be read: {error}") from error


KEPT = ("recipes", "encoders")
"""Folders of the store that hold one JSON file for each run of the command line."""


def kept_path(folder: str, name: str, store: Path | None = None) -> Path:
    """Name the file that is kept about a run in one of the folders of `KEPT`.

    Example:
        >>> kept_path("recipes", "a/b", Path("runs")).as_posix()
        'runs/recipes/a%2fb.json'
    """
    # A name may hold any character; a file name may not.
    safe = "".join(c if c.isalnum() or c in "-_. " else f"%{ord(c):x}" for c in name)
    return (store_folder() if store is None else store) / folder / f"{safe}.json"
