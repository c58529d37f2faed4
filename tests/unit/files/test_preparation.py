"""Fitted on training sequences alone; numbers by hand."""

import numpy as np
import pytest
from sequences_of_arrays import raw

from ffattn.errors import DataError
from ffattn.files import (
    FitRule,
    Layout,
    Preparation,
    find_faults,
    fit_preparation,
    prepare_inputs,
    prepare_targets,
    refuse_faults,
)

ALL = np.array([True, True])


def fit(data, training, targets, *rule, **named):
    return fit_preparation(data, training, FitRule(targets, *rule, **named))


def test_numbers_are_scaled_by_the_training_part():
    data = raw({"a": [0, 2, 100, 300]}, {"y": [1.5, 9.5]})
    preparation = fit(data, np.array([True, False]), ("y",))
    assert (preparation.features[0].mean, preparation.features[0].scale) == (1, 1)
    np.testing.assert_array_equal(prepare_inputs(preparation, data), [[-1], [1], [99], [299]])
    assert prepare_targets(preparation, data).tolist() == [[0], [8]]  # one training target has no deviation: scale 1


def test_a_constant_feature_is_not_divided_by_zero():
    data = raw({"a": [5, 5, 5, 5]}, {"y": [0.5, 1.5]})
    np.testing.assert_array_equal(prepare_inputs(fit(data, ALL, ("y",)), data), np.zeros((4, 1)))


def test_several_targets_are_scaled_each():
    data = raw({"a": [1, 2, 3, 4]}, {"y": [0, 2], "z": [10, 50]})
    preparation = fit(data, ALL, ("y", "z"))
    assert prepare_targets(preparation, data).tolist() == [[-1, -1], [1, 1]]


def test_categories_are_numbered_from_one():
    data = raw({"a": ["x", "z", "y", "x"]}, {"y": [0.5, 1.5]})
    preparation = fit(data, ALL, ("y",))
    assert prepare_inputs(preparation, data)[:, 0].tolist() == [1, 3, 2, 1]
    assert preparation.categories == (4,)
    other = raw({"a": ["x", "new", "y", "x"]}, {"y": [0.5, 1.5]})
    assert prepare_inputs(preparation, other)[:, 0].tolist() == [1, 0, 2, 1]
    assert not find_faults(preparation, other)
    (fault,) = find_faults(preparation, other, is_strict=True)
    assert fault.at(other) == "data.csv, row 2, column a: new has not occurred in training"


def test_only_the_most_frequent_values_have_numbers():
    data = raw({"a": ["x", "z", "z", "y"]}, {"y": [0.5, 1.5]})
    preparation = fit(data, ALL, ("y",), max_categories=1)
    assert prepare_inputs(preparation, data)[:, 0].tolist() == [0, 1, 1, 0]


def test_unknown_words_are_never_refused():
    data = raw({"a": ["x", "z", "y", "x"]}, {"y": [0.5, 1.5]}, are_words=True)
    other = raw({"a": ["x", "new", "y", "x"]}, {"y": [0.5, 1.5]}, are_words=True)
    preparation = fit(data, ALL, ("y",))
    assert prepare_inputs(preparation, other)[:, 0].tolist() == [1, 0, 2, 1]
    assert not find_faults(preparation, other, is_strict=True)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("impute", [[-1], [0], [0], [1]]), ("mask", [[-1, 0], [0, 1], [0, 1], [1, 0]])],
)
def test_missing_values(missing, expected):
    data = raw({"a": [1, np.nan, np.nan, 3]}, {"y": [0.5, 1.5]})
    preparation = fit(data, ALL, ("y",), missing=missing)
    np.testing.assert_array_equal(prepare_inputs(preparation, data), expected)
    assert len(preparation.input_names) == len(expected[0])


def test_missing_values_are_refused_by_row_and_column():
    data = raw({"a": [1, 2, np.nan, np.nan]}, {"y": [0.5, 1.5]})
    with pytest.raises(DataError, match=r"data.csv, row 3, column a: no value \(2 in all\); missing=impute or"):
        refuse_faults(fit(data, ALL, ("y",)), data)


def test_infinity_is_refused():
    data = raw({"a": [1, 2, np.inf, 3]}, {"y": [0.5, 1.5]})
    with pytest.raises(DataError, match="row 3, column a: inf is not finite"):
        refuse_faults(fit(data, ALL, ("y",)), data)


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (["b", "a"], ("a", "b")),
        ([10, 9], ("9", "10")),
        ([1, 0], ("0", "1")),
        ([0.5, 1], ()),
        (["true", "false"], ("false", "true")),
    ],
)
def test_what_is_a_class_is_told_by_the_values(targets, classes):
    assert fit(raw({"a": [1, 2, 3, 4]}, {"y": targets}), ALL, ("y",)).classes == classes


def test_the_kind_can_be_said():
    data = raw({"a": [1, 2, 3, 4]}, {"y": [1, 0]})
    assert fit(data, ALL, ("y",), "regression").classes == ()
    assert fit(raw({"a": [1, 2, 3, 4]}, {"y": [0.5, 1]}), ALL, ("y",), "classification").classes == ("0.5", "1")


def test_a_word_among_numbers_is_a_mistake():
    data = raw({"a": ["1", "2.5", "oops", "4"]}, {"y": [0.5, 1.5]})
    with pytest.raises(DataError, match="row 3, column a: 'oops' is no number, as most values"):
        fit(data, ALL, ("y",))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([np.nan, 0.5], "sequence 1, column y: no finite number"),
        (["a", "a"], "column y: has a single class among the training sequences, a"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(targets, message):
    with pytest.raises(DataError, match=message):
        fit(raw({"a": [1, 2, 3, 4]}, {"y": targets}), ALL, ("y",))


def test_a_class_that_training_lacks_is_refused():
    data = raw({"a": [1, 2, 3, 4, 5, 6]}, {"y": ["a", "b", "c"]})
    preparation = fit(data, np.array([True, True, False]), ("y",))
    with pytest.raises(DataError, match="sequence 3, column y: class c has not occurred in training"):
        prepare_targets(preparation, data)


def test_plain_values_bring_it_back():
    data = raw({"a": [1, np.nan, 3, 4], "k": ["x", "y", "x", "x"]}, {"y": ["a", "b"]})
    preparation = fit(data, ALL, ("y",), missing="mask")
    assert Preparation.from_plain(preparation.plain()) == preparation


def test_a_layout_knows_what_is_no_feature():
    assert Layout(id="a", time="b", of_sequence=("c",), optional=("d",)).known == {"a", "b", "c", "d"}
