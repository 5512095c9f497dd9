"""What each training begins with: weights, random streams, the order of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ModuleError, OptionError
from ...io.arrays import Array
from ...random import permutations, stream_keys
from ...tensor._random import default_generator
from ..examples import Batching
from ..randomness import START
from .settings import Settings


@dataclass(frozen=True)
class Starts:
    """The beginnings of all trainings.

    Attributes:
        seeds: the seeds that occur; one entry where there is one for all.
        of_run: int64 (trainings,), which of the seeds each training has.
        weights: initial values by state name, (starts, ...); None for the model's own.
        start_of_run: int64 (trainings,), which of the starts each training has.
        shuffles: uint32 (seeds, 2), the key of each seed's shuffle.
        streams: whether random numbers are drawn from a stream of the seed; else from the default
            generator as it stands.
    """

    seeds: tuple[int, ...]
    of_run: Array
    weights: dict[str, Array] | None
    start_of_run: Array
    shuffles: Array
    streams: bool


def read_starts(settings: Settings, initialize: Any, model: Any, seed: int | None) -> Starts:
    """The beginnings that settings, seeds and initial weights mean.

    Args:
        settings: what each training is given.
        initialize: a function without arguments that makes the model (or its state dict), called
            once for each seed, after ``cr.manual_seed``; or a list of models or state dicts, one
            for each training or for each entry of a grid's axis; None for the model's own weights.
        model: the trainer's.
        seed: the trainer's; None takes the default generator's.

    Raises:
        OptionError, ModuleError: `initialize` gives no weights, or not those of the model.
    """
    chosen = settings.columns.get("seed")
    fixed = settings.fixed.get("seed", seed)
    streams = chosen is not None or fixed is not None
    if chosen is None:
        chosen = [default_generator().initial_seed() if fixed is None else fixed]
    seeds = tuple(dict.fromkeys(chosen))
    place = {number: k for k, number in enumerate(seeds)}
    of_run = np.array([place[number] for number in chosen], np.int64)
    of_run = np.broadcast_to(of_run, settings.count) if len(of_run) == 1 else of_run
    weights, start_of_run = None, np.zeros(settings.count, np.int64)
    if _makes(initialize):
        weights = _stacked(list(_made(initialize, seeds)), model)
        start_of_run = of_run
    elif initialize is not None:
        weights = _stacked([_state(given) for given in initialize], model)
        start_of_run = np.array(settings.columns["start"], np.int64)
    shuffles = stream_keys(seeds, "shuffle")
    return Starts(seeds, of_run, weights, start_of_run, shuffles, streams)


def listed(initialize: Any) -> int | None:
    """How many initial weights are listed; None for a function or none at all.

    Raises:
        OptionError: it is neither.
    """
    if initialize is None or _makes(initialize):
        return None
    if isinstance(initialize, Sequence) and not isinstance(initialize, (str, bytes)):
        return len(initialize)
    raise OptionError(
        "initialize must be a function that makes the model, or a list of models or state dicts.\n"
        f"  given: {type(initialize).__name__}\n"
        "  fix: initialize=lambda: nn.Sequential(...), or initialize=[model.state_dict(), ...]"
    )


def _makes(initialize: Any) -> bool:
    """Whether it is a function or a class that makes a model, and no model itself."""
    return isinstance(initialize, type) or (
        callable(initialize) and not hasattr(initialize, "state_dict")
    )


def _made(initialize: Callable[[], Any], seeds: Sequence[int]) -> Iterator[dict[str, Array]]:
    with preserved():
        for seed in seeds:
            default_generator().manual_seed(seed)
            yield _state(initialize())


@contextmanager
def preserved() -> Iterator[None]:
    """Put the default generator back as it was."""
    before = default_generator().get_state()
    try:
        yield
    finally:
        default_generator().set_state(before)


def _state(given: Any) -> dict[str, Array]:
    """The arrays of a model or of a state dict."""
    content = given.state_dict() if hasattr(given, "state_dict") else given
    if not isinstance(content, dict):
        raise OptionError(
            f"initialize must give a model or a state dict.\n  given: {type(given).__name__}\n"
            "  fix: return the model that was made"
        )
    return {
        name: np.array(value.detach().numpy() if hasattr(value, "detach") else value)
        for name, value in content.items()
    }


def _stacked(states: list[dict[str, Array]], model: Any) -> dict[str, Array]:
    """The states one behind the other, checked against the model's."""
    held = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    for number, state in enumerate(states):
        for name in [*held, *state]:
            expected = held[name].shape if name in held else "no such name"
            given = state[name].shape if name in state else "nothing"
            if expected != given:
                raise ModuleError(
                    f"initial weights number {number} are not those of the trainer's model.\n"
                    f"  given: {name} of shape {given}\n  expected: {expected}\n"
                    "  fix: make the model as the trainer's was made"
                )
    return {
        name: np.stack([state[name] for state in states]).astype(own.dtype)
        for name, own in held.items()
    }


def streams_of(seeds: Sequence[int]) -> tuple[Array, Array]:
    """Keys (seeds, 2) and counter of what trainings of these seeds draw while they run."""
    return stream_keys(seeds, default_generator().stream), np.asarray(START, np.int64)


def orders_of(batching: Batching, keys: Array, first: int, epochs: int, rows: Any) -> Array:
    """The rows that trainings visit in some epochs: int32 (keys, epochs, used).

    Args:
        batching: how an epoch is cut.
        keys: uint32 (keys, 2), of the shuffles.
        first, epochs: which epochs.
        rows: int32, the rows that belong; None for all.
    """
    if batching.blocks:
        order = permutations(keys, first * batching.blocks, batching.count, epochs)
    else:
        every = np.arange(batching.used, dtype=np.int32)
        order = np.broadcast_to(every, (len(keys), epochs, batching.used))
    order = order[..., : batching.used]
    return np.ascontiguousarray(order if rows is None else rows[order], np.int32)
