"""Kernels that were written once: their texts are kept, in memory and beside the machine code.

Writing a kernel's text takes longer than all other planning. A kernel is the same wherever its
writer, its arguments, the processor and this package's own code are; only kernels of the library's
ops are kept on disk, since a user's op may change its meaning under its name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...graph.node import Op
from . import cache
from .emit.ir import Module
from .kernels.common import Kernel

_MOST = 4096  # kernels kept in memory
_texts: dict[Any, tuple[Module, Kernel]] = {}
_lock = threading.Lock()


def written(module: Module, key: tuple[Any, ...], make: Callable[[Module], Kernel]) -> Kernel:
    """The kernel of a key in a module, written only where it is not known yet.

    Args:
        module: where it goes.
        key: the writer and all that it depends on besides the target, as plain data.
        make: writes it.
    """
    whole = (module.target, key)
    with _lock:
        found = _texts.get(whole)
    if found is None:
        found = _from_disk(module, key, make)
        with _lock:
            while len(_texts) >= _MOST:
                _texts.pop(next(iter(_texts)))
            _texts[whole] = found
    alone, kernel = found
    module.include(alone)
    return kernel


def _from_disk(
    module: Module, key: tuple[Any, ...], make: Callable[[Module], Kernel]
) -> tuple[Module, Kernel]:
    name = _name(module, key)
    alone = Module(module.target)
    content = cache.load(name) if name else None
    if content is not None:
        known = json.loads(content)
        alone.fill(known["functions"], known["declarations"])
        fields = known["kernel"]
        lists = {name: tuple(v) for name, v in fields.items() if isinstance(v, list)}
        return alone, Kernel(**fields | lists)
    kernel = make(alone)
    if name:
        functions, declarations = alone.parts()
        record = {
            "kernel": dataclasses.asdict(kernel),
            "functions": functions,
            "declarations": declarations,
        }
        cache.save_later(name, json.dumps(record).encode())
    return alone, kernel


def _name(module: Module, key: tuple[Any, ...]) -> str | None:
    """A file name for a kernel; None for one that is not kept on disk."""
    if cache.folder() is None or not all(_is_own(op) for op in _ops(key)):
        return None
    writer = key[0]
    text = f"{writer.__module__}.{writer.__qualname__} {key[1:]!r} {module.target!r}"
    if " at 0x" in text:  # an object without a text of its own
        return None
    return hashlib.sha256(f"{_sources()} {text}".encode()).hexdigest() + ".kernel"


def _is_own(op: Op) -> bool:
    return op.scalar is None or op.scalar.__module__.split(".")[0] == "chainrule"


def _ops(value: Any) -> Iterator[Op]:
    if isinstance(value, Op):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _ops(each)


@functools.cache
def _sources() -> str:
    """A hash of the code that kernels are made by."""
    native = Path(__file__).parent
    whole = hashlib.sha256()
    for folder in (native, native.parent.parent / "ops"):
        for path in sorted(folder.rglob("*.py")):
            whole.update(path.read_bytes())
    return whole.hexdigest()
