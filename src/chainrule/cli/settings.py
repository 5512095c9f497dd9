"""What `chainrule train` is to do: the command line over the file of settings over the defaults."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..io import storage_error
from .config import read_config, save_config
from .recipe import Recipe
from .table_model import SUFFIX
from .train import hidden_units

_MISSING = (
    "train does not know {what}.\n"
    "  fix: chainrule train FILE.csv --target COLUMN, or --config FILE.toml with {key} = ..."
)
_NEEDED = {"file": "which table to train on", "target": "which column to predict (--target)"}


def gather(
    given: Mapping[str, Any], config: Path | None = None, save: Path | None = None
) -> dict[str, Any]:
    """Put the settings of a training together, and write them where that is asked for.

    Args:
        given: the options of the command line by name; None is one that was not given.
        config: a file of settings, which the command line overrides.
        save: where to write all settings, those by default too.

    Returns:
        The arguments of `train_table`.

    Raises:
        OptionError: no table, no target, or what `read_config` and `save_config` raise.
    """
    settings = read_config(config) if config is not None else {}
    settings |= {name: value for name, value in given.items() if value not in (None, [])}
    for key, what in _NEEDED.items():
        if settings.get(key) is None:
            raise OptionError(_MISSING.format(what=what, key=key))
    settings["file"] = str(Path(settings["file"]).resolve())
    settings["drop"] = tuple(settings.get("drop", ()))
    of_recipe = {field.name for field in fields(Recipe)}
    recipe = Recipe(**{name: value for name, value in settings.items() if name in of_recipe})
    hidden_units(recipe.hidden)
    model = settings.get("model")
    if model is not None and not str(model).endswith(SUFFIX):
        raise OptionError(f"--model takes a name that ends in {SUFFIX}.\n  given: {model}")
    for place in (settings.get("report"), model):
        if place is not None:  # before hours of training, not after them
            check_place(Path(place))
    if save is not None:
        save_config(save, settings | asdict(recipe))
    paths = {
        name: Path(settings[name]) if settings.get(name) is not None else None
        for name in ("report", "model")
    }
    return {"recipe": recipe, "name": settings.get("run"), **paths}


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before the work that is to be written.

    Raises:
        StorageError: its folder is missing or not writable.

    Example:
        >>> check_place(Path("report.html"))
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise storage_error(OSError(errno.ENOENT, os.strerror(errno.ENOENT)), path)
    if not os.access(folder, os.W_OK):
        raise storage_error(OSError(errno.EACCES, os.strerror(errno.EACCES)), path)
