"""Drawing from the distribution that scores stand for."""

from __future__ import annotations

import math
from typing import Any

from ..config import set_state
from ..errors import OptionError
from ..tensor import Generator, Tensor, default_generator
from ..tensor._more import topk
from ._common import float_node, located


def sample(
    logits: Tensor,
    temperature: float | Tensor = 1.0,
    top_k: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Draw classes with the probabilities `softmax(logits / temperature)`.

    The largest of scores with Gumbel noise added is such a draw (Gumbel, 1954; Vieira, Gumbel-max
    trick and weighted reservoir sampling, 2014), so nothing is summed up and compiled code draws
    as eager code does.

    Args:
        logits: scores of the classes on the last axis, (..., classes).
        temperature: below 1 prefers likely classes, above 1 evens them out; 0 takes the likeliest.
            A 0-d tensor may be given to compiled code, so that changing it compiles nothing anew.
        top_k: draw from this many of the likeliest classes only.
        generator: where the random numbers come from; None is the global generator.

    Returns:
        int64, (...).

    Raises:
        OptionError: for a temperature below 0, or a top_k that is not from 1 to the classes.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[0.0, 5.0, 1.0], [9.0, 0.0, 0.0]])
    >>> sample(scores, temperature=0.0).tolist(), sample(scores, top_k=1).tolist()
    ([1, 0], [1, 0])
    """
    float_node(logits, "sample", "logits")
    with set_state(grad_enabled=False):
        return _drawn(logits, temperature, top_k, generator)


def _drawn(
    logits: Tensor, temperature: float | Tensor, top_k: int | None, generator: Generator | None
) -> Tensor:
    classes = logits.shape[-1] if logits.ndim else 0
    if top_k is not None and not 1 <= top_k <= classes:
        raise located(
            OptionError, f"sample: top_k must be from 1 to the {classes} classes; given {top_k}"
        )
    known = not isinstance(temperature, Tensor)
    if known and not temperature >= 0:
        raise located(OptionError, f"sample: temperature must be 0 or more; given {temperature}")
    scores: Any = logits.detach()
    if known and temperature == 0:
        likeliest: Tensor = scores.argmax(-1)
        return likeliest
    if top_k is not None:
        least = topk(scores, top_k).values[..., -1:]
        scores = scores.masked_fill(scores < least, -math.inf)
    chance = (generator or default_generator()).uniform(tuple(scores.shape))
    noise = -(-chance.to(scores.dtype).log()).log()
    drawn: Tensor = (scores / temperature + noise).argmax(-1)
    return drawn
