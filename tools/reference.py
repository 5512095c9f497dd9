"""Write the reference: `python tools/reference.py build/docs`, one page for each public room.

The rooms export names that private modules define. pdoc documents what a module defines itself or
names in `__all__`, so the exported names are put there, here only, before it looks.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pdoc

ROOMS = (
    "chainrule",
    "chainrule.nn",
    "chainrule.nn.functional",
    "chainrule.nn.init",
    "chainrule.optim",
    "chainrule.data",
    "chainrule.train",
    "chainrule.explain",
    "chainrule.diagnose",
    "chainrule.report",
    "chainrule.autograd",
    "chainrule.graph",
    "chainrule.ops",
    "chainrule.autodiff",
    "chainrule.io",
    "chainrule.errors",
)


def exported(room: ModuleType) -> list[str]:
    """Name what a room offers: public classes, functions and values of chainrule, no modules."""
    found = []
    for name, value in vars(room).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        origin = getattr(value, "__module__", None) or type(value).__module__
        if str(origin).startswith("chainrule"):
            found.append(name)
    return sorted(found, key=str.casefold)


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    warnings.simplefilter("ignore")
    for name in ROOMS:
        room = importlib.import_module(name)
        room.__all__ = exported(room)  # type: ignore[attr-defined]
    pdoc.render.configure(docformat="google", show_source=True)
    hidden = ["!chainrule\\.(.*\\.)?_.*"]
    others = {path.stem for path in Path("src/chainrule").iterdir() if path.suffix in ("", ".py")}
    listed = {name.split(".")[1] for name in ROOMS if "." in name}
    hidden += [f"!chainrule.{name}" for name in sorted(others - listed) if name[0] != "_"]
    hidden += [f"!{name}\\..*" for name in ROOMS[1:] if name != "chainrule.nn"]
    pdoc.pdoc(*ROOMS, *hidden, output_directory=folder)
    print(f"Read {folder / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
