"""NumPy's archives: every type of array as it is, or one line. The oracle is the array itself."""

import re

import numpy as np
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, read_sequences
from ffattn.files.targets import class_names
from ffattn.files.values import texts_of
from ffattn.inference.on_files import read_inputs
from ffattn.tasks import File

BIG = 2**53
X = (np.random.default_rng(0).normal(size=(20, 4, 2)) * 50).astype(np.float32)
Y = np.arange(20) % 2


def archive(folder, **arrays):
    np.savez(folder / "d.npz", **arrays)
    return folder / "d.npz"


def read(folder, **arrays):
    return read_sequences(archive(folder, **arrays), Layout(of_sequence=("y",)))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "g", ">f2", ">f4", ">f8", "i1", "u1", ">i2", "i8", ">u8"])
def test_inputs_of_any_type_and_byte_order(tmp_path, kind):
    x = np.abs(X).astype(kind)
    raw = read(tmp_path, x=x, y=Y)
    for i in range(2):
        np.testing.assert_array_equal(raw.features[f"feature_{i}"], x[..., i].ravel().astype(np.float64))


@pytest.mark.parametrize(
    "values",
    [
        (Y + BIG).astype("i8"),
        (Y + BIG).astype(">i8"),
        Y.astype("u8") + np.uint64(2**64 - 5),
        Y.astype("i1"),
        Y.astype("u1"),
        np.where(Y, "007", "7"),
        np.where(Y, "007", "NA").astype(">U3"),
        np.where(Y, b"Cat", b"CAT"),
    ],
    ids=lambda values: values.dtype.str,
)
def test_classes_are_those_of_the_array(tmp_path, values):
    expected = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    assert class_names(read(tmp_path, x=X, y=values), "y") == expected


def test_truth_is_true_and_false(tmp_path):
    raw = read(tmp_path, x=X > 0, y=Y == 1)
    assert class_names(raw, "y") == [str(bool(value)).lower() for value in Y]
    assert raw.features["feature_1"].tolist() == [str(value).lower() for value in (X[..., 1] > 0).ravel().tolist()]


@pytest.mark.parametrize("lengths", [np.r_[1, np.full(19, 3)], np.full(20, 4.0), np.full(20, 2, "u1"), Y + 1])
def test_lengths_tell_what_is_real(tmp_path, lengths):
    x = X.copy()
    x[np.arange(4) >= lengths[:, None]] = np.nan
    raw = read(tmp_path, x=x, y=Y, lengths=lengths)
    assert raw.lengths.tolist() == lengths.tolist()
    expected = [X[i, : int(length), 1] for i, length in enumerate(lengths)]
    np.testing.assert_array_equal(raw.features["feature_1"], np.concatenate(expected))


def test_what_belongs_to_no_sequence_is_left_out_with_its_reason(tmp_path):
    others = {"rate": np.array(50.0), "names": np.array(["a", "b"]), "about": np.array([{"by": "me"}])}
    path = archive(tmp_path, x=X, y=Y, subject=Y, **others)
    task = File(path=str(path), target="y")
    assert task.feature_names == ("feature_0", "feature_1")
    line = task.describe()["layout"]
    assert "rate (has shape (), not (20,) or (20, output))" in line
    assert "names (has shape (2,)" in line
    assert "about (holds Python objects, which are never loaded" in line
    assert not read_inputs(path, task).notes


def test_columns_of_a_table_are_told_apart_by_their_place(tmp_path):
    layout = Layout(of_sequence=("y_0", "y_1"))
    raw = read_sequences(archive(tmp_path, x=X, y=np.stack([Y + BIG, Y], axis=1)), layout)
    assert texts_of(raw.columns["y_0"]) == [str(value + BIG) for value in Y.tolist()]
    assert texts_of(raw.columns["y_1"]) == [str(value) for value in Y.tolist()]


def padded(column):
    x = X.copy()
    x[4, 2:, column] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X.astype(object)}, "array x holds Python objects, which are never loaded; .* add an array lengths"),
        ({"x": X.astype(complex)}, "array x holds complex128, which is neither numbers, text nor times"),
        ({"x": X[0]}, "array y has|column y has shape"),
        ({"x": X[:, 0, 0]}, r"must hold an array x, \(sequence, time\) or \(sequence, time, feature\)"),
        ({"x": np.array(3.0)}, "must hold an array x"),
        ({"x": X[..., None]}, "must hold an array x"),
        ({"z": X}, "must hold an array x"),
        ({"x": X[:0], "y": Y[:0]}, "has no rows"),
        ({"x": X[:, :, :0]}, "has no column that could be a feature"),
        ({"x": padded(slice(None))}, "row 5: x ends in steps without a value; add an array lengths"),
        ({"x": X, "y": Y[:-1]}, r"column y has shape \(19,\), not \(20,\) or \(20, output\)"),
        ({"x": X, "y": np.array(1)}, r"column y has shape \(\), not"),
        ({"x": X, "y": Y.astype(object)}, "column y holds Python objects, which are never loaded"),
        ({"x": X, "feature_1": Y}, "array feature_1 is called like the feature feature_1 of x"),
        ({"x": X.astype(int), "lengths": Y}, "row 1: a sequence of no steps"),
        ({"x": X, "lengths": Y == 1}, r"lengths must be whole numbers on 0\.\.4"),
        ({"x": X, "lengths": np.array(2)}, "lengths must be whole numbers"),
        ({"x": X, "lengths": np.full(20, np.nan)}, "lengths must be whole numbers"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, **{"y": Y, **arrays} if "y" not in arrays else arrays)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (padded(0), Y, r"row 5, column feature_0: no value \(2 in all: .*\); missing=impute or missing=mask"),
        (np.where(X > 90, np.inf, X), Y, "feature_0: inf is not finite|feature_1: inf is not finite"),
        (np.tile(np.arange(4).astype("M8[D]"), (20, 1)), Y, "column feature_0: holds times"),
        (np.tile(np.arange(4).astype("m8[s]"), (20, 1)), Y, "column feature_0: holds durations"),
        (X, np.where(Y, np.nan, X[:, 0, 0]), "sequence 2, column y: no finite number"),
        (X, Y.astype("M8[D]"), "column y: holds times, which are neither numbers nor classes"),
    ],
)
def test_values_that_cannot_be_used_are_named(tmp_path, x, y, message):
    with pytest.raises(DataError, match=re.compile(message)):
        File(path=str(archive(tmp_path, x=x, y=y)), target="y").describe()
