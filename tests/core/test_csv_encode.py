"""From tables to numbers: everything is learned from the training rows, nothing from the others."""

import json

import numpy as np
import pytest

from chainrule.data import Column, LabelledDataset, Table, TableEncoder, split_table
from chainrule.errors import DataError, OptionError, ShapeError


def table(**columns) -> Table:
    made = []
    for name, cells in columns.items():
        if all(cell is None or isinstance(cell, (int, float)) for cell in cells):
            values = np.array([np.nan if cell is None else cell for cell in cells], float)
            made.append(Column(name, "number", values))
        else:
            kinds = tuple(sorted({cell for cell in cells if cell is not None}))
            codes = np.array([-1 if cell is None else kinds.index(cell) for cell in cells])
            made.append(Column(name, "category", codes, kinds))
    return Table("t.csv", made, np.arange(2, 2 + len(made[0].values)))


def test_numbers_are_standardised_by_the_training_rows():
    data = table(x=[1.0, 3.0, 100.0], y=["a", "b", "a"])
    encoder = TableEncoder.fit(data, "y", rows=np.array([0, 1]))
    np.testing.assert_allclose(encoder.inputs(data)[:, 0], [-1.0, 1.0, 98.0])


def test_missing_numbers_become_the_median_and_are_flagged():
    data = table(x=[1.0, None, 3.0, 8.0], y=[0, 1, 0, 1])
    encoder = TableEncoder.fit(data, "y")
    inputs = encoder.inputs(data)
    assert encoder.feature_names == ["x", "x is missing"]
    assert inputs[:, 1].tolist() == [0, 1, 0, 0]
    median = (3.0 - np.mean([1, 3, 3, 8])) / np.std([1, 3, 3, 8])
    assert inputs[1, 0] == pytest.approx(median)


def test_categories_one_feature_each_and_two_share_one():
    data = table(
        colour=["red", "green", "blue", "red"], side=["l", "r", "l", "r"],
        deck=["A", None, "B", "A"], y=[0, 1, 0, 1],
    )  # fmt: skip
    encoder = TableEncoder.fit(data, "y")
    assert encoder.feature_names == [
        "colour=blue", "colour=green", "colour=red", "side=r", "deck=A", "deck=B",
        "deck is missing",
    ]  # fmt: skip
    assert encoder.inputs(data).tolist() == [
        [0, 0, 1, 0, 1, 0, 0],
        [0, 1, 0, 1, 0, 0, 1],
        [1, 0, 0, 0, 0, 1, 0],
        [0, 0, 1, 1, 1, 0, 0],
    ]


def test_an_unseen_category_is_all_zeros():
    data = table(colour=["red", "green", "red", "blue"], y=[0, 1, 0, 1])
    encoder = TableEncoder.fit(data, "y", rows=np.array([0, 1, 2]))
    other = table(colour=["violet", "green", "red"], y=[0, 1, 0])
    assert encoder.feature_names == ["colour=red"]
    assert encoder.inputs(other).tolist() == [[0], [0], [1]]


def test_columns_that_cannot_help_are_left_out_with_the_reason():
    rows = 60
    rng = np.random.default_rng(0)
    data = table(
        id=(rng.permutation(rows) + 1).tolist(), same=[7] * rows, none=[None] * rows,
        name=[f"n{k}" for k in range(rows)], x=rng.normal(size=rows).tolist(),
        y=[k % 2 for k in range(rows)],
    )  # fmt: skip
    encoder = TableEncoder.fit(data, "y")
    assert encoder.feature_names == ["x"]
    assert encoder.left_out == {
        "id": "it counts the rows",
        "same": "one value only",
        "none": "no values",
        "name": "60 different texts in 60 rows",
    }


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["no", "yes", "no"], "classification"),
        ([0, 1, 1], "classification"),
        ([3, 8, 5], "classification"),
        ([1.5, 2.0, 3.0], "regression"),
        (list(range(40)), "regression"),
    ],
)
def test_the_task_follows_from_the_target(cells, task):
    data = table(x=list(np.linspace(0, 1, len(cells))), y=cells)
    assert TableEncoder.fit(data, "y").target.task == task


def test_class_numbers_and_names():
    data = table(x=[0.0, 0.5, 1.0], y=[10, -1, 10])
    encoder = TableEncoder.fit(data, "y")
    assert encoder.target.classes == ("-1", "10")
    assert encoder.targets(data).tolist() == [1, 0, 1]
    regression = TableEncoder.fit(data, "y", task="regression")
    targets = regression.targets(data)
    assert targets.shape == (3, 1)
    np.testing.assert_allclose(targets.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(targets.std(), 1, rtol=1e-6)


ERRORS = [
    (dict(x=[1.0, 2.0], y=[1, 1]), {}, "has one value only"),
    (dict(x=[1.0, 2.0], y=[None, None]), {}, "has no values"),
    (dict(x=[1.0, 1.0], y=[0, 1]), {}, "no column is left to learn 'y' from"),
    (dict(x=[1.0, 2.0], y=["a", "b"]), {"task": "regression"}, "holds texts"),
    (dict(x=[1.0, 2.0], y=[0, 1]), {"task": "ranking"}, "classification or regression"),
]


@pytest.mark.parametrize(("columns", "options", "words"), ERRORS)
def test_errors_say_what_is_wrong_with_the_target(columns, options, words):
    with pytest.raises((DataError, OptionError), match=words):
        TableEncoder.fit(table(**columns), "y", **options)


def test_a_new_class_is_refused_with_its_line():
    encoder = TableEncoder.fit(table(x=[1.0, 2.0], y=["a", "b"]), "y")
    with pytest.raises(DataError, match=r"line 3: the target 'y' is 'c'"):
        encoder.targets(table(x=[1.0, 2.0], y=["a", "c"]))


def test_texts_where_training_had_numbers_are_refused():
    encoder = TableEncoder.fit(table(x=[1.0, 2.0], y=["a", "b"]), "y")
    with pytest.raises(DataError, match="held numbers in training"):
        encoder.inputs(table(x=["one", "two"], y=["a", "b"]))


def test_codes_that_read_as_numbers_elsewhere_still_encode():
    encoder = TableEncoder.fit(table(x=["1", "2", "z"], y=["a", "b", "a"]), "y")
    assert encoder.inputs(table(x=[2, 1, None], y=["a", "b", "a"])).tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]


def test_an_encoder_survives_json():
    data = table(x=[1.0, None, 3.0], c=["u", "v", None], y=["a", "b", "a"])
    encoder = TableEncoder.fit(data, "y")
    back = TableEncoder.from_plain(json.loads(json.dumps(encoder.to_plain())))
    np.testing.assert_array_equal(back.inputs(data), encoder.inputs(data))
    assert back.target == encoder.target
    assert back.feature_names == encoder.feature_names


def test_split_is_stratified_and_reproducible():
    data = table(x=list(np.linspace(0, 1, 100)), y=["a"] * 80 + ["b"] * 20)
    train, validation, encoder = split_table(data, "y", share=0.25, seed=3)
    assert (len(train), len(validation)) == (75, 25)
    assert np.bincount(validation.targets).tolist() == [20, 5]
    again = split_table(data, "y", share=0.25, seed=3)
    np.testing.assert_array_equal(again[0].inputs, train.inputs)
    other = split_table(data, "y", share=0.25, seed=4)
    assert not np.array_equal(other[0].inputs, train.inputs)
    assert train.feature_names == tuple(encoder.feature_names)
    assert train.class_names == ("a", "b")
    # Learned from the training rows: those, and only those, have mean 0.
    assert abs(train.inputs.mean()) < 1e-6
    assert abs(validation.inputs.mean()) > 1e-6


def test_rows_without_a_target_are_left_out():
    data = table(x=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], y=[0, 1, None, 0, 1, 0])
    train, validation, _ = split_table(data, "y")
    assert len(train) + len(validation) == 5
    few = table(x=[1.0, 2.0], y=[0, 1])
    with pytest.raises(DataError, match="at least 5"):
        split_table(few, "y")


def test_labelled_data_checks_its_names():
    with pytest.raises(ShapeError, match="feature_names must name every input column"):
        LabelledDataset(np.zeros((2, 3)), np.zeros(2), feature_names=["a"])
    with pytest.raises(OptionError, match="between 0 and 1"):
        LabelledDataset(np.zeros((2, 3)), np.zeros(2)).split(1.0)
