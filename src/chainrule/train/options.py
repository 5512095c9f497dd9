"""The Trainer's options, checked; each error names what exists."""

from __future__ import annotations

from typing import Any

from ..errors import OptionError
from .watching import as_watch

ENGINES = ("auto", "native", "numpy")
CHECKS = ("nan",)


def check_options(
    model: Any,
    *,
    engine: str,
    threads: int | None,
    clip: float | None,
    device: Any,
    precision: Any,
    watch: Any,
    check: Any,
    step: Any,
    loss: Any,
) -> None:
    """Refuse options that do not exist.

    Raises:
        OptionError: naming the option, what was given and what there is.

    Example:
        >>> check_options(None, engine="gpu", threads=None, clip=None, device=None, precision=None,
        ...               watch=None, check=None, step=None, loss=None)
        Traceback (most recent call last):
        ...
        chainrule.errors.OptionError: there is no engine 'gpu'.
          expected: one of auto, native, numpy
    """
    if engine not in ENGINES:
        raise OptionError(
            f"there is no engine {engine!r}.\n  expected: one of {', '.join(ENGINES)}"
        )
    if threads is not None and threads < 1:
        raise OptionError(f"threads must be 1 or more.\n  given: {threads}")
    if clip is not None and not clip > 0:
        raise OptionError(f"clip must be above 0, or None.\n  given: {clip}")
    if check is not None and check not in CHECKS:
        raise OptionError(f"there is no check {check!r}.\n  expected: 'nan', or None")
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise OptionError(
            f"there is no device {str(device)!r} for training.\n  expected: 'cpu', or None"
        )
    as_watch(watch)
    if step is None and loss is None:
        raise OptionError("a Trainer needs a loss, or a step that returns one")
    if step is not None and not callable(step):
        raise OptionError(f"step must be a function (trainer, batch) -> loss.\n  given: {step!r}")
    _check_precision(model, precision)


def _check_precision(model: Any, precision: Any) -> None:
    if precision is None:
        return
    wanted = str(getattr(precision, "name", precision))
    if wanted not in ("float32", "float64"):
        raise OptionError(
            f"there is no precision {precision!r}.\n  expected: 'float32', 'float64', or None for "
            "the dtype of the model's parameters"
        )
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.dtype.is_float}
    others = [dtype.name for dtype in dtypes if dtype.name != wanted]
    if others:
        convert = "float" if wanted == "float32" else "double"
        raise OptionError(
            f"precision={wanted!r}, but the model has parameters of {others[0]}.\n"
            f"  fix: model.{convert}() before the optimizer is made"
        )
