"""How a module prints: its settings, and its children under it, indented, in PyTorch's form."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._module import Module


def describe(module: Module) -> str:
    """Return the text of `repr(module)`; equal neighbours in a list fold into one line."""
    settings = module.extra_repr()
    children = [f"({name}): {_indent(text)}" for name, text in _children(module)]
    title = type(module).__name__
    if not children:
        return f"{title}({_indent(settings)})"
    body = "\n  ".join([*settings.splitlines(), *children])
    return f"{title}(\n  {body}\n)"


def _children(module: Module) -> list[tuple[str, str]]:
    texts = [(name, repr(child)) for name, child in module._modules.items()]
    if module._called:
        return texts
    folded: list[tuple[str, str]] = []
    for text, group in groupby(texts, key=lambda item: item[1]):
        names = [name for name, _ in group]
        if len(names) == 1 or not names[0].isdigit():
            folded.extend((name, text) for name in names)
        else:
            folded.append((f"{names[0]}-{names[-1]}", f"{len(names)} x {text}"))
    return folded


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
