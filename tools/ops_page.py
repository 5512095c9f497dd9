"""The page of ops and engines, docs/ops.md, from the records: `python tools/ops_page.py`."""

from __future__ import annotations

import importlib
from pathlib import Path

from chainrule import ops
from chainrule.engines.native.lower.support import FORMS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ops.md"
ENGINES = ("numpy", "native", "xla")
HEAD = """# Ops and engines

Every op of chainrule, made from the records in `src/chainrule/ops/` by `python tools/ops_page.py`;
a test sees to it that the page is up to date. On `numpy` and `xla` each op runs its record's
meaning over NumPy or jax.numpy; the column of the native engine says what the op becomes there.
"""


def written(text: str) -> str:
    """An op's text with a, b, c for its inputs, as a cell of a table may hold it."""
    for place, name in enumerate("abcd"):
        text = text.replace(f"{{{place}}}", name)
    return text.replace("|", "\\|")


def page() -> str:
    """The page's text."""
    support = {
        name: importlib.import_module(f"chainrule.engines.{name}").SUPPORT for name in ENGINES
    }
    lines = ["| op | written | numpy | native | xla |", "| --- | --- | --- | --- | --- |"]
    for op in ops.ALL:
        native = support["native"].get(op.name)
        cells = [
            f"`{op.name}`",
            f"`{written(op.text)}`" if op.text else "",
            "yes" if op.name in support["numpy"] else "no",
            FORMS[native] if native else "no",
            "yes" if op.name in support["xla"] else "no",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    counts = ", ".join(
        f"{name} {sum(op.name in support[name] for op in ops.ALL)} of {len(ops.ALL)}"
        for name in ENGINES
    )
    return f"{HEAD}\n{counts}.\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
