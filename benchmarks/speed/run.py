"""The suite: processes for each number of threads, one JSON file, one page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .._measure import heading
from . import page
from .cases import CASES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"


def rows_of(part: str, threads: int, options: argparse.Namespace, *more: str) -> list[Any]:
    """Run one process and collect its rows; each is shown as it comes."""
    command = [sys.executable, "-m", "benchmarks.speed.worker", part, "--threads", str(threads)]
    command += ["--rounds", str(options.rounds), *more]
    if options.only and part in ("training", "layers", "sizes"):
        command += ["--only", options.only]
    if options.sides and part == "training":
        command += ["--sides", *options.sides]
    found = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found.append(json.loads(line))
                print(page.line_of(part, found[-1]), flush=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return found


def versions() -> dict[str, str]:
    """Of what takes part."""
    import jax
    import llvmlite
    import sklearn
    import torch

    modules = {
        "torch": torch,
        "jax": jax,
        "scikit-learn": sklearn,
        "numpy": np,
        "llvmlite": llvmlite,
    }
    found = {name: module.__version__ for name, module in modules.items()}
    return {"python": platform.python_version(), **found}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All parts that were asked for."""
    result: dict[str, Any] = {
        "heading": heading(),
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions(),
    }
    path = RESULTS / f"{result['date']}.json"
    known = json.loads(path.read_text()) if options.save and path.exists() else {}
    for part in ("training", "layers", "sizes", "inference"):
        # A part that was measured earlier on this day stays where it is not measured anew.
        result[part] = [] if part in options.parts else known.get(part, [])
        if part in options.parts:
            every = part in ("training", "inference")
            counts = options.threads if every else [max(options.threads)]
            for threads in counts:
                print(f"-- {part}, {threads} thread{'s' if threads > 1 else ''}", flush=True)
                result[part] += rows_of(part, threads, options)
    result["memory"] = [] if "memory" in options.parts else known.get("memory", [])
    if "memory" in options.parts:
        print("-- memory", flush=True)
        for case in CASES:
            if options.only in case.name:
                for side in ("PyTorch eager", "chainrule fit"):
                    more = ("--only", case.name, "--side", side)
                    result["memory"] += rows_of("memory", max(options.threads), options, *more)
    return result


def main(words: list[str]) -> int:
    """Measure, print, and write where asked."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, min(2, usable)}))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--sides", nargs="*", help="who takes part in training; all by default")
    parser.add_argument(
        "--parts", nargs="*", default=["training", "layers", "sizes", "inference", "memory"]
    )
    parser.add_argument("--save", action="store_true", help="write results/DATE.json and the page")
    options = parser.parse_args(words)
    print(heading())
    result = measure(options)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{result['date']}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        PAGE.write_text(page.page(result))
        print(f"written: {path.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")
    return 0
