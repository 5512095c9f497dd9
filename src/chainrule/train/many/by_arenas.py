"""Trainings one by one on each thread, by the kernels that a single training has."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...engines.native import compile_loop, crew
from ...io.arrays import Array
from ..ledger import Ledger
from .job import Job, model_states, pieces
from .starts import orders_of

STEPS = 1 << 16  # of a piece after which a thread comes back to Python
ROWS = 1 << 22  # of its order


class ArenaRunner:
    """Runs a job with one memory a thread; the bits are those of single trainings.

    Args:
        job: the trainings.
        model: whose weights are read at the end.

    Raises:
        EngineError: an op has no form on the native engine.
    """

    def __init__(self, job: Job, model: Any) -> None:
        self.job, self.model = job, model
        passes = job.passes
        steps = [*passes.train.steps, *(passes.check.steps if passes.check else ())]
        first = compile_loop(steps, passes.data, threads=1)
        self.compile_seconds = first.compile_seconds
        threads = min(job.threads, len(job.runs))
        self.loops = [first, *(first.twin() for _ in range(threads - 1))]
        self.states = model_states(passes, model)

    def run(self) -> None:
        """Run all trainings, or until the stop word is set."""
        job = self.job

        def work(thread: int, first: int, last: int) -> bool:
            return all(self._train(self.loops[thread], number) for number in range(first, last))

        def watch(share: float) -> None:
            if job.stop[0]:
                for loop in self.loops:
                    loop.stop()
            job.watch(share)

        shares = crew.Shares(len(job.runs), len(self.loops))
        crew.share_out(shares, len(self.loops), work, watch)
        job.table[job.runs[~job.finished[job.runs]]] = np.nan

    def _train(self, loop: Any, number: int) -> bool:
        """One training from its beginning to its end."""
        job, train = self.job, self.job.passes.train
        for place, each in enumerate(job.initial):
            loop.write(place, each.values[0 if each.index is None else each.index[number]])
        ledger = Ledger(train.layout, train.batching)
        which = job.seeds[number]
        key = job.starts.shuffles[which : which + 1]
        most = min(STEPS // train.batching.steps, ROWS // train.batching.used)
        checks: list[list[float]] = []
        for begin, end in self._pieces(most):
            orders = orders_of(train.batching, key, begin, end - begin, train.examples.rows)
            plan = np.tile(train.batching.variant_of_step(), end - begin)
            numbers = self._run(loop, orders, plan, job.numbers[number])
            if numbers is None:
                return False
            ledger.add(numbers)
            if job.passes.check is not None and job.slots[end - 1] >= 0:
                found = self._check(loop, job.numbers[number])
                if found is None:
                    return False
                checks.append(found)
        self._write(loop, number, ledger.means(), checks)
        return True

    def _pieces(self, most: int) -> list[tuple[int, int]]:
        """Epochs in pieces, each of which ends where something is to be evaluated."""
        job = self.job
        if job.passes.check is None:
            return pieces(job.epochs, most)
        ends = [0, *(np.flatnonzero(job.slots >= 0) + 1)]
        return [
            (int(low) + a, int(low) + b)
            for low, high in itertools.pairwise(ends)
            for a, b in pieces(int(high - low), most)
        ]

    def _run(self, loop: Any, orders: Array, plan: Array, numbers: Array) -> Array | None:
        """What the steps report, in their order; None if they were stopped."""
        if self.job.stop[0]:
            return None
        done, reports = loop.reports(orders.reshape(-1), plan, numbers)
        if done < len(plan):
            return None
        used = [kind for kind in range(len(reports)) if len(reports[kind])]
        found = np.empty((len(plan), reports[used[0]].shape[1]))
        for kind in used:
            found[plan == kind] = reports[kind]
        return found

    def _check(self, loop: Any, numbers: Array) -> list[float] | None:
        """The numbers of the validation data at the present state."""
        check, train = self.job.passes.check, self.job.passes.train
        assert check is not None
        order = orders_of(check.batching, self.job.starts.shuffles[:1], 0, 1, check.examples.rows)
        plan = check.batching.variant_of_step() + np.int32(len(train.steps))
        found = self._run(loop, order, plan, numbers)
        if found is None:
            return None
        ledger = Ledger(check.layout, check.batching)
        ledger.add(found)
        return list(ledger.newest().values())

    def _write(self, loop: Any, number: int, means: Array, checks: list[list[float]]) -> None:
        job, run = self.job, self.job.runs[number]
        kept = job.slots >= 0
        job.table[run, :, : means.shape[1]] = means[kept]
        if checks:
            job.table[run, :, means.shape[1] :] = checks
        for name, place in self.states.items():
            job.weights[name][run] = loop.read(place) if isinstance(place, int) else place
        job.finished[run] = True
