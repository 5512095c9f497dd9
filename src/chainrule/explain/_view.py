"""A view: what an explanation found, as plain data, text, picture and page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..io import write_bytes
from ._drawing import Drawing
from ._matplotlib import need_matplotlib, to_figure
from ._svg import to_svg
from ._theme import FONT, picture_css, variables_css

SUFFIXES = (".svg", ".html", ".txt", ".json", ".png", ".pdf")
UNKNOWN_SUFFIX = (
    "a view cannot be saved as {suffix!r}.\n"
    "  given: {path}\n"
    "  expected: a path that ends in one of {known}\n"
    '  fix: view.save("{stem}.svg")'
)


@dataclass(frozen=True)
class View:
    """What an explanation found: numbers first, then ways to look at them.

    Reading a view never computes, and never changes the model: its numbers were taken when it
    was made.

    Attributes:
        title: One sentence that says what the view shows.
        data: Plain numbers, strings, lists and dictionaries; arrays are NumPy arrays.
    """

    title: str
    data: dict[str, Any] = field(repr=False)
    _lines: Callable[[], list[str]] = field(repr=False)
    _draw: Callable[[], Drawing] = field(repr=False)
    _plot: Callable[[], Any] | None = field(default=None, repr=False)

    def text(self) -> str:
        """Return the view as text, the twin of its picture."""
        return "\n".join(line.rstrip() for line in self._lines())

    def drawing(self) -> Drawing:
        """Return the picture as plain data: marks on a sheet."""
        return self._draw()

    def svg(self) -> str:
        """Return the picture as one SVG text that loads nothing and follows light and dark."""
        return to_svg(self._draw())

    def figure(self) -> Any:
        """Return a `matplotlib.figure.Figure` (extra `plots`).

        Raises:
            MissingExtraError: matplotlib is not installed; the message names the extra.
        """
        need_matplotlib()
        return self._plot() if self._plot is not None else to_figure(self._draw())

    def html(self) -> str:
        """Return a page with the picture and its text twin; it loads nothing."""
        return _page(self.title, to_svg(self._draw(), standalone=False), self.text())

    def save(self, path: str | Path) -> Path:
        """Write the view to a file; the suffix says how: svg, html, txt, json, png or pdf.

        Args:
            path: Where to write; folders above it must exist.

        Returns:
            The path written.

        Raises:
            OptionError: The suffix is none of those above.
            StorageError: The disk is full, the folder is missing or not writable; a file that was
                there before is unchanged.
            MissingExtraError: png and pdf need matplotlib (extra `plots`).
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            details = {"suffix": suffix, "known": known, "path": target, "stem": target.stem}
            raise OptionError(UNKNOWN_SUFFIX.format(**details))
        if suffix in (".png", ".pdf"):
            self.figure().savefig(target)
        else:
            write_bytes(target, self._written(suffix).encode())
        return target

    def _written(self, suffix: str) -> str:
        if suffix == ".svg":
            return self.svg()
        if suffix == ".html":
            return self.html()
        if suffix == ".json":
            return json.dumps(plain(self.data), indent=1, ensure_ascii=False)
        return self.text() + "\n"

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str:
        return self.svg()


def plain(value: Any) -> Any:
    """Turn arrays and NumPy numbers into what JSON knows; NaN and infinity become text.

    Example:
        >>> plain({"a": np.array([1.0, np.inf])})
        {'a': [1.0, 'inf']}
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def _page(title: str, svg: str, text: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{variables_css(":root")}{picture_css()}
body{{margin:0 auto;max-width:72rem;padding:1rem;background:var(--cr-paper);color:var(--cr-ink);
font-family:{FONT};line-height:1.5}}
h1{{font-size:1.25rem}} figure{{margin:0;overflow-x:auto}} figure .cr{{max-width:none}}
pre{{background:var(--cr-panel);padding:1rem;border-radius:.5rem;overflow-x:auto;line-height:1.35}}
</style></head><body>
<h1>{escape(title)}</h1>
<figure>{svg}</figure>
<h2>The same as text</h2>
<pre tabindex="0">{escape(text)}</pre>
</body></html>
"""
