"""What functions say when they are given what they cannot take: given, expected, the fix."""

import re
import warnings

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.errors import DTypeError, IndexRangeError, OptionError, ShapeError

SCORES = cr.zeros(4, 3)


def message(kind: type[Exception], *parts: str) -> object:
    return pytest.raises(kind, match=r"(?s)" + ".*".join(map(re.escape, parts)))


@pytest.mark.parametrize(
    "loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.soft_margin_loss]
)
def test_column_against_row(loss: object) -> None:
    parts = (
        "input and target have different shapes",
        "given: input (4, 1), target (4,)",
        "broadcasting would compare every example with every other",
        "fix: input.squeeze(1), or target.unsqueeze(1)",
    )
    with message(ShapeError, *parts):
        loss(cr.zeros(4, 1), cr.zeros(4))  # type: ignore[operator]
    with message(ShapeError, "fix: target.squeeze(1), or input.unsqueeze(1)"):
        loss(cr.zeros(4), cr.zeros(4, 1))  # type: ignore[operator]


def test_other_unequal_shapes() -> None:
    with message(ShapeError, "fix: target.reshape(input.shape)"):
        F.mse_loss(cr.zeros(2, 3), cr.zeros(3, 2))
    with message(ShapeError, "given: input (4, 3), target (5, 3)", "fix: give one target for each"):
        F.mse_loss(cr.zeros(4, 3), cr.zeros(5, 3))
    with message(ShapeError, "binary_cross_entropy_with_logits", "input.squeeze(1)"):
        F.binary_cross_entropy_with_logits(cr.zeros(4, 1), cr.zeros(4))


def test_target_dtypes() -> None:
    whole = cr.zeros(4, dtype=cr.int64)
    with message(DTypeError, "mse_loss", "must be floating-point", "int64", "target.float()"):
        F.mse_loss(cr.zeros(4), whole)
    with message(DTypeError, "binary_cross_entropy_with_logits", "fix: target.float()"):
        F.binary_cross_entropy_with_logits(cr.zeros(4), whole)
    with message(DTypeError, "mse_loss: input must be floating-point", "fix: input.float()"):
        F.mse_loss(whole, cr.zeros(4))
    parts = ("cross_entropy", "float32 of shape (4,)", "int64 of shape (4,)", "fix: target.long()")
    with message(DTypeError, *parts):
        F.cross_entropy(SCORES, cr.zeros(4))


def test_class_targets_of_wrong_shape() -> None:
    with message(ShapeError, "target (4, 1)", "expected: target (4,)", "fix: target.squeeze(1)"):
        F.cross_entropy(SCORES, cr.zeros(4, 1, dtype=cr.int64))
    with message(ShapeError, "input (4, 3), target (5,)", "as many targets as the input has rows"):
        F.cross_entropy(SCORES, cr.zeros(5, dtype=cr.int64))
    with message(ShapeError, "give scores of shape (N, C)"):
        F.cross_entropy(cr.zeros(4), cr.zeros(4, dtype=cr.int64))
    with message(DTypeError, "(4, 3) but is int64", "fix: target.argmax(1) for one-hot rows"):
        F.cross_entropy(SCORES, cr.zeros(4, 3, dtype=cr.int64))
    with message(ShapeError, "the input is 0-d"):
        F.cross_entropy(cr.tensor(1.0), cr.tensor(0))


def test_class_numbers_out_of_range() -> None:
    parts = ("given: 3 at target[1]", "from 0 to 2", "3 classes", "give the network 4 outputs")
    with message(IndexRangeError, *parts):
        F.cross_entropy(SCORES, cr.tensor([0, 3, 1, 1]))
    with message(IndexRangeError, "given: -1 at target[3]", "or ignore_index=-100"):
        F.nll_loss(SCORES, cr.tensor([0, 2, 1, -1]))


def test_weights_of_classes() -> None:
    with message(ShapeError, "one number for each class", "given: shape (2,)", "expected: (3,)"):
        F.cross_entropy(SCORES, cr.tensor([0, 1, 2, 0]), cr.ones(2))


def test_options() -> None:
    with message(OptionError, "mse_loss: reduction='median' does not exist", "'mean', 'sum'"):
        F.mse_loss(cr.zeros(1), cr.zeros(1), reduction="median")
    with message(OptionError, "label_smoothing must be from 0 to 1; 2.0"):
        F.cross_entropy(SCORES, cr.tensor([0, 0, 0, 0]), label_smoothing=2.0)
    with message(OptionError, "softmax: dim is missing", "(4, 3)", "fix: dim=1"):
        F.softmax(SCORES)
    with message(ShapeError, "log_softmax: dim=2 does not exist", "from -2 to 1"):
        F.log_softmax(SCORES, dim=2)
    with message(OptionError, "dropout: p must be from 0 to 1; 1.5"):
        F.dropout(SCORES, 1.5)
    with message(OptionError, "beta must be 0 or more"):
        F.smooth_l1_loss(SCORES, SCORES, beta=-1.0)
    with message(OptionError, "delta must be above 0"):
        F.huber_loss(SCORES, SCORES, delta=0.0)
    with message(OptionError, "approximate='fast' does not exist"):
        F.gelu(SCORES, "fast")
    with message(OptionError, "min_val=1.0 is above max_val=0.0"):
        F.hardtanh(SCORES, 1.0, 0.0)
    with message(OptionError, "celu: alpha must not be 0"):
        F.celu(SCORES, 0.0)


def test_shapes_of_activations_and_flatten() -> None:
    with message(ShapeError, "prelu: weight must hold one number", "(2,)", "(1,) or (3,)"):
        F.prelu(SCORES, cr.zeros(2))
    with message(ShapeError, "glu: dim=1 has length 3; it must be even"):
        F.glu(SCORES, 1)
    with message(ShapeError, "start_dim=1 lies after end_dim=0"):
        F.flatten(SCORES, 1, 0)


def test_not_a_tensor() -> None:
    with message(DTypeError, "relu: input must be a tensor, a ndarray was", "cr.tensor(input)"):
        F.relu(np.zeros(3))  # type: ignore[arg-type]
    with message(DTypeError, "mse_loss: target must be a tensor, a float was given"):
        F.mse_loss(cr.zeros(1), 0.0)  # type: ignore[arg-type]


def test_linear_shapes() -> None:
    w = cr.zeros(5, 3)
    with message(ShapeError, "input's last axis has length 4, the weight takes 3", "(..., 3)"):
        F.linear(cr.zeros(2, 4), w)
    with message(ShapeError, "input.flatten(1)", "nn.Flatten()"):
        F.linear(cr.zeros(2, 1, 28, 28), cr.zeros(10, 784))
    with message(ShapeError, "fix: input.T, if its columns are the examples"):
        F.linear(cr.zeros(3, 7), w)
    with message(ShapeError, "fix: input.unsqueeze(1): one row an example"):
        F.linear(cr.zeros(7), cr.zeros(2, 1))
    with message(DTypeError, "linear: the input is float64, the weight float32", "model.double()"):
        F.linear(cr.zeros(2, 3, dtype=cr.float64), w)


def test_probabilities_out_of_range() -> None:
    parts = ("the prediction must lie from 0 to 1", "from 0.5 to 2", "BCEWithLogitsLoss")
    with message(OptionError, *parts):
        F.binary_cross_entropy(cr.tensor([0.5, 2.0]), cr.tensor([0.0, 1.0]))
    with message(OptionError, "the target must lie from 0 to 1", "labels are 0 and 1"):
        F.binary_cross_entropy(cr.tensor([0.5]), cr.tensor([2.0]))
    with message(OptionError, "binary_cross_entropy_with_logits: the target", "not -1 and 1"):
        F.binary_cross_entropy_with_logits(cr.tensor([0.5]), cr.tensor([-1.0]))


def test_softmax_before_cross_entropy_warns_with_the_reason() -> None:
    x = cr.zeros(4, 3, requires_grad=True)
    y = cr.tensor([0, 1, 2, 0])
    with pytest.warns(
        UserWarning, match=r"(?s)output of a softmax.*leave out the last softmax"
    ) as w:
        F.cross_entropy(F.softmax(x, 1), y)
    assert w[0].filename == __file__
    with pytest.warns(UserWarning, match="cross_entropy was given the output of a softmax"):
        cr.nn.CrossEntropyLoss()(cr.nn.Softmax(dim=1)(x), y)
    with pytest.warns(UserWarning, match="log_softmax instead of softmax"):
        F.nll_loss(F.softmax(x, 1), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.cross_entropy(F.log_softmax(x, 1), y)
        F.nll_loss(F.log_softmax(x, 1), y)
        F.cross_entropy(x / (x.exp().sum(1, keepdim=True)), y)


def test_sigmoid_before_logits_loss_warns() -> None:
    x = cr.zeros(4, requires_grad=True)
    with pytest.warns(UserWarning, match=r"(?s)output of a sigmoid.*leave out the last sigmoid"):
        F.binary_cross_entropy_with_logits(x.sigmoid(), cr.zeros(4))


def test_shapes_of_pairs() -> None:
    x = cr.zeros(4, 3)
    with message(ShapeError, "triplet_margin_loss: the shapes differ", "negative (4, 2)"):
        F.triplet_margin_loss(x, x, cr.zeros(4, 2))
    with message(ShapeError, "cosine_embedding_loss: target must be (4,)", "(4, 1)"):
        F.cosine_embedding_loss(x, x, cr.zeros(4, 1))
    with message(OptionError, "gaussian_nll_loss: var holds a negative variance"):
        F.gaussian_nll_loss(x, x, -1.0)
