"""Two networks against each other: one draws, the other tells drawings from real examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import RandomSampler
from ..errors import DataError, OptionError
from ..functional import binary_cross_entropy_with_logits
from ..io.arrays import Array
from ..tensor import Tensor, default_generator
from ..tensor._compile import compile as compiled
from ..tensor._create import full_like
from ..tensor._grad import no_grad
from ..tensor._random import randn
from .eager import evaluating
from .state import plain

SERIES = ("generator_loss", "discriminator_loss", "real_score", "drawn_score")


class Adversarial:
    """Trains a generator and a discriminator in turns (a GAN), both updates in one compiled step.

    The discriminator D learns to give real examples a high score and drawings G(z) a low one; the
    generator learns to make D give its drawings a high one (the form that does not saturate).
    Source: Goodfellow et al., Generative adversarial nets (2014).

    Args:
        generator: makes examples of noise, (batch, noise) to (batch, ...).
        discriminator: gives a score, a logit, to each example: (batch, 1) or (batch,).
        generator_optimizer, discriminator_optimizer: over the parameters of one network each.
        noise: numbers of noise that a drawing is made of.
        smoothing: real examples are to get the probability 1 - smoothing (Salimans et al., Improved
            techniques for training GANs, 2016).
        engine: as for `cr.compile`.

    Attributes:
        history: for each epoch the means of both losses and of the probabilities of being real
            that D gave real examples and drawings; float64 arrays by name.

    Raises:
        OptionError: for settings out of range.

    Example:
        >>> import chainrule as cr
        >>> _ = cr.manual_seed(0)
        >>> g, d = cr.nn.Linear(2, 1), cr.nn.Linear(1, 1)
        >>> gan = Adversarial(
        ...     g, d, cr.optim.Adam(g.parameters()), cr.optim.Adam(d.parameters()), noise=2
        ... )
        >>> history = gan.fit(np.random.default_rng(0).normal(3.0, 1.0, (64, 1)), batch_size=16)
        >>> len(history["generator_loss"]), gan.draw(5).shape
        (1, (5, 1))
    """

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        generator_optimizer: Any,
        discriminator_optimizer: Any,
        *,
        noise: int,
        smoothing: float = 0.0,
        engine: str = "auto",
    ) -> None:
        if noise < 1 or not 0 <= smoothing < 1:
            raise OptionError(
                "Adversarial: noise must be 1 or more, smoothing from 0 to below 1.\n"
                f"  given: noise={noise}, smoothing={smoothing}"
            )
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.noise = noise
        self.smoothing = smoothing
        self.history: dict[str, Array] = {name: np.zeros(0) for name in SERIES}
        self._compiled = compiled(self.step, engine=engine)

    def step(self, real: Tensor) -> tuple[Tensor, ...]:
        """Update both networks once on a batch of real examples; returns the numbers of a batch."""
        first, second = self.generator_optimizer, self.discriminator_optimizer
        count = real.shape[0]
        second.zero_grad()
        with no_grad():
            drawn = self.generator(self._chance(count, real))
        on_real, on_drawn = self.discriminator(real), self.discriminator(drawn)
        blame = _loss(on_real, 1.0 - self.smoothing) + _loss(on_drawn, 0.0)
        blame.backward()
        second.step()
        first.zero_grad()
        praise = _loss(self.discriminator(self.generator(self._chance(count, real))), 1.0)
        praise.backward()
        first.step()
        # The discriminator's share of that gradient is for no one.
        first.zero_grad()
        second.zero_grad()
        scores = [one.detach().sigmoid().mean() for one in (on_real, on_drawn)]
        return praise.detach(), blame.detach(), *scores

    def _chance(self, count: int, like: Tensor) -> Tensor:
        return randn(count, self.noise, dtype=like.dtype)

    def fit(self, x: Any, *, epochs: int = 1, batch_size: int = 64) -> dict[str, Array]:
        """Train for some passes over real examples, in a new random order each.

        Args:
            x: real examples, (examples, ...), an array or a tensor.
            epochs: how many passes.
            batch_size: examples in a step; those that fill no batch are left out of the pass.

        Returns:
            `history`, with this fit's epochs at its end.

        Raises:
            DataError: when there are fewer examples than a batch has.
        """
        like = next(self.generator.parameters()).dtype.np
        array = (x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)).astype(like)
        steps = len(array) // batch_size if batch_size >= 1 else 0
        if not steps:
            raise DataError(f"Adversarial: {len(array)} examples make no batch of {batch_size}")
        self.generator.train()
        self.discriminator.train()
        for _ in range(epochs):
            order = RandomSampler(range(len(array))).order()
            batches = order[: steps * batch_size].reshape(steps, batch_size)
            numbers = [
                [float(one) for one in self._compiled(Tensor(array[rows]))] for rows in batches
            ]
            for name, mean in zip(SERIES, np.mean(numbers, axis=0), strict=True):
                self.history[name] = np.append(self.history[name], mean)
        return self.history

    def draw(self, count: int) -> Array:
        """Draw examples, (count, ...), with the generator in evaluation mode."""
        with evaluating(self.generator), no_grad():
            like = next(self.generator.parameters())
            drawn: Array = self.generator(self._chance(count, like)).numpy()
        return drawn

    def state_dict(self) -> dict[str, Any]:
        """Return all that a training goes on from: for `cr.save`."""
        content = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "history": self.history,
            "random": default_generator().get_state(),
        }
        state: dict[str, Any] = plain(content)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, random numbers included."""
        for name in ("generator", "discriminator"):
            getattr(self, name).load_state_dict(state_dict[name])
            getattr(self, f"{name}_optimizer").load_state_dict(state_dict[f"{name}_optimizer"])
        self.history = {name: np.array(state_dict["history"][name]) for name in SERIES}
        default_generator().set_state(state_dict["random"])


def _loss(scores: Tensor, wanted: float) -> Tensor:
    """The cross-entropy of scores that should all stand for one probability."""
    return binary_cross_entropy_with_logits(scores, full_like(scores, wanted))
