"""Run the benchmarks: `python -m benchmarks`, or some of them: `python -m benchmarks eager`.

`speed` has options of its own: `python -m benchmarks speed --only fnn --threads 2`.
"""

from __future__ import annotations

import importlib
import sys

from ._measure import heading
from .speed import run as speed

ALL = (
    *("eager", "convolution_eager", "tutorials", "overhead", "speed", "layers", "many", "limits"),
    *("tables", "mnist", "drawing", "ulp", "products"),
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    if names[:1] == ["speed"]:
        return speed.main(names[1:])
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    print(heading())
    for name in names or ALL:
        print(flush=True)
        if name == "speed":
            speed.main(["--save"])
        else:
            print(importlib.import_module(f"benchmarks.{name}").run(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
