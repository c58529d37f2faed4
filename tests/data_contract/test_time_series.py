"""`.ts` files of the time-series archive: values and classes exactly, or one line. The oracle is what was written."""

import gzip

import numpy as np
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, read_sequences
from ffattn.files.targets import class_names
from ffattn.files.time_series import has_classes, read_ts
from ffattn.files.values import parse_numbers, texts_of
from ffattn.inference.on_files import read_inputs
from ffattn.tasks import File

HEADER = "@problemName T\n@timeStamps false\n@missing false\n@univariate true\n@equalLength false\n"
SERIES = [[k + i / 4 for k in range(3 + i % 3)] for i in range(20)]
ROWS = [",".join(map(str, numbers)) for numbers in SERIES]


def written(folder, rows, targets=None, kind="classLabel", name="d.ts"):
    says = f"@{kind} {'false' if targets is None else 'true a b'}\n@data\n"
    ends = [""] * len(rows) if targets is None else [f":{targets[i % len(targets)]}" for i in range(len(rows))]
    path = folder / name
    path.write_bytes((HEADER + says + "".join(f"{row}{end}\n" for row, end in zip(rows, ends, strict=True))).encode())
    return path


def read(path):
    return read_sequences(path, Layout(of_sequence=("target",)))


def test_lengths_may_differ(tmp_path):
    raw = read(written(tmp_path, ROWS, ["a", "b"]))
    assert raw.lengths.tolist() == [len(numbers) for numbers in SERIES]
    assert raw.features["dim_0"].tolist() == [number for numbers in SERIES for number in numbers]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("change", [str, str.upper, lambda text: "\ufeff# caf\u00e9\n" + text])
def test_lines_and_settings_may_be_written_otherwise(tmp_path, end, change):
    path = written(tmp_path, ["1, 2 ,3.5:4,5,6", "7:8"], ["A", "B"])
    path.write_bytes(change(path.read_text()).replace("\n", end).encode())
    raw = read(path)
    assert raw.features["dim_0"].tolist() == [1, 2, 3.5, 7]
    assert raw.features["dim_1"].tolist() == [4, 5, 6, 8]
    assert class_names(raw, "target") == ["A", "B"]


def test_comments_may_be_in_another_encoding_and_files_compressed(tmp_path):
    path = written(tmp_path, ROWS, ["a", "b"])
    text = "# caf\u00e9\n".encode("latin-1") + path.read_bytes()
    path = tmp_path / "d.ts.gz"
    path.write_bytes(gzip.compress(text))
    assert len(read(path)) == 20


@pytest.mark.parametrize(
    "classes",
    [
        ["Cat", "CAT"],
        ["01", "1"],
        ["1.0", "1"],
        ["9007199254740993", "9007199254740992"],
        ["NA", "None"],
        ["a,b", "c;d"],
        ["caf\u00e9", "Why?"],
        ["true", "True"],
    ],
)
def test_classes_are_those_of_the_file(tmp_path, classes):
    raw = read(written(tmp_path, ROWS, classes))
    assert class_names(raw, "target") == classes * 10


def test_a_file_says_whether_it_has_classes(tmp_path):
    path = written(tmp_path, ROWS, ["1", "2", "10"], kind="targetlabel")
    task = File(path=str(path))
    assert not has_classes(path)
    assert not task.is_classification
    assert parse_numbers(read(path).columns["target"]).numbers.tolist()[:3] == [1, 2, 10]
    assert File(path=str(path), kind="classification").class_names == ("1", "2", "10")
    path = written(tmp_path, ROWS * 3, [str(number) for number in range(30)])
    assert File(path=str(path), split="stratified").class_names == tuple(str(number) for number in range(30))


def test_numbers_keep_their_digits(tmp_path):
    numbers = ["0.1234567890123456789", "9007199254740992", "3e-320", "-1.7976931348623157e308", "+.5"]
    raw = read(written(tmp_path, [",".join(numbers)], ["a"]))
    assert raw.features["dim_0"].tolist() == [float(number) for number in numbers]
    raw = read(written(tmp_path, ["1"] * 2, ["9007199254740993", "9007199254740992"], kind="targetlabel"))
    assert texts_of(raw.columns["target"]) == ["9007199254740993", "9007199254740992"]


def test_missing_values_are_missing(tmp_path):
    path = written(tmp_path, ["1,?,3", "NaN,2", "1,,2", *ROWS], ["a", "b"])
    np.testing.assert_array_equal(read(path).features["dim_0"][:8], [1, np.nan, 3, np.nan, 2, 1, np.nan, 2])
    with pytest.raises(DataError, match=r"row 1, column dim_0: no value .3 in all"):
        File(path=str(path)).describe()
    assert File(path=str(path), missing="mask").feature_names == ("dim_0", "dim_0 is missing")


def test_a_file_without_classes_is_answered(tmp_path):
    task = File(path=str(written(tmp_path, ROWS, ["a", "b"])))
    assert task.is_classification
    inputs = read_inputs(written(tmp_path, ROWS, name="new.ts"), task)
    assert (inputs.sequences, inputs.wrong) == (20, 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,abc,3"], "row 1, column dim_0: abc is no number"),
        (["1,2", "1,0x1F"], "row 2, column dim_0: 0x1F is no number"),
        (["1,2", "1,1_000"], "row 2, column dim_0: 1_000 is no number"),
        (["1,2:1,2", "1,2"], "row 2: has 1 dimensions, and 2 in row 1"),
        (["1,2:1,2,3"], "row 1, column dim_1: 3 steps, and 2 in dim_0"),
        (["", "1"], "row 1: a sequence of no steps"),
        ([], "has no rows"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, rows, ["a", "b"]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@timeStamps false", "@timeStamps true", "has time stamps, which are not read; write it as CSV"),
        ("@data", "", "not a time-series file: it has no line @data"),
        ("@classLabel true a b", "", "says nothing of classes"),
        ("a b", "a \u00e9", "is not in UTF-8"),
    ],
)
def test_other_files_are_refused(tmp_path, old, new, message):
    path = written(tmp_path, ROWS, ["\u00e9", "b"])
    path.write_bytes(path.read_text().replace(old, new).encode("latin-1" if "UTF" in message else "utf-8"))
    with pytest.raises(DataError, match=message):
        read_ts(path)


def test_a_class_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="sequence 3, column target: no class"):
        File(path=str(written(tmp_path, ROWS, ["a", "b", "?"]))).describe()
