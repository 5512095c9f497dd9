"""Random tensors, from the counter-based generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, random
from ..config import STATE
from ..errors import OptionError
from ..graph.node import make_aval
from ..graph.trace import outside
from ..ops import (
    CAST,
    COS,
    EQ,
    LOG1P,
    LT,
    MUL,
    RANDOM_BITS,
    SHIFT_RIGHT,
    SQRT,
    Expr,
    apply,
    constant,
)
from ._handle import array_leaf, detached
from ._shape import check_device, sizes_of
from ._tensor import Tensor


class Generator:
    """A stream of random numbers: a seed, a name and a counter, which moves on with each draw.

    The counter is a tensor, so that a compiled step draws new numbers each time it runs.

    Args:
        seed: a whole number, 0 or more, below 2**64.
        stream: a name; streams of different names are independent.

    Example:
        >>> g = Generator(0)
        >>> first = g.uniform((2,))
        >>> g.manual_seed(0).uniform((2,)).tolist() == first.tolist()
        True
    """

    def __init__(self, seed: int = 0, stream: str = "default") -> None:
        self.stream = stream
        with outside():
            self.counter = Tensor(array_leaf(np.asarray(0, np.int64)))
            self.key = Tensor(array_leaf(random.stream_key(seed, stream)))
        self.seed = seed

    def manual_seed(self, seed: int) -> Generator:
        """Start again with a seed."""
        self.seed = int(seed)
        self.key._rebind(array_leaf(random.stream_key(self.seed, self.stream)))
        self.counter._rebind(array_leaf(np.asarray(0, np.int64)))
        return self

    def initial_seed(self) -> int:
        """The seed it was started with."""
        return self.seed

    def get_state(self) -> dict[str, int]:
        """Seed and counter, to be given to :meth:`set_state`."""
        return {"seed": self.seed, "counter": int(self.counter.item())}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue from a state."""
        self.manual_seed(state["seed"])
        self.counter._rebind(array_leaf(np.asarray(state["counter"], np.int64)))

    def exchange(self, other: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
        """Continue from what another call gave, and give where this one stood; it copies nothing.

        >>> g = Generator(0)
        >>> kept = g.exchange(Generator(1).place())
        >>> g.initial_seed(), g.exchange(kept)[0], g.initial_seed()
        (1, 1, 0)
        """
        here = self.place()
        self.seed, key, counter = other
        self.key._rebind(key)
        self.counter._rebind(counter)
        return here

    def place(self) -> tuple[int, Any, Any]:
        """Where it stands, for :meth:`exchange`."""
        return self.seed, self.key._node, self.counter._node

    def _draw(self, size: int) -> tuple[Expr, Expr]:
        key, counter = self.key.node, self.counter.node
        self.counter._rebind(counter + random.blocks_of(size))
        return key, counter

    def bits(self, shape: tuple[int, ...]) -> Tensor:
        """uint32 words."""
        key, counter = self._draw(make_aval(shape, dtypes.uint32).size)
        return Tensor(apply(RANDOM_BITS, key, counter, shape=shape))

    def below(self, shape: tuple[int, ...], probability: float) -> Tensor:
        """Booleans, each true with a probability (an exact integer threshold on 32 bits)."""
        bits = self.bits(shape)
        if probability >= 1.0:
            return Tensor(apply(EQ, bits.node, bits.node))
        threshold = constant(round(probability * 2**32), dtypes.uint32)
        return Tensor(apply(LT, bits.node, threshold))

    def uniform(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Uniform in [0, 1), of 24 random bits each."""
        words = apply(SHIFT_RIGHT, self.bits(shape).node, count=8)
        wide = apply(CAST, words, dtype=dtypes.float32)
        unit = apply(MUL, wide, constant(2.0**-24, dtypes.float32))
        return _typed(Tensor(unit), dtype)

    def normal(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Standard normal, by Box and Muller's transform."""
        size = make_aval(shape, dtypes.float32).size
        both = self.uniform((2 * size,)).node
        first, second = both.slice((0,), (size,), (1,)), both.slice((size,), (2 * size,), (1,))
        radius = apply(SQRT, apply(LOG1P, -first) * -2.0)
        angle = apply(COS, second * (2.0 * np.pi))
        result = Tensor((radius * angle).reshape(shape))
        return _typed(result, dtype)

    def permutation(self, n: int) -> Tensor:
        """A shuffle of 0 ... n - 1, made on the host: int64[n]."""
        key, counter = self._draw(n)
        order = random.permutations(key.value(), int(counter.value()), n)[0]
        return Tensor(array_leaf(order.astype(np.int64)))


DEFAULT = Generator()


def default_generator() -> Generator:
    """The generator that functions draw from when none is named."""
    return DEFAULT


def manual_seed(seed: int) -> Generator:
    """Start the default generator again with a seed.

    Example:
        >>> _ = manual_seed(1)
        >>> a = rand(3)
        >>> _ = manual_seed(1)
        >>> rand(3).tolist() == a.tolist()
        True
    """
    return DEFAULT.manual_seed(int(seed))


def _typed(tensor: Tensor, dtype: Any) -> Tensor:
    result: Tensor = tensor.type(STATE.default_dtype if dtype is None else dtype)
    return result


def _drawn(tensor: Tensor, requires_grad: bool) -> Tensor:
    if not requires_grad:
        return tensor
    # How it was drawn (kept in a trace or a recording) is no way for a gradient.
    fresh = Tensor(detached(tensor.node))
    fresh.requires_grad_(True)
    return fresh


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform in [0, 1).

    Example:
        >>> rand(2, 3).shape
        chainrule.Size([2, 3])
    """
    if device is not None:
        check_device(device)
    return _drawn((generator or DEFAULT).uniform(sizes_of(sizes, size), dtype), requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal.

    Example:
        >>> abs(randn(10000).mean().item()) < 0.05
        True
    """
    if device is not None:
        check_device(device)
    return _drawn((generator or DEFAULT).normal(sizes_of(sizes, size), dtype), requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Whole numbers from ``low`` up to but not including ``high``: int64.

    Raises:
        OptionError: when the range is empty or holds more than 2**24 numbers.

    Example:
        >>> int(randint(0, 3, (100,)).max())
        2
    """
    if device is not None:
        check_device(device)
    if size is None:
        low, high, size = 0, low, high
    span = int(high) - int(low)
    if not 0 < span <= 2**24:
        raise OptionError(f"randint draws from ranges of 1 to 2**24 numbers; given {low} to {high}")
    shape = sizes_of((size,))
    whole = ((generator or DEFAULT).uniform(shape).double() * span).floor().type(dtypes.int64)
    return _typed(whole + int(low), dtypes.int64 if dtype is None else dtype)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """A shuffle of 0 ... n - 1: int64[n].

    Example:
        >>> sorted(randperm(4).tolist())
        [0, 1, 2, 3]
    """
    if device is not None:
        check_device(device)
    return (generator or DEFAULT).permutation(int(n))


def rand_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform in [0, 1), of another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> rand_like(cr.ones(2, 3)).shape
        chainrule.Size([2, 3])
    """
    shape = tuple(input.shape)
    return rand(shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal, of another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> randn_like(cr.ones(2, 3)).shape
        chainrule.Size([2, 3])
    """
    shape = tuple(input.shape)
    return randn(shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
