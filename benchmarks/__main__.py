"""Run the benchmarks: `python -m benchmarks`, or some of them: `python -m benchmarks eager`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from ._measure import heading

ALL = ("eager", "tutorials", "overhead", "training", "limits", "tables", "mnist", "ulp")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    print(heading())
    for name in names or ALL:
        print(flush=True)
        if name == "training":  # a program of its own, with its own options and table
            script = Path(__file__).with_name("training.py")
            subprocess.run([sys.executable, str(script)], check=True)
        else:
            print(importlib.import_module(f"benchmarks.{name}").run(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
