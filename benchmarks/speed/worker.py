"""One process of the suite: its own number of threads, its own libraries, one JSON line a row.

    python -m benchmarks.speed.worker training --threads 2 [--only fnn] [--rounds 7]

Threads are decided by the processors that the process may use: with one thread it is held to one
processor before any library is imported, which all of them respect.
"""

from __future__ import annotations

import argparse
import atexit
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

# Between turns: the threads of the side that has just run wait actively for a while (OpenMP's spin
# for 0.2 s), and would take a processor from the next.
PAUSE = 0.3
CHECKED_STEPS = 10
MAIN = ("PyTorch eager", "torch.compile", "JAX step", "JAX loop", "scikit-learn")
OURS = ("chainrule step", "chainrule fit")


def hold(threads: int) -> None:
    """Keep this process to so many processors."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(allowed[:threads]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # First calls compile: nothing that an earlier run left on the disk is found.
    for name in ("CHAINRULE_CACHE", "TORCHINDUCTOR_CACHE_DIR"):
        os.environ[name] = folder = tempfile.mkdtemp(prefix="benchmark-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def median_of(times: Sequence[float]) -> dict[str, float]:
    """Median, least and most, in microseconds."""
    return {
        "median": 1e6 * statistics.median(times),
        "least": 1e6 * min(times),
        "most": 1e6 * max(times),
    }


def training(only: str, rounds: int, names: Sequence[str], cases: Sequence[Any]) -> Iterator[Any]:
    """Rows of training: every side a turn in every round."""
    from chainrule.engines.native.peak import measured_peak

    from .sides import Side, sides

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    for case in cases:
        if only not in case.name:
            continue
        taking: list[Side] = sides(case, threads if threads == 1 else None, names)
        found: dict[str, dict[str, Any]] = {}
        for side in taking:
            loss = side.losses(min(CHECKED_STEPS, case.steps))
            side.warm()
            found[side.label] = {"loss": None if math.isnan(loss) else loss, "times": []}
        _agree(case, found)
        for _ in range(rounds):
            for side in taking:
                time.sleep(PAUSE)
                found[side.label]["times"].append(side.turn())
        peak = measured_peak(threads)
        row: dict[str, Any] = {
            "case": case.name,
            "batch": case.batch,
            "threads": threads,
            "flops": case.flops,
            "peak": peak,
            "goal": {"chainrule fit": case.fit, "chainrule step": case.step},
            "random": case.random,
            "sides": {},
        }
        for side in taking:
            result = found[side.label]
            numbers = median_of(result["times"])
            row["sides"][side.label] = numbers | {
                "loss": result["loss"],
                "first": side.first_seconds,
                "share": case.flops / numbers["median"] / 1e3 / peak,
            }
        yield row


def _agree(case: Any, found: dict[str, dict[str, Any]]) -> None:
    """Stop when two sides do not train the same."""
    losses = {label: each["loss"] for label, each in found.items() if each["loss"] is not None}
    if not case.random and max(losses.values()) > min(losses.values()) * 1.001 + 1e-6:
        raise SystemExit(f"{case.name}: the losses of the first steps differ: {losses}")


def inference(rounds: int) -> Iterator[Any]:
    """The fnn asked for one example and for a thousand, through Python."""
    import numpy as np
    import torch

    import chainrule as cr
    from chainrule.engines.native.peak import measured_peak

    from .cases import CASES
    from .sides import module, start_of

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    case = next(each for each in CASES if each.name.startswith("fnn"))
    start = start_of(case)
    theirs = module(case, torch.nn)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in start.items()})
    ours = module(case, cr.nn)
    ours.load_state_dict({name: cr.tensor(value) for name, value in start.items()})
    ours.eval()
    theirs.eval()
    compiled = cr.compile(ours, engine="native")
    for rows, calls in ((1, 5000), (1000, 60)):
        x = np.random.default_rng(0).standard_normal((rows, 784)).astype(np.float32)
        mine, other = cr.from_numpy(x), torch.from_numpy(x)
        with cr.no_grad(), torch.no_grad():
            np.testing.assert_allclose(
                compiled(mine).numpy(), theirs(other).numpy(), rtol=1e-3, atol=1e-4
            )
            times: dict[str, list[float]] = {"PyTorch eager": [], "chainrule compiled": []}
            jobs = {
                "PyTorch eager": lambda x=other: theirs(x),
                "chainrule compiled": lambda x=mine: compiled(x),
            }
            for _ in range(rounds):
                for label, job in jobs.items():
                    time.sleep(PAUSE)
                    job()
                    begun = time.perf_counter()
                    for _ in range(calls):
                        job()
                    times[label].append((time.perf_counter() - begun) / calls)
        peak = measured_peak(threads)
        flops = 2 * rows * (784 * 100 + 100 * 10)
        yield {
            "rows": rows,
            "threads": threads,
            "peak": peak,
            "sides": {
                label: median_of(each) | {"share": flops / statistics.median(each) / 1e9 / peak}
                for label, each in times.items()
            },
        }


def layers(only: str, rounds: int) -> Iterator[Any]:
    """The networks of layers: convolution, recurrence, attention."""
    from .. import layers as suite

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    for case in suite.CASES:
        if only not in case.name:
            continue
        row = suite.measure(case, rounds, threads if threads == 1 else None)
        ours, theirs = row.losses
        if abs(ours - theirs) > 0.1 * abs(theirs):  # shuffled against in order
            raise SystemExit(f"{case.name}: the losses differ: {row.losses}")
        grew = suite.memory(case)
        yield {
            "case": case.name,
            "batch": case.batch,
            "threads": threads,
            "goal": case.goal,
            "compiling": row.compiling,
            "losses": row.losses,
            "sides": {
                "PyTorch eager": median_of([t / 1e3 for t in row.peer]) | {"bytes": 1e6 * grew[1]},
                "chainrule fit": median_of([t / 1e3 for t in row.ours]) | {"bytes": 1e6 * grew[0]},
            },
        }


def memory(case_name: str, side_name: str) -> Iterator[Any]:
    """What a side's training adds to the memory of a process that has imported its library."""
    from .cases import CASES, data_of
    from .sides import Fit, Torch, start_of

    case = next(each for each in CASES if each.name == case_name)
    start, data = start_of(case), data_of(case)
    side = Torch(case, start, data) if side_name == Torch.label else Fit(case, start, data, None)
    before = _peak_kilobytes()
    side._train(min(case.steps, 100))
    yield {"case": case_name, "side": side_name, "bytes": 1024 * (_peak_kilobytes() - before)}


def _peak_kilobytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(words: list[str]) -> int:
    """Run one part and print a JSON line for each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("training", "layers", "sizes", "inference", "memory"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sides", nargs="*")
    parser.add_argument("--side", default="")
    options = parser.parse_args(words)
    hold(options.threads)
    warnings.simplefilter("ignore")
    from .cases import CASES, other_sizes

    if options.part == "training":
        rows = training(options.only, options.rounds, options.sides or [*MAIN, *OURS], CASES)
    elif options.part == "sizes":
        names = options.sides or ["PyTorch eager", "chainrule fit"]
        rows = training(options.only, options.rounds, names, other_sizes())
    elif options.part == "layers":
        rows = layers(options.only, options.rounds)
    elif options.part == "inference":
        rows = inference(options.rounds)
    else:
        rows = memory(options.only, options.side)
    for row in rows:
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
