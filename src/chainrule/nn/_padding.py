"""Layers that add a border."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from ._module import Module


class _Pad(Module):
    """What the layers that add a border share; see `ConstantPad2d`."""

    rank: ClassVar[int] = 0
    mode: ClassVar[str] = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        count = 2 * self.rank
        given = (padding,) * count if isinstance(padding, int) else tuple(padding)
        if len(given) != count or not all(isinstance(one, int) for one in given):
            raise OptionError(
                f"{type(self).__name__}: padding={padding!r} was given.\n"
                f"  expected: a whole number, or {count} of them: before and behind the last axis,"
                " then the one before it, and so on"
            )
        self.padding = given

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the border."""
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ShapeError(
                f"{type(self).__name__}: the input must have {self.rank + 1} axes or, with a batch,"
                f" {self.rank + 2}; its shape is {tuple(input.shape)}"
            )
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """Name the amounts."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """A border of one value; see `ConstantPad2d`."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the border."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """Name the amounts and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Add a value on both sides of signals; arguments as for `ConstantPad2d`.

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad1d((1, 0), 9.0)(cr.tensor([[1.0, 2.0]])).tolist()
    [[9.0, 1.0, 2.0]]
    """

    rank = 1


class ConstantPad2d(_ConstantPad):
    """Add a border of one value to images.

    Args:
        padding: how much; one number, or (left, right, top, bottom). Negative amounts cut off.
        value: what the border holds.

    Shapes: (..., H, W) becomes (..., top + H + bottom, left + W + right).

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad2d((1, 0, 0, 0), 9.0)(cr.tensor([[[1.0]]])).tolist()
    [[[9.0, 1.0]]]
    """

    rank = 2


class ConstantPad3d(_ConstantPad):
    """Add a border of one value to volumes; arguments as for `ConstantPad2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ConstantPad3d(1, 0.5)(cr.zeros(1, 2, 2, 2)).shape)
    (1, 4, 4, 4)
    """

    rank = 3


class _ZeroPad(_ConstantPad):
    """A border of zeros; see `ZeroPad2d`."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Name the amounts."""
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Add zeros on both sides of signals; see `ZeroPad2d`.

    >>> import chainrule as cr
    >>> cr.nn.ZeroPad1d(1)(cr.tensor([[1.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    """

    rank = 1


class ZeroPad2d(_ZeroPad):
    """Add a border of zeros to images.

    Args:
        padding: how much; one number, or (left, right, top, bottom).

    >>> import chainrule as cr
    >>> tuple(cr.nn.ZeroPad2d((1, 2, 3, 4))(cr.zeros(1, 1, 1)).shape)
    (1, 8, 4)
    """

    rank = 2


class ZeroPad3d(_ZeroPad):
    """Add a border of zeros to volumes; see `ZeroPad2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ZeroPad3d(1)(cr.zeros(1, 1, 1, 1)).shape)
    (1, 3, 3, 3)
    """

    rank = 3


class ReflectionPad1d(_Pad):
    """Add the signal reflected at its ends; see `ReflectionPad2d`.

    >>> import chainrule as cr
    >>> cr.nn.ReflectionPad1d(1)(cr.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[2.0, 1.0, 2.0, 3.0, 2.0]]
    """

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Add the image reflected at its edges, which are not repeated.

    Args:
        padding: how much, less than the image; one number, or (left, right, top, bottom).

    >>> import chainrule as cr
    >>> cr.nn.ReflectionPad2d((1, 0, 0, 0))(cr.tensor([[[1.0, 2.0]]])).tolist()
    [[[2.0, 1.0, 2.0]]]
    """

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Add the volume reflected at its faces; see `ReflectionPad2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ReflectionPad3d(1)(cr.zeros(1, 2, 2, 2)).shape)
    (1, 4, 4, 4)
    """

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Repeat the signal's ends; see `ReplicationPad2d`.

    >>> import chainrule as cr
    >>> cr.nn.ReplicationPad1d(1)(cr.tensor([[1.0, 2.0]])).tolist()
    [[1.0, 1.0, 2.0, 2.0]]
    """

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Repeat the image's edges.

    Args:
        padding: how much; one number, or (left, right, top, bottom).

    >>> import chainrule as cr
    >>> cr.nn.ReplicationPad2d((1, 0, 0, 0))(cr.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.0, 1.0, 2.0]]]
    """

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Repeat the volume's faces; see `ReplicationPad2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ReplicationPad3d(1)(cr.zeros(1, 1, 1, 1)).shape)
    (1, 3, 3, 3)
    """

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Add the signal's other end; see `CircularPad2d`.

    >>> import chainrule as cr
    >>> cr.nn.CircularPad1d(1)(cr.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[3.0, 1.0, 2.0, 3.0, 1.0]]
    """

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Add the image's other side, as if it were rolled up.

    Args:
        padding: how much, at most the image; one number, or (left, right, top, bottom).

    >>> import chainrule as cr
    >>> cr.nn.CircularPad2d((1, 0, 0, 0))(cr.tensor([[[1.0, 2.0]]])).tolist()
    [[[2.0, 1.0, 2.0]]]
    """

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Add the volume's other side; see `CircularPad2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.CircularPad3d(1)(cr.zeros(1, 1, 1, 1)).shape)
    (1, 3, 3, 3)
    """

    rank, mode = 3, "circular"
