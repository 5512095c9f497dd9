"""The settings of `chainrule train` in a TOML file: every one of them, there and back.

The file is flat: one line for each setting, under the name of its option (`batch_size` is
`--batch-size`). Paths in it are seen from the folder it lies in, so that the folder can move.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..io import write_bytes

LARGEST = 1 << 15
"""Bytes. No file of settings is longer."""
_MOST_DOTS = 100
_TEXT_OR_COMMENT = re.compile(r"""\"(?:[^"\\\n]|\\.)*\"|'[^'\n]*'|\#[^\n]*""")
_MOST_PLACES = 100
_HEAD = "# chainrule train --config {name}\n"
_UNKNOWN = "{place}: there is no setting {key!r}.\n  {hint}settings: {known}"
_WRONG = "{place}: {key} must be {expected}.\n  given: {given}"


@dataclass(frozen=True)
class Setting:
    """What a setting may be.

    Attributes:
        expected: in words, to follow "must be".
        fits: whether a value that TOML gave is one.
        path: whether it names a file.
    """

    expected: str
    fits: Callable[[Any], bool]
    path: bool = False


def _whole(least: int) -> Setting:
    def fits(value: Any) -> bool:
        return type(value) is int and least <= value < 1 << 63

    return Setting(f"a whole number of {least} or more", fits)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_units(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(each) is int and each > 0 for each in value)
    return isinstance(value, str) or (type(value) is int and value >= 0)


def _is_number(value: Any) -> bool:
    # A comparison would turn a long integer into a float, which can fail.
    if type(value) is int:
        return bool(0 <= value < 1 << 63)
    return isinstance(value, float) and math.isfinite(value) and value >= 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


SETTINGS: Mapping[str, Setting] = {
    "file": Setting('the path of a table, such as "titanic.csv"', _is_text, path=True),
    "target": Setting("the name of a column, in quotes", _is_text),
    "epochs": _whole(1),
    "hidden": Setting('"64,32" or [64, 32]: the units of the hidden layers', _is_units),
    "lr": Setting("a number of 0 or more", _is_number),
    "batch_size": _whole(1),
    "seed": _whole(0),
    "task": Setting('"classification" or "regression"', _is_text),
    "drop": Setting('a list of columns, such as ["alive"]', _are_texts),
    "engine": Setting('"auto", "native" or "numpy"', _is_text),
    "run": Setting("the name to keep the run under, in quotes", _is_text),
    "report": Setting('the path of a page, such as "report.html"', _is_text, path=True),
    "model": Setting('the path of a file, such as "model.safetensors"', _is_text, path=True),
}
"""Every setting, in the order in which they are written."""


def config_text(settings: Mapping[str, Any], name: str = "FILE.toml") -> str:
    """Write settings as TOML; those that are None are left out, as TOML has no word for it.

    Raises:
        OptionError: a text that no file can hold (half of a surrogate pair).

    Example:
        >>> print(config_text({"target": "survived", "lr": 0.003, "drop": ("alive",), "run": None}))
        # chainrule train --config FILE.toml
        target = "survived"
        lr = 0.003
        drop = ["alive"]
    """
    lines = [
        f"{key} = {_value(settings[key])}" for key in SETTINGS if settings.get(key) is not None
    ]
    text = _HEAD.format(name=name.encode("ascii", "backslashreplace").decode()) + "\n".join(lines)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OptionError(f"the settings cannot be written as text: {error.reason}.") from None
    return text


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # What JSON escapes TOML reads alike; TOML also wants the delete character escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def save_config(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings to a file, whole or not at all.

    Raises:
        StorageError: the disk is full, the folder is missing or not writable.
        OptionError: as `config_text`.
    """
    folder = path.resolve().parent
    shown = dict(settings)
    for key, setting in SETTINGS.items():
        if setting.path and shown.get(key) is not None:
            shown[key] = _from_folder(Path(shown[key]).resolve(), folder)
    write_bytes(path, (config_text(shown, _one_line(path.name)) + "\n").encode())


def _one_line(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "?", name)


def _from_folder(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings that a file gives.

    Args:
        path: a TOML file.

    Returns:
        Settings by name, only those in the file: paths absolute, `hidden` as text, `drop` a tuple.

    Raises:
        OptionError: no TOML, an unknown name, a value of the wrong type or out of range; with the
            line.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "train.toml")
        >>> _ = path.write_text('target = "kind"\\nhidden = [8, 4]\\n')
        >>> read_config(path)
        {'target': 'kind', 'hidden': '8,4'}
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    settings = parse_config(content, path.name)
    folder = path.resolve().parent
    for key, value in settings.items():
        if SETTINGS[key].path:
            try:
                settings[key] = str((folder / value).resolve())
            except (OSError, ValueError) as error:
                raise OptionError(f"{path.name}: {key} is no path: {error}.") from None
    return settings


def parse_config(content: bytes, name: str) -> dict[str, Any]:
    """Read settings from the content of a file; see `read_config`.

    Raises:
        OptionError: as `read_config`.
    """
    if len(content) > LARGEST:
        raise OptionError(f"{name} has more than {LARGEST:,} bytes: that is no file of settings.")
    try:
        text = content.decode("utf-8-sig")
        _refuse_long_keys(text)
        plain = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise OptionError(f"{name}, line {line}: this is not UTF-8 text.") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(
            f"{name} cannot be read: {str(error) or 'nested too deeply'}.\n"
            '  expected: TOML, one setting a line: target = "survived"'
        ) from None
    for key, value in plain.items():
        _check(key, value, text, name)
    if "hidden" in plain:
        plain["hidden"] = _hidden(plain["hidden"])
    if "drop" in plain:
        plain["drop"] = tuple(plain["drop"])
    return plain


def _refuse_long_keys(text: str) -> None:
    """Refuse keys of hundreds of parts, a.a.a...: tomllib needs the square of their length.

    Raises:
        ValueError: there is one.
    """
    for number, line in enumerate(_TEXT_OR_COMMENT.sub("", text).split("\n"), start=1):
        if line.count(".") > _MOST_DOTS:
            raise ValueError(f"a key of too many parts (at line {number})")


def _hidden(value: str | int | list[int]) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _check(key: str, value: Any, text: str, name: str) -> None:
    setting = SETTINGS.get(key)
    if setting is not None and setting.fits(value):
        return
    line = line_of(key, text)
    place = name if line is None else f"{name}, line {line}"
    if setting is None:
        near = difflib.get_close_matches(key[:80].replace("-", "_"), SETTINGS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?\n  " if near else ""
        shown = key if len(key) <= 80 else key[:80] + "..."
        raise OptionError(
            _UNKNOWN.format(place=place, key=shown, hint=hint, known=", ".join(SETTINGS))
        )
    given = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    given = given if len(given) <= 80 else given[:80] + "..."
    raise OptionError(_WRONG.format(place=place, key=key, expected=setting.expected, given=given))


def line_of(key: str, text: str) -> int | None:
    """Find the line on which a key of the topmost table is given; None where it is written oddly.

    Example:
        >>> line_of("lr", 'target = \\"\\"\\"\\nlr = 1\\n\\"\\"\\"\\nlr = 2\\n')
        4
    """
    name = re.escape(key)
    start = re.compile(rf"""\s*\[{{0,2}}\s*(?:"{name}"|'{name}'|{name})(?![\w-])""")
    lines = text.split("\n")
    places = [k for k, line in enumerate(lines) if start.match(line)]
    for k in places[:_MOST_PLACES]:
        # What stands before a statement is TOML by itself; before a line inside of one, it is not.
        try:
            before = tomllib.loads("\n".join(lines[:k]) + "\n")
        except (ValueError, RecursionError):
            continue
        if key not in before:
            return k + 1
    return None
