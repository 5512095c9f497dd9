"""What decides a run's bits, and whether it is gone on with under the same."""

from __future__ import annotations

from typing import Any

from ..errors import StoreError
from .examples import Batching, Examples


def settings_of(seed: int, examples: Examples, batching: Batching) -> dict[str, Any]:
    """What decides the bits, in words that an error can show."""
    return {
        "seed": seed,
        "batch size": batching.size,
        "shuffle": batching.shuffle,
        "drop last": batching.drop_last,
        "examples": batching.count,
        "data (digest)": examples.fingerprint(),
    }


def description(trainer: Any) -> dict[str, Any]:
    """How a trainer trains, in words."""
    scheduler = trainer.scheduler
    return {
        "model": repr(trainer.model),
        "loss": repr(trainer.loss),
        "optimizer": repr(trainer.optimizer),
        "metrics": [metric.name for metric in trainer.metrics],
        "scheduler": None if scheduler is None else type(scheduler).__name__,
        "clip": trainer.clip,
    }


def check_same(before: dict[str, Any], now: dict[str, Any], name: str) -> None:
    """Refuse to go on with other settings than those that the run began with.

    Args:
        before: the recorded settings.
        now: the present ones; only what decides the bits is compared.
        name: the run's name.

    Raises:
        StoreError: lists what differs.

    Example:
        >>> check_same({"batch size": 10}, {"batch size": 10}, "a")
        >>> check_same({"batch size": 10}, {"batch size": 20}, "a")
        Traceback (most recent call last):
        ...
        chainrule.errors.StoreError: run 'a' was begun with other settings, ...
          batch size: was 10, is 20
          fix: set them as they were, or train under another name
    """
    lines = [
        f"  {key}: was {before[key]}, is {now[key]}"
        for key in now
        if key in before and before[key] != now[key]
    ]
    if lines:
        raise StoreError(
            f"run {name!r} was begun with other settings, so going on would not continue it.\n"
            + "\n".join(lines)
            + "\n  fix: set them as they were, or train under another name"
        )
