"""The same trainings in JAX: one jitted step called from Python, and the whole loop under jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import Arrays, Case
from .sides import Side, Weights


def forward(case: Case, parameters: Any, state: Any, x: Any, key: Any) -> tuple[Any, Any]:
    """The network's outputs and the new running statistics."""
    import jax
    import jax.numpy as jnp

    new = dict(state)
    for number, (kind, *sizes) in enumerate(case.layers):
        name = f"{number}."
        if kind == "linear":
            x = x @ parameters[name + "weight"].T + parameters[name + "bias"]
        elif kind == "batch norm":
            mean, variance = x.mean(0), x.var(0)
            share = len(x) / max(1, len(x) - 1)
            for which, value in (("mean", mean), ("var", variance * share)):
                place = f"{name}running_{which}"
                new[place] = 0.9 * state[place] + 0.1 * value
            x = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
            x = x * parameters[name + "weight"] + parameters[name + "bias"]
        elif kind == "dropout":
            key, own = jax.random.split(key)
            kept = jax.random.bernoulli(own, 1 - sizes[0], x.shape)
            x = jnp.where(kept, x / (1 - sizes[0]), 0.0)
        else:
            x = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[kind](x)
    return x, new


def loss_value(case: Case, outputs: Any, y: Any) -> Any:
    """Binary cross-entropy on logits, or cross-entropy."""
    import jax
    import jax.numpy as jnp

    if case.outputs == 1:
        return (jax.nn.softplus(outputs) - y * outputs).mean()
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1)
    return -chosen.mean()


def updated(case: Case, parameters: Any, gradients: Any, moments: Any, count: Any) -> Any:
    """PyTorch's SGD or Adam, on dictionaries of arrays."""
    import jax.numpy as jnp

    rule, new, kept = case.rule, {}, {}
    for name, value in parameters.items():
        g = gradients[name] + rule.decay * value
        if rule.name == "adam":
            first, second = moments[name]
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            kept[name] = (first, second)
            root = jnp.sqrt(second / (1 - 0.999**count)) + 1e-8
            new[name] = value - rule.lr * first / (1 - 0.9**count) / root
        elif rule.momentum:
            # The first step takes the gradient itself: the same as starting from zero.
            kept[name] = rule.momentum * moments[name] + g
            new[name] = value - rule.lr * kept[name]
        else:
            kept[name] = moments[name]
            new[name] = value - rule.lr * g
    return new, kept


class _Jax(Side):
    def __init__(self, case: Case, start: Weights, data: Arrays) -> None:
        super().__init__(case, start, data)
        import jax.numpy as jnp

        self.x, self.y = (jnp.asarray(part) for part in data)

    def _begin(self) -> Any:
        """Parameters, running statistics, moments, count and key."""
        import jax
        import jax.numpy as jnp

        running = {k: v for k, v in self.start.items() if "running" in k or "num_batches" in k}
        state = {k: jnp.asarray(v) for k, v in running.items() if "running" in k}
        parameters = {k: jnp.asarray(v) for k, v in self.start.items() if k not in running}
        zeros = {k: jnp.zeros_like(v) for k, v in parameters.items()}
        adam = self.case.rule.name == "adam"
        # Two arrays, not one twice: buffers are given to the compiled function to keep.
        moments = {k: (v, v + 0) for k, v in zeros.items()} if adam else zeros
        return parameters, state, moments, jnp.zeros((), jnp.float32), jax.random.key(0)

    def _step(self) -> Callable[[Any, Any], tuple[Any, Any]]:
        """``step(carry, index)``: the next carry and the loss."""
        import jax

        case = self.case
        batch, batches = case.batch, len(self.x) // case.batch
        x, y = self.x, self.y

        def step(carry: Any, number: Any) -> tuple[Any, Any]:
            parameters, state, moments, count, key = carry
            at = number % batches * batch
            inputs = jax.lax.dynamic_slice_in_dim(x, at, batch)
            targets = jax.lax.dynamic_slice_in_dim(y, at, batch)
            key, own = jax.random.split(key) if case.random else (key, key)

            def cost(values: Any) -> tuple[Any, Any]:
                outputs, new = forward(case, values, state, inputs, own)
                return loss_value(case, outputs, targets), new

            (loss, new), gradients = jax.value_and_grad(cost, has_aux=True)(parameters)
            parameters, moments = updated(case, parameters, gradients, moments, count + 1)
            return (parameters, new, moments, count + 1, key), loss

        return step


class JaxStep(_Jax):
    """A jitted step, called from a Python loop."""

    label = "JAX step"

    def _train(self, steps: int) -> None:
        import jax

        if not hasattr(self, "_made"):
            self._made = jax.jit(self._step(), donate_argnums=0)
            self._carry = self._begin()
        for number in range(steps):
            self._carry, loss = self._made(self._carry, number)
        loss.block_until_ready()

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps."""
        import jax

        step, carry, found = jax.jit(self._step()), self._begin(), []
        for number in range(steps):
            carry, loss = step(carry, number)
            found.append(float(loss))
        return float(np.mean(found))


class JaxLoop(_Jax):
    """The whole loop as one jitted function."""

    label = "JAX loop"

    def _loop(self, steps: int) -> Any:
        import jax
        import jax.numpy as jnp

        step = self._step()
        return jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(steps)))

    def warm(self) -> None:
        """A loop is compiled for its number of steps, so the number is chosen by a short one."""
        import time

        few = min(self.case.steps, 20)
        short = self._loop(few)
        self._timed(short)
        begun = time.perf_counter()
        self._timed(short)
        each = (time.perf_counter() - begun) / few
        self._steps = max(few, min(self.case.steps, int(0.4 / each)))
        self._made = self._loop(self._steps)
        begun = time.perf_counter()
        self._timed(self._made)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        self._timed(self._made)
        self.first_seconds = max(0.0, first - (time.perf_counter() - begun))

    def _timed(self, loop: Any) -> None:
        carry, losses = loop(self._begin())
        losses.block_until_ready()
        del carry

    def _train(self, steps: int) -> None:
        self._timed(self._made)

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps."""
        _, losses = self._loop(steps)(self._begin())
        return float(np.mean(losses))
