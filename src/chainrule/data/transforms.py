"""What is done to an image before it becomes an example; torchvision's names and values.

A transform is a function of one image. `ToTensor`, `Normalize` and `Compose` of them also know how
to treat a whole batch at once (`batch`), which a `DataLoader` uses: the same values, much sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DTypeError, OptionError, ShapeError
from ..tensor import Tensor, from_numpy

Array = npt.NDArray[Any]
Transform = Callable[[Any], Any]

_NO_IMAGE = (
    "ToTensor takes an image: a PIL image, or an array (height, width) or "
    "(height, width, channels).\n  given: {given}"
)
_NO_FLOATS = (
    "Normalize takes a floating-point tensor.\n  given: {given}\n"
    "  fix: put ToTensor() before it: Compose([ToTensor(), Normalize(mean, std)])"
)
_NO_CHANNELS = (
    "Normalize takes a tensor (..., channels, height, width).\n  given: shape {shape}\n"
    "  fix: put ToTensor() before it"
)
_WRONG_CHANNELS = (
    "Normalize: mean and std must have one number, or one for each channel.\n"
    "  given: {means} means, {spreads} deviations, images of shape {shape}"
)


class ToTensor:
    """From an image to a tensor (channels, height, width).

    Bytes from 0 to 255 become float32 from 0 to 1; other numbers keep their values.

    Raises:
        DTypeError: it is no image.
        ShapeError: an array without 2 or 3 axes.

    Example:
        >>> image = np.array([[0, 51], [102, 255]], np.uint8)
        >>> ToTensor()(image).tolist()
        [[[0.0, 0.20000000298023224], [0.4000000059604645, 1.0]]]
    """

    def __call__(self, image: Any) -> Tensor:
        """Convert one image."""
        array = _pixels(image)
        return from_numpy(self.batch(array[None])[0])

    @staticmethod
    def batch(images: Array) -> Array:
        """Convert images (batch, height, width) or (batch, height, width, channels)."""
        if images.ndim == 3:
            images = images[:, None]
        else:
            images = images.transpose(0, 3, 1, 2)
        if images.dtype != np.uint8:
            return np.array(images, order="C")
        values = images.astype(np.float32, order="C")
        values /= np.float32(255)
        return values

    def __repr__(self) -> str:
        return "ToTensor()"


def _pixels(image: Any) -> Array:
    """Give an image's pixels: (height, width) or (height, width, channels)."""
    is_pillow = hasattr(image, "getbands") and hasattr(image, "mode")
    if not is_pillow and not isinstance(image, np.ndarray):
        raise DTypeError(_NO_IMAGE.format(given=type(image).__name__))
    array = np.asarray(image)
    if is_pillow and image.mode == "1":
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 2:
        array = array.astype(np.int32)  # tensors have no 16-bit numbers
    if array.ndim not in (2, 3):
        raise ShapeError(_NO_IMAGE.format(given=f"an array of shape {array.shape}"))
    return array


class Normalize:
    """Subtract a mean from each channel and divide by a standard deviation.

    Args:
        mean: a number for each channel, or one for all.
        std: a number for each channel, or one for all.
        inplace: write into the tensor that is given.

    Raises:
        OptionError: a deviation of zero.
        DTypeError: a tensor that is not of floats.
        ShapeError: a tensor of fewer than 3 axes, or with other channels.

    Example:
        >>> pixels = ToTensor()(np.array([[0, 255]], np.uint8))
        >>> Normalize((0.5,), (0.25,))(pixels).tolist()
        [[[-2.0, 2.0]]]
    """

    def __init__(
        self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False
    ) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace
        self._mean = np.atleast_1d(np.asarray(mean, np.float64))[:, None, None]
        self._std = np.atleast_1d(np.asarray(std, np.float64))[:, None, None]
        if (self._std == 0).any():
            raise OptionError(f"Normalize: std must not be zero.\n  given: std={std}")

    def __call__(self, tensor: Tensor) -> Tensor:
        """Normalise one image (channels, height, width), or a batch of them."""
        if not isinstance(tensor, Tensor) or not tensor.dtype.is_float:
            given = f"{tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise DTypeError(_NO_FLOATS.format(given=given))
        if tensor.ndim < 3:
            raise ShapeError(_NO_CHANNELS.format(shape=tuple(tensor.shape)))
        values = tensor.detach().numpy()
        result = self.batch(values if self.inplace else values.copy())
        return tensor if self.inplace else from_numpy(result)

    def batch(self, images: Array) -> Array:
        """Normalise images (..., channels, height, width) where they are."""
        channels = images.shape[-3]
        if not {len(self._mean), len(self._std)} <= {1, channels}:
            raise ShapeError(
                _WRONG_CHANNELS.format(
                    means=len(self._mean), spreads=len(self._std), shape=images.shape
                )
            )
        images -= self._mean.astype(images.dtype)
        images /= self._std.astype(images.dtype)
        return images

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Compose:
    """Several transforms, one after the other.

    Example:
        >>> both = Compose([ToTensor(), Normalize(0.5, 0.5)])
        >>> both(np.array([[255]], np.uint8)).item()
        1.0
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        """Apply them all."""
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class Resize:
    """Scale a PIL image, by bilinear interpolation over what each new pixel covers.

    Args:
        size: (height, width), or a number for the shorter side, which keeps the shape.

    Raises:
        OptionError: a size below 1.
        DTypeError: when it is called with something else than a PIL image.

    Example:
        >>> from PIL import Image
        >>> Resize(10)(Image.new("RGB", (40, 20))).size
        (20, 10)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = _size("Resize", size)

    def __call__(self, image: Any) -> Any:
        """Scale one image."""
        _check_pillow("Resize", image)
        height, width = _fitted(image, self.size)
        return image.resize((width, height), 2)  # 2: bilinear

    def __repr__(self) -> str:
        return f"Resize({self.size})"


class CenterCrop:
    """Cut the middle out of a PIL image; beyond its border it is black.

    Args:
        size: (height, width), or a number for both.

    Raises:
        OptionError: a size below 1.
        DTypeError: when it is called with something else than a PIL image.

    Example:
        >>> from PIL import Image
        >>> CenterCrop(10)(Image.new("RGB", (40, 20))).size
        (10, 10)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        found = _size("CenterCrop", size)
        self.size = (found, found) if isinstance(found, int) else found

    def __call__(self, image: Any) -> Any:
        """Cut one image."""
        _check_pillow("CenterCrop", image)
        height, width = self.size
        top, left = round((image.size[1] - height) / 2), round((image.size[0] - width) / 2)
        return image.crop((left, top, left + width, top + height))

    def __repr__(self) -> str:
        return f"CenterCrop({self.size})"


class Grayscale:
    """Turn a PIL image to grey.

    Args:
        num_output_channels: 1, or 3 equal ones.

    Raises:
        OptionError: another number of channels.
        DTypeError: when it is called with something else than a PIL image.

    Example:
        >>> from PIL import Image
        >>> Grayscale()(Image.new("RGB", (4, 2))).mode
        'L'
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise OptionError(f"Grayscale gives 1 or 3 channels.\n  given: {num_output_channels}")
        self.num_output_channels = num_output_channels

    def __call__(self, image: Any) -> Any:
        """Convert one image."""
        _check_pillow("Grayscale", image)
        grey = image.convert("L")
        return grey if self.num_output_channels == 1 else grey.convert("RGB")

    def __repr__(self) -> str:
        return f"Grayscale({self.num_output_channels})"


def _size(kind: str, size: int | Sequence[int]) -> int | tuple[int, int]:
    found = [size] if isinstance(size, int) else list(size)
    if len(found) not in (1, 2) or not all(isinstance(n, int) and n >= 1 for n in found):
        raise OptionError(
            f"{kind} takes a size of 1 or more, or (height, width).\n  given: {size!r}"
        )
    return found[0] if len(found) == 1 else (found[0], found[1])


def _fitted(image: Any, size: int | tuple[int, int]) -> tuple[int, int]:
    """Give the height and width wanted of an image."""
    if not isinstance(size, int):
        return size
    width, height = image.size
    shorter = min(width, height)
    return max(int(size * height / shorter), size), max(int(size * width / shorter), size)


def _check_pillow(kind: str, image: Any) -> None:
    if not (hasattr(image, "getbands") and hasattr(image, "crop")):
        given = type(image).__name__
        raise DTypeError(
            f"{kind} takes a PIL image.\n  given: {given}\n"
            "  fix: put it before ToTensor(); an array becomes an image by "
            "Lambda(PIL.Image.fromarray)"
        )


class Lambda:
    """A transform made of a function.

    Raises:
        OptionError: it is no function.

    Example:
        >>> Lambda(lambda image: image[::-1])(np.array([1, 2])).tolist()
        [2, 1]
    """

    def __init__(self, lambd: Transform) -> None:
        if not callable(lambd):
            raise OptionError(f"Lambda takes a function.\n  given: {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        """Apply the function."""
        return self.lambd(image)

    def __repr__(self) -> str:
        return "Lambda()"


def for_batches(transform: Transform | None) -> Callable[[Array], Array] | None:
    """Give what does to a batch what a transform does to each image, or None if nothing does.

    Only transforms that are known to treat each image by itself have such a form; a subclass of one
    may do anything, and has none.

    >>> for_batches(Compose([ToTensor(), Normalize(0, 1)]))(np.zeros((5, 2, 2), np.uint8)).shape
    (5, 1, 2, 2)
    >>> for_batches(Lambda(abs)) is None
    True
    """
    if transform is None:
        return lambda images: images
    steps = transform.transforms if type(transform) is Compose else [transform]
    # Normalize needs what ToTensor makes; anything else is told so one by one.
    if not steps or type(steps[0]) is not ToTensor:
        return None
    if not all(type(step) is Normalize for step in steps[1:]):
        return None
    functions = [step.batch for step in steps]  # type: ignore[attr-defined]

    def apply(images: Array) -> Array:
        for function in functions:
            images = function(images)
        return images

    return apply
