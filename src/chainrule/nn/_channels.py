"""Regularisation and normalisation of images, channel by channel; noise on weights."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..tensor import Tensor, default_generator
from ._linear import Dropout
from ._module import Module
from ._normalization import _BatchNorm


class Dropout1d(Dropout):
    """In training, drop whole channels of signals (N, C, L) or (C, L).

    Args:
        p: the probability of dropping a channel, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    >>> import chainrule as cr
    >>> cr.nn.Dropout1d(0.5).eval()(cr.ones(1, 1, 2)).tolist()
    [[[1.0, 1.0]]]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.dropout1d(input, self.p, self.training)


class Dropout2d(Dropout):
    """In training, drop whole channels of images (N, C, H, W).

    Args:
        p: the probability of dropping a channel, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0)
    >>> sorted(set(cr.nn.Dropout2d(0.5)(cr.ones(1, 50, 2, 2)).sum((2, 3)).flatten().tolist()))
    [0.0, 8.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.dropout2d(input, self.p, self.training)


class Dropout3d(Dropout):
    """In training, drop whole channels of volumes (N, C, D, H, W) or (C, D, H, W).

    Args:
        p: the probability of dropping a channel, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    >>> import chainrule as cr
    >>> cr.nn.Dropout3d(1.0)(cr.ones(1, 1, 1, 1, 1)).item()
    0.0
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.dropout3d(input, self.p, self.training)


class AlphaDropout(Dropout):
    """In training, drop elements to SELU's saturation, keeping mean and variance.

    Args:
        p: the probability of dropping an element, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    >>> import chainrule as cr
    >>> cr.nn.AlphaDropout(0.5).eval()(cr.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(Dropout):
    """In training, drop whole channels as `AlphaDropout` drops elements.

    Args:
        p: the probability of dropping a channel, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    >>> import chainrule as cr
    >>> cr.nn.FeatureAlphaDropout(0.5).eval()(cr.ones(1, 1, 2)).tolist()
    [[[1.0, 1.0]]]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.feature_alpha_dropout(input, self.p, self.training)


class _InstanceNorm(_BatchNorm):
    """What the layers that normalise each example share; see `InstanceNorm2d`."""

    single: ClassVar[int] = 0

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the standardised `input`; in training move the running statistics, if kept."""
        name, rank = type(self).__name__, self.single
        if input.ndim not in (rank, rank + 1):
            raise ShapeError(
                f"{name}: the input must have {rank} axes or, with a batch, {rank + 1}; its shape"
                f" is {tuple(input.shape)}"
            )
        channels = input.shape[-rank]
        if channels != self.num_features:
            raise ShapeError(
                f"{name}: the input has {channels} channels, the layer {self.num_features}.\n"
                f"  given: input {tuple(input.shape)}\n  fix: {name}({channels})"
            )
        batch = input if input.ndim > rank else input.unsqueeze(0)
        y = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )
        return y if input.ndim > rank else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Standardise each channel of each signal; arguments as for `InstanceNorm2d`.

    >>> import chainrule as cr
    >>> cr.nn.InstanceNorm1d(1, eps=0.0)(cr.tensor([[[1.0, 3.0]]])).tolist()
    [[[-1.0, 1.0]]]
    """

    single = 2


class InstanceNorm2d(_InstanceNorm):
    """Standardise each channel of each image.

    Args:
        num_features: the number of channels C.
        eps: keeps the division finite.
        momentum: weight of the new batch in the running statistics.
        affine: whether a trained weight multiplies and a trained bias is added.
        track_running_stats: whether running statistics are kept, and used in evaluation.
        device, dtype: of parameters and statistics.
        bias: False leaves out the bias.

    Shapes: (N, C, H, W) or (C, H, W), and the same out.

    Raises:
        ShapeError: for other shapes and numbers of channels.

    >>> import chainrule as cr
    >>> tuple(cr.nn.InstanceNorm2d(3)(cr.rand(2, 3, 4, 4)).shape)
    (2, 3, 4, 4)
    """

    single = 3


class InstanceNorm3d(_InstanceNorm):
    """Standardise each channel of each volume; arguments as for `InstanceNorm2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.InstanceNorm3d(2)(cr.rand(1, 2, 2, 2, 2)).shape)
    (1, 2, 2, 2, 2)
    """

    single = 4


class LocalResponseNorm(Module):
    """Divide each element by a power of the mean square over neighbouring channels.

    Args:
        size: how many channels count.
        alpha, beta, k: as in (k + alpha · mean)^beta.

    >>> import chainrule as cr
    >>> cr.nn.LocalResponseNorm(1, alpha=1.0, beta=1.0)(cr.ones(1, 1, 1)).tolist()
    [[[0.5]]]
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Return the scaled `input`."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class WeightNoise(Module):
    """In training, run a module with Gaussian noise on its weights, drawn anew at each call.

    Gradients are taken at the noisy weights and reach the weights themselves. Source: Graves,
    Practical Variational Inference for Neural Networks (2011); Goodfellow, Bengio, Courville, Deep
    Learning, section 7.5.

    Args:
        module: any module; its own parameters are the ones of this one.
        std: the noise's standard deviation.
        names: which parameters, by the last part of their name.

    Raises:
        OptionError: when std is negative, or no parameter has one of the names.

    >>> import chainrule as cr
    >>> layer = cr.nn.WeightNoise(cr.nn.Linear(3, 2), std=0.1)
    >>> x = cr.ones(1, 3)
    >>> layer(x).tolist() == layer(x).tolist(), layer.eval()(x).tolist() == layer(x).tolist()
    (False, True)
    """

    def __init__(self, module: Module, std: float, names: tuple[str, ...] = ("weight",)) -> None:
        super().__init__()
        if std < 0:
            raise OptionError(f"WeightNoise: std must be 0 or more; {std} was given")
        self.module = module
        self.std = std
        self.names = tuple(names)
        if not self._places():
            raise OptionError(
                f"WeightNoise: no parameter of the module is called {' or '.join(self.names)}.\n"
                f"  given: {', '.join(name for name, _ in module.named_parameters()) or 'none'}"
            )

    def _places(self) -> list[tuple[Module, str]]:
        """Return the modules and names that hold the weights."""
        return [
            (module, name)
            for module in self.module.modules()
            for name, held in module._parameters.items()
            if name in self.names and held is not None
        ]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module makes of its arguments."""
        if not self.training or self.std == 0:
            return self.module(*args, **kwargs)
        kept = []
        try:
            # A weight that two modules share is made noisy once.
            noisy: dict[int, Tensor] = {}
            for module, name in self._places():
                own: Any = module._parameters[name]
                if id(own) not in noisy:
                    noise = default_generator().normal(tuple(own.shape)).to(own.dtype)
                    noisy[id(own)] = own + noise * self.std
                kept.append((module, name, own))
                module._parameters[name] = noisy[id(own)]  # type: ignore[assignment]
            return self.module(*args, **kwargs)
        finally:
            for module, name, own in kept:
                module._parameters[name] = own

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"std={self.std}"
