"""`diagnose`: runs every detector that has what it needs; the run keeps what they find."""

from __future__ import annotations

from typing import Any

from ..explain._forward import arrays_of
from ..train.findings import Finding
from ._course import learning_rate_too_large, overfitting
from ._leak import leaking_inputs
from ._units import dead_units, identical_units
from ._watched import watched_gradients, with_history, with_updates

KINDS = (
    "learning-rate-too-large",
    "exploding-gradients",
    "vanishing-gradients",
    "dead-units",
    "identical-units",
    "overfitting",
    "leaking-feature",
)
ORDER = {"error": 0, "warning": 1, "info": 2}


def diagnose(
    run: Any, model: Any = None, train: Any = None, validation: Any = None
) -> list[Finding]:
    """Look for what goes wrong in a training.

    Args:
        run: The `Run` of a training; None looks at model and data alone. One that was watched
            (``Trainer(watch=True)``) shows vanishing and exploding gradients, layers whose outputs
            died, and since when.
        model: The trained module, for dead and identical units; it runs as a copy.
        train: The examples it was trained on, in any form that `Trainer.fit` takes; a
            `LabelledDataset` lets findings name columns.
        validation: The examples kept aside.

    Returns:
        Findings, the gravest first; none where nothing was found. They are also written into the
        run's record, in the place of an earlier diagnosis.

    Example:
        >>> import numpy as np
        >>> from chainrule.train import Run
        >>> run = Run(history={"loss": np.array([2.3, 9.1, np.nan])})
        >>> [(found.kind, found.evidence["epoch"]) for found in diagnose(run)]
        [('learning-rate-too-large', 3)]
    """
    found: list[Finding] = []
    labels = None
    watched = getattr(run, "watched", None)
    if train is not None and model is not None:
        x, labels = arrays_of(train, model)
        names = getattr(train, "feature_names", None)
        found += with_history(dead_units(model, x), watched)
        found += leaking_inputs(x, labels, names)
    if model is not None:
        found += identical_units(model)
    if run is not None:
        shares = (one.evidence.get("share", 1.0) for one in found if one.kind == "dead-units")
        rate = learning_rate_too_large(run, labels, max(shares, default=0.0))
        rate = with_updates(rate, watched)
        if model is None or train is None:
            found += with_history([], watched)
        found += watched_gradients(watched)
        # Curves that jump say nothing about overfitting.
        found += rate or overfitting(run, model, validation)
    found.sort(key=lambda one: (ORDER[one.severity], KINDS.index(one.kind)))
    if run is not None and hasattr(run, "record_findings"):
        run.record_findings(found)
    return found
