"""Kill trainings with SIGKILL at random moments, resume them, and compare every bit at the end.

    python benchmarks/kill_resume.py --kills 20

Each trial trains a network with dropout and Adam on scikit-learn's handwritten digits in a process
of its own, kills it at a moment drawn uniformly from the training's length, checks the database,
resumes, and compares parameters, optimizer state and history with those of a run that was never
broken. Every fourth trial kills the resumed process once more. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EPOCHS = {"numpy": 60, "native": 4000}
STARTED = "training has started"


def train(name: str, epochs: int, engine: str) -> str:
    """Train or resume the run `name`; returns the digest of all that it reached."""
    import chainrule as cr
    from chainrule import nn
    from chainrule.train import recorder

    # Checkpoints a hundred times as often as usual, so that kills fall before, in and after them.
    recorder.CHECKPOINT_INTERVAL = recorder.LONG_EPOCH = recorder.METRICS_INTERVAL = 0.1
    digits = cr.data.load("digits")
    x, y = digits.arrays()
    cr.manual_seed(0)
    layers = nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
    model = nn.Sequential(*layers)
    optimizer = cr.optim.Adam(model.parameters(), lr=1e-3)
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optimizer, engine=engine, seed=1)
    print(STARTED, flush=True)
    run = trainer.fit((x, y), epochs=epochs, batch_size=50, run=name, resume=True)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    for held in optimizer.state_dict()["state"].values():
        for moment in held.values():
            digest.update(np.asarray(moment.numpy()).tobytes())
    for series in run.history.values():
        digest.update(series.tobytes())
    assert all(len(series) == epochs for series in run.history.values())
    return digest.hexdigest()


def start(name: str, options: argparse.Namespace, home: Path) -> subprocess.Popen[str]:
    """Start a process that trains; returns when its training begins."""
    command = [sys.executable, __file__, "--child", name, "--engine", options.engine]
    command += ["--epochs", str(options.epochs)]
    environment = os.environ | {"CHAINRULE_HOME": str(home)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.strip() == STARTED, line
    return process


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process to end by itself; returns the digest that it prints."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a training ended with code {process.returncode}")
    return out.strip()


def kill(process: subprocess.Popen[str], after: float) -> bool:
    """Kill a process after some seconds; returns whether it was still running."""
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finally:
        assert process.stdout is not None
        process.stdout.close()


def integrity(home: Path) -> str:
    """What SQLite says of the database's pages and indices."""
    connection = sqlite3.connect(home / "runs.sqlite3")
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def main() -> int:
    """Run the trials and print one line on each and one on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=20, help="trials")
    parser.add_argument("--engine", default="native", choices=sorted(EPOCHS))
    parser.add_argument("--epochs", type=int, help="length of a training")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.epochs = options.epochs or EPOCHS[options.engine]
    if options.child:
        print(train(options.child, options.epochs, options.engine))
        return 0
    draw = random.Random(options.seed)
    same = intact = killed = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        begun = time.perf_counter()
        reference = start("unbroken", options, home)
        begun = time.perf_counter()
        expected = finish(reference)
        length = time.perf_counter() - begun
        for trial in range(options.kills):
            name, moments = f"trial {trial}", []
            for _ in range(2 if trial % 4 == 3 else 1):
                after = draw.uniform(0, length)
                if kill(start(name, options, home), after):
                    moments.append(f"{after:.2f} s")
                    killed += 1
                intact += integrity(home) == "ok"
            got = finish(start(name, options, home))
            same += got == expected
            how = "killed at " + " and ".join(moments) if moments else "ended before the kill"
            print(f"{name}: {how}: {'same bits' if got == expected else 'OTHER BITS'}", flush=True)
        checks = options.kills + options.kills // 4
        print(
            f"{options.engine}: {killed} kills in {options.kills} trainings of {length:.1f} s, "
            f"{same} of {options.kills} resumed to the same bits, "
            f"database intact {intact} of {checks} times (seed {options.seed})"
        )
    return 0 if same == options.kills and intact == checks else 1


if __name__ == "__main__":
    sys.exit(main())
