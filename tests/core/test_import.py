"""What `import chainrule` costs: NumPy's own time plus 40 ms, and no library but NumPy."""

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "llvmlite", "typer", "click", "rich", "sqlite3", "safetensors", "jax", "torch", "sklearn",
    "scipy", "matplotlib", "polars", "pandas", "mygrad", "onnx", "asyncio", "multiprocessing",
    "chainrule.engines.native", "chainrule.engines.xla", "chainrule.cli", "chainrule.explain",
    "chainrule.report", "chainrule.diagnose",
)  # fmt: skip
ALLOWANCE = 0.040
"""Seconds on top of NumPy's own."""


def python(code: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    if variables:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )


def test_only_numpy_is_imported():
    code = (
        "import numpy, sys; before = set(sys.modules); import chainrule; "
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = python(code).stdout.split()
    assert "chainrule" in loaded
    assert [name for name in HEAVY if name in loaded] == []
    outside = {name.partition(".")[0] for name in loaded} - {"chainrule"}
    foreign = outside - set(sys.stdlib_module_names)
    assert foreign <= {"numpy"}


def seconds(module: str, cache: Path) -> float:
    """Give the time of an import as -X importtime has it: the module's own and all it brings."""
    code = f"import numpy\nimport {module}"
    lines = python(code, "-X", "importtime", PYTHONPYCACHEPREFIX=str(cache)).stderr.splitlines()
    line = next(line for line in reversed(lines) if line.endswith(f"| {module}"))
    found = re.search(r"\|\s*(\d+)\s*\|", line)
    assert found is not None
    return int(found[1]) / 1e6


def test_the_import_takes_less_than_40_milliseconds_more_than_numpy(tmp_path):
    seconds("chainrule", tmp_path)  # the byte code is written once, as an installation does
    times = [seconds("chainrule", tmp_path) for _ in range(5)]
    # The least of several: another process on the machine can only add.
    assert min(times) < ALLOWANCE, f"median {statistics.median(times):.3f} s of {times}"


@pytest.mark.parametrize("room", ["explain", "diagnose", "report", "nn", "optim", "data"])
def test_a_room_is_reached_by_its_name_alone(room):
    python(f"import chainrule as cr; cr.{room}")


def test_the_package_is_typed():
    from importlib.resources import files

    assert files("chainrule").joinpath("py.typed").is_file()
