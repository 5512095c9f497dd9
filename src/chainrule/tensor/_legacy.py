"""Names of early PyTorch, as ``FloatTensor``, and settings that hold everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..config import set_default_dtype
from ..dtypes import DType
from ..errors import OptionError
from ._create import zeros
from ._random import DEFAULT, randint
from ._shape import check_device
from ._tensor import Tensor, tensor


class TensorType(dtypes.TensorType):
    """A constructor of tensors of one dtype: of values, or of sizes.

    Example:
        >>> FloatTensor([1, 2]), LongTensor(2)
        (tensor([1., 2.]), tensor([0, 0]))
        >>> import chainrule as cr
        >>> cr.ones(1).type(LongTensor).dtype
        chainrule.int64
    """

    def __init__(self, name: str, dtype: DType) -> None:
        self.__name__ = name
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"<chainrule.{self.__name__}>"

    def __call__(self, *given: Any) -> Tensor:
        if all(isinstance(one, int) for one in given):
            return zeros(*given, dtype=self.dtype) if given else tensor([], dtype=self.dtype)
        if len(given) != 1:
            raise OptionError(
                f"{self.__name__} takes one list of values, or sizes; given {given!r}"
            )
        return tensor(given[0], dtype=self.dtype)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is self.dtype


FloatTensor = TensorType("FloatTensor", dtypes.float32)
DoubleTensor = TensorType("DoubleTensor", dtypes.float64)
IntTensor = TensorType("IntTensor", dtypes.int32)
LongTensor = TensorType("LongTensor", dtypes.int64)
ByteTensor = TensorType("ByteTensor", dtypes.uint8)
BoolTensor = TensorType("BoolTensor", dtypes.bool_)


def set_default_tensor_type(t: Any) -> None:
    """The dtype of new floating-point tensors, named by a constructor such as ``DoubleTensor``.

    Example:
        >>> set_default_tensor_type(FloatTensor)
    """
    if isinstance(t, str):
        t = {"FloatTensor": FloatTensor, "DoubleTensor": DoubleTensor}.get(t.rpartition(".")[2], t)
    set_default_dtype(t)


def set_default_device(device: Any) -> None:
    """Where new tensors live: 'cpu'.

    Raises:
        OptionError: for another device.

    Example:
        >>> set_default_device("cpu")
    """
    check_device(device)


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed: NumPy's options of the same names, which printing goes by.

    Args:
        precision: digits after the point.
        threshold: elements from which the middle is left out.
        edgeitems: elements shown at each end then.
        linewidth: characters in a line.
        sci_mode: False for no powers of ten.

    Example:
        >>> set_printoptions(edgeitems=3)
    """
    given = {"threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    options: dict[str, Any] = {name: int(value) for name, value in given.items() if value}
    if sci_mode is not None:
        options["suppress"] = not sci_mode
    if precision is not None:
        options["precision"] = precision
    np.set_printoptions(**options)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Return: the same seed on the same machine gives the same bits, whatever the mode.

    Example:
        >>> use_deterministic_algorithms(True)
    """


def seed() -> int:
    """Start the default generator with a number that nobody could foresee, and give it.

    Example:
        >>> import chainrule as cr
        >>> seed() == cr.initial_seed()
        True
    """
    import secrets

    number = secrets.randbits(63)
    DEFAULT.manual_seed(number)
    return number


def initial_seed() -> int:
    """The number that the default generator was started with.

    Example:
        >>> import chainrule as cr
        >>> cr.manual_seed(3).initial_seed(), initial_seed()
        (3, 3)
    """
    return DEFAULT.initial_seed()


def get_rng_state() -> dict[str, int]:
    """Seed and counter of the default generator.

    Example:
        >>> import chainrule as cr
        >>> state = get_rng_state()
        >>> first = cr.rand(2).tolist()
        >>> set_rng_state(state)
        >>> cr.rand(2).tolist() == first
        True
    """
    return DEFAULT.get_state()


def set_rng_state(new_state: dict[str, int]) -> None:
    """Continue from a state of the default generator.

    Example:
        >>> import chainrule as cr
        >>> set_rng_state(cr.get_rng_state())
    """
    DEFAULT.set_state(new_state)


def finfo(dtype: Any = dtypes.float32) -> Any:
    """What a floating-point dtype can hold: eps, min, max, tiny.

    Example:
        >>> float(finfo(dtypes.float32).eps)
        1.1920928955078125e-07
    """
    return np.finfo(dtypes.as_dtype(dtype).np)


def iinfo(dtype: Any) -> Any:
    """What a dtype of whole numbers can hold: min, max, bits.

    Example:
        >>> iinfo(dtypes.uint8).max
        255
    """
    return np.iinfo(dtypes.as_dtype(dtype).np)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floating-point numbers.

    Example:
        >>> import chainrule as cr
        >>> is_floating_point(cr.ones(1)), is_floating_point(cr.tensor(1))
        (True, False)
    """
    return input.dtype.is_float


def detach(input: Tensor) -> Tensor:
    """The same values without history.

    Example:
        >>> import chainrule as cr
        >>> detach(cr.ones(1, requires_grad=True)).requires_grad
        False
    """
    return input.detach()


def randint_like(input: Tensor, low: int, high: int | None = None) -> Tensor:
    """Whole numbers from ``low`` (0 where it is alone) up to ``high``, in a tensor's shape.

    Example:
        >>> import chainrule as cr
        >>> randint_like(cr.ones(2, 3), 5).shape
        chainrule.Size([2, 3])
    """
    shape = tuple(input.shape)
    drawn = randint(0, low, shape) if high is None else randint(low, high, shape)
    result: Tensor = drawn.type(input.dtype)
    return result


def logspace(start: float, end: float, steps: int, base: float = 10.0, dtype: Any = None) -> Tensor:
    """``steps`` numbers from ``base ** start`` to ``base ** end``, at equal ratios.

    Example:
        >>> logspace(0, 2, 3)
        tensor([  1.,  10., 100.])
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    values = np.logspace(start, end, steps, base=base)
    return tensor(values.tolist(), dtype=wanted)
