"""`save` and `load`: dictionaries, lists, numbers, text and arrays in one safetensors file.

The numbers are the file's arrays, under readable names, so that any safetensors reader sees them;
how they nest is JSON text in its metadata. Loading builds dictionaries, lists, numbers and arrays
and executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DTypeError
from ..tensor import Tensor
from .arrays import Array, decode_arrays, encode_arrays, read_arrays
from .files import Pathlike, StorageError, write_bytes

_NESTING = "chainrule.nesting"
_PLAIN = (str, int, float, bool, type(None))
_KEYS = (str, int, float, bool)


def save(obj: Any, f: Pathlike | BinaryIO) -> None:
    """Save a state dict, or any nesting of dicts, lists and tuples of tensors, numbers and text.

    Args:
        obj: what to save; tensors and arrays of any shape are its leaves.
        f: a path, written whole or not at all, or a binary file open for writing. The file is
            safetensors whatever its suffix.

    Raises:
        DTypeError: something in it is neither of these, for example a whole module.
        StorageError: full disk, no permission, no folder; an older file stays as it was.

    Example:
        >>> import chainrule as cr, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cr.save({"epoch": 3, "model": {"weight": cr.zeros(2)}}, f"{folder}/net.safetensors")
        ...     cr.load(f"{folder}/net.safetensors")["epoch"]
        3
    """
    content = encode_tree(obj)
    if isinstance(f, (str, Path)) or hasattr(f, "__fspath__"):
        write_bytes(f, content)
    else:
        f.write(content)


def load(f: Pathlike | BinaryIO) -> Any:
    """Load what :func:`save` wrote, or any safetensors file as a dict of tensors.

    Args:
        f: a path, or a binary file open for reading.

    Returns:
        The same nesting: tensors where tensors were saved, NumPy arrays where arrays were.

    Raises:
        StorageError: the file was cut short or is not safetensors.
        FileNotFoundError: there is no such file.

    Example:
        >>> import chainrule as cr, io
        >>> file = io.BytesIO()
        >>> cr.save({"weight": cr.ones(2)}, file)
        >>> cr.load(io.BytesIO(file.getvalue()))["weight"].tolist()
        [1.0, 1.0]
    """
    if isinstance(f, (str, Path)) or hasattr(f, "__fspath__"):
        arrays, metadata = read_arrays(f)
        return _rebuild(arrays, metadata, str(f))
    return decode_tree(f.read(), where="the file")


def encode_tree(obj: Any) -> bytes:
    """The content of the file that :func:`save` writes.

    Example:
        >>> decode_tree(encode_tree({"rates": [0.1, 0.2], "name": "adam"}))
        {'rates': [0.1, 0.2], 'name': 'adam'}
    """
    arrays, metadata = flatten_tree(obj)
    return encode_arrays(arrays, metadata)


def decode_tree(content: bytes, *, where: str = "the content") -> Any:
    """Read what :func:`encode_tree` made; `where` is how errors name it.

    Example:
        >>> decode_tree(encode_tree([1, (2, "three")]))
        [1, (2, 'three')]
    """
    return _rebuild(*decode_arrays(content, where=where), where)


def flatten_tree(obj: Any) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays by readable name, and metadata that tells how they nest.

    Example:
        >>> arrays, metadata = flatten_tree({"model": {"weight": np.zeros(2)}, "epoch": 3})
        >>> list(arrays)
        ['model.weight']
    """
    arrays: dict[str, Array] = {}
    nesting = _describe(obj, "", arrays)
    return arrays, {_NESTING: json.dumps(nesting, separators=(",", ":"))}


def _describe(obj: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The JSON form of `obj`: plain values as they are, the rest as one-entry objects."""
    if isinstance(obj, (Tensor, np.ndarray)):
        kind = "tensor" if isinstance(obj, Tensor) else "array"
        name = _free_name(path or "value", arrays)
        arrays[name] = obj.detach().numpy() if isinstance(obj, Tensor) else obj
        return {kind: name}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, _PLAIN):
        return obj
    if isinstance(obj, Mapping):
        pairs = obj.items()
        if all(isinstance(key, _KEYS) for key in obj):
            return {"dict": [[key, _describe(item, _under(path, key), arrays)]
                             for key, item in pairs]}  # fmt: skip
    if isinstance(obj, (list, tuple)):
        items = [_describe(item, _under(path, place), arrays) for place, item in enumerate(obj)]
        return {"list" if isinstance(obj, list) else "tuple": items}
    raise _refused(obj, path)


def _refused(obj: Any, path: str) -> DTypeError:
    where = f" at {path!r}" if path else ""
    fix = "keep only tensors, arrays, numbers, text, dicts (text or number keys), lists and tuples"
    if hasattr(obj, "state_dict"):
        fix = "save its state_dict(), and give it to load_state_dict() of a new one after loading"
    return DTypeError(
        f"save() cannot write what is{where or ' given'}.\n  given: {type(obj).__name__}\n"
        f"  fix: {fix}"
    )


def _under(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _free_name(name: str, taken: Mapping[str, Array]) -> str:
    candidate, count = name, 1
    # "__metadata__" is the one name that the format keeps for itself.
    while candidate in taken or candidate == "__metadata__":
        count += 1
        candidate = f"{name}#{count}"
    return candidate


def _rebuild(arrays: Mapping[str, Array], metadata: Mapping[str, str], where: str) -> Any:
    if _NESTING not in metadata:
        return {name: Tensor(array) for name, array in arrays.items()}
    try:
        return _build(json.loads(metadata[_NESTING]), arrays)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StorageError(
            f"{where} does not say how its arrays nest: {error!r}.\n"
            f"  fix: read the arrays alone with chainrule.io.read_arrays({where!r})"
        ) from error


def _build(form: Any, arrays: Mapping[str, Array]) -> Any:
    if not isinstance(form, dict):
        return form
    ((kind, content),) = form.items()
    if kind == "array":
        return arrays[content]
    if kind == "tensor":
        return Tensor(arrays[content])
    if kind == "dict":
        return {key: _build(item, arrays) for key, item in content}
    items = [_build(item, arrays) for item in content]
    return items if kind == "list" else tuple(items)
