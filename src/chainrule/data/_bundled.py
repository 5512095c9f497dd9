"""`data.load(name)`: the real data sets that come inside scikit-learn; nothing is downloaded."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from ..errors import OptionError, require
from ._labelled import LabelledDataset

BUNDLED = {
    "digits": "1,797 handwritten digits, 8 x 8 grey levels, classes 0 to 9",
    "iris": "150 irises, 4 measures, 3 species",
    "wine": "178 wines, 13 chemical measures, 3 cultivars",
    "breast_cancer": "569 tumours, 30 measures, malignant or benign",
    "diabetes": "442 patients, 10 measures, disease progression after a year",
    "linnerud": "20 men, 3 exercises, weight, waist and pulse",
}
"""What `load` knows: name and contents."""

_UNKNOWN = "no bundled data set is called {name!r}.\n  {hint}fix: one of {known}"
_LEVELS = 16.0  # the digits' grey levels run from 0 to 16


def load(name: str) -> LabelledDataset:
    """Load a real data set that is bundled with scikit-learn.

    Args:
        name: digits, iris, wine, breast_cancer, diabetes or linnerud.

    Returns:
        A `LabelledDataset`: inputs float32 (examples, features), targets int64 class numbers
        (examples,) or, for diabetes and linnerud, float32 (examples, outputs). The digits' pixels
        run from 0 to 1.

    Raises:
        OptionError: when the name is not known.
        MissingExtraError: when scikit-learn is not installed.

    Example:
        >>> digits = load("digits")
        >>> digits.inputs.shape, digits.image_shape, digits.class_names[3]
        ((1797, 64), (8, 8), '3')
    """
    if name not in BUNDLED:
        near = difflib.get_close_matches(name, BUNDLED, n=1)
        hint = f"did you mean {near[0]!r}?\n  " if near else ""
        raise OptionError(_UNKNOWN.format(name=name, hint=hint, known=", ".join(BUNDLED)))
    sets = require("sklearn.datasets", "sklearn", f"the bundled data set {name!r}")
    bunch = getattr(sets, f"load_{name}")()
    inputs = np.asarray(bunch.data, dtype=np.float32)
    image_shape = None
    if name == "digits":
        inputs, image_shape = inputs / np.float32(_LEVELS), (8, 8)
    if name in ("diabetes", "linnerud"):
        targets = np.asarray(bunch.target, dtype=np.float32).reshape(len(inputs), -1)
    else:
        targets = np.asarray(bunch.target, dtype=np.int64)
    return LabelledDataset(
        inputs,
        targets,
        feature_names=[str(feature) for feature in bunch.feature_names],
        class_names=_class_names(bunch, targets),
        image_shape=image_shape,
        name=name,
    )


def _class_names(bunch: Any, targets: np.ndarray[Any, Any]) -> list[str]:
    """Give what the classes are called; none where numbers are predicted."""
    return [str(label) for label in bunch.target_names] if targets.ndim == 1 else []
