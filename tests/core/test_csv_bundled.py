"""The data sets inside scikit-learn."""

import numpy as np
import pytest

from chainrule import data
from chainrule.data._bundled import BUNDLED
from chainrule.errors import OptionError


@pytest.mark.parametrize("name", BUNDLED)
def test_each_bundled_set_loads(name):
    loaded = data.load(name)
    assert loaded.inputs.dtype == np.float32
    assert len(loaded.inputs) == len(loaded.targets) == len(loaded)
    assert len(loaded.feature_names) == loaded.inputs.shape[1]
    assert f"{len(loaded):,}" in BUNDLED[name]
    if loaded.targets.dtype == np.int64:
        assert sorted(set(loaded.targets.tolist())) == list(range(len(loaded.class_names)))


def test_the_digits_are_images_between_0_and_1():
    digits = data.load("digits")
    assert digits.image_shape == (8, 8)
    assert (digits.inputs.min(), digits.inputs.max()) == (0.0, 1.0)
    train, validation = digits.split(0.2, seed=1)
    assert len(train) + len(validation) == len(digits)
    assert np.bincount(validation.targets).min() >= 34
    assert validation.class_names == digits.class_names


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'digits'") as caught:
        data.load("digit")
    assert "breast_cancer" in str(caught.value)
