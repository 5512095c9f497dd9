"""Activations of each element as modules: their settings, and the function that computes them.

Shapes: any shape in, the same shape out.
"""

from __future__ import annotations

from .. import functional as F
from ..tensor import Tensor
from ._module import Module


class _InPlace(Module):
    """An activation with PyTorch's `inplace` flag, which changes nothing: nodes never change."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Name the flag where it is set."""
        return "inplace=True" if self.inplace else ""

    def _settings(self, *names: str) -> str:
        """Name the settings, and the flag where it is set."""
        settings = [f"{name}={getattr(self, name)}" for name in names]
        return ", ".join([*settings, "inplace=True"] if self.inplace else settings)


class ReLU(_InPlace):
    """`max(x, 0)`.

    >>> import chainrule as cr
    >>> cr.nn.ReLU()(cr.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.relu(input)


class ReLU6(_InPlace):
    """x cut to 0 and 6.

    >>> import chainrule as cr
    >>> cr.nn.ReLU6()(cr.tensor([-1.0, 9.0])).tolist()
    [0.0, 6.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.relu6(input)


class LeakyReLU(_InPlace):
    """x where it is positive, else `negative_slope x`.

    >>> import chainrule as cr
    >>> cr.nn.LeakyReLU(0.5)(cr.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Name the settings."""
        return self._settings("negative_slope")


class ELU(_InPlace):
    """x where it is positive, else `alpha (e^x - 1)`.

    >>> import chainrule as cr
    >>> cr.nn.ELU()(cr.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """Name the settings."""
        return self._settings("alpha")


class SELU(_InPlace):
    """The scaled ELU that keeps mean 0 and variance 1 from layer to layer.

    >>> import chainrule as cr
    >>> round(cr.nn.SELU()(cr.tensor([1.0])).item(), 6)
    1.050701
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.selu(input)


class CELU(_InPlace):
    """x where it is positive, else `alpha (e^(x / alpha) - 1)`.

    >>> import chainrule as cr
    >>> cr.nn.CELU()(cr.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.celu(input, self.alpha)

    def extra_repr(self) -> str:
        """Name the settings."""
        return self._settings("alpha")


class GELU(Module):
    """`x Φ(x)`; see `functional.gelu`.

    >>> import chainrule as cr
    >>> round(cr.nn.GELU()(cr.tensor([1.0])).item(), 6)
    0.841345
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"approximate={self.approximate!r}"


class SiLU(_InPlace):
    """`x sigmoid(x)`, also called swish.

    >>> import chainrule as cr
    >>> cr.nn.SiLU()(cr.tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.silu(input)


class Mish(_InPlace):
    """`x tanh(softplus(x))`.

    >>> import chainrule as cr
    >>> cr.nn.Mish()(cr.tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.mish(input)


class Softplus(Module):
    """`log(1 + e^(beta x)) / beta`, a smooth ReLU.

    >>> import chainrule as cr
    >>> round(cr.nn.Softplus()(cr.tensor([0.0])).item(), 6)
    0.693147
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """`x / (1 + |x|)`.

    >>> import chainrule as cr
    >>> cr.nn.Softsign()(cr.tensor([1.0])).tolist()
    [0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.softsign(input)


class Sigmoid(Module):
    """`1 / (1 + e^-x)`.

    >>> import chainrule as cr
    >>> cr.nn.Sigmoid()(cr.tensor([0.0])).tolist()
    [0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """`log sigmoid(x)`, exact also where the sigmoid rounds to 0.

    >>> import chainrule as cr
    >>> cr.nn.LogSigmoid()(cr.tensor([-500.0])).tolist()
    [-500.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.logsigmoid(input)


class Hardsigmoid(_InPlace):
    """`(x + 3) / 6` cut to 0 and 1.

    >>> import chainrule as cr
    >>> cr.nn.Hardsigmoid()(cr.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.hardsigmoid(input)


class Hardswish(_InPlace):
    """`x hardsigmoid(x)`.

    >>> import chainrule as cr
    >>> cr.nn.Hardswish()(cr.tensor([0.0, 4.0])).tolist()
    [0.0, 4.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.hardswish(input)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> import chainrule as cr
    >>> cr.nn.Tanh()(cr.tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.tanh(input)


class Tanhshrink(Module):
    """`x - tanh(x)`.

    >>> import chainrule as cr
    >>> cr.nn.Tanhshrink()(cr.tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.tanhshrink(input)


class Hardtanh(_InPlace):
    """x cut to `min_val` and `max_val`.

    >>> import chainrule as cr
    >>> cr.nn.Hardtanh()(cr.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Name the settings."""
        return self._settings("min_val", "max_val")


class Softshrink(Module):
    """x moved towards 0 by `lambd`, and 0 within it.

    >>> import chainrule as cr
    >>> cr.nn.Softshrink()(cr.tensor([-1.0, 0.2])).tolist()
    [-0.5, 0.0]
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Name the settings."""
        return str(self.lambd)


class Hardshrink(Module):
    """x, and 0 within `lambd` of 0.

    >>> import chainrule as cr
    >>> cr.nn.Hardshrink()(cr.tensor([-1.0, 0.2])).tolist()
    [-1.0, 0.0]
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Name the settings."""
        return str(self.lambd)


class Threshold(_InPlace):
    """x where it is above `threshold`, else `value`.

    >>> import chainrule as cr
    >>> cr.nn.Threshold(1.0, 7.0)(cr.tensor([0.5, 2.0])).tolist()
    [7.0, 2.0]
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Name the settings."""
        return self._settings("threshold", "value")


class Abs(Module):
    """`|x|`: absolute value rectification.

    >>> import chainrule as cr
    >>> cr.nn.Abs()(cr.tensor([-1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        result: Tensor = input.abs()
        return result
