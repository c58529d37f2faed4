"""Lists, as such or written as text: the steps of a sequence. The oracle is the list that was written."""

import json

import numpy as np
import pandas as pd
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, SequenceReader, read_sequences
from ffattn.inference.on_files import read_inputs
from ffattn.tasks import File

RANDOM = np.random.default_rng(0)
SERIES = [RANDOM.normal(size=2 + i % 5).round(6) for i in range(40)]
WAYS = {
    "json": lambda x: json.dumps(x.tolist()),
    "python": lambda x: str(list(x)),  # np.float64(0.5) in NumPy 2
    "numpy": str,
    "tuple": lambda x: str(tuple(x.tolist())),
    "spaces": lambda x: f"  [ {' , '.join(map(str, x.tolist()))} ] ",
}


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        frame.to_csv(path, index=False)
    return path


def table(way=np.ndarray.tolist):
    return pd.DataFrame({"x": [way(x) for x in SERIES], "z": [way(-x) for x in SERIES], "y": [x.sum() for x in SERIES]})


@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.jsonl"])
@pytest.mark.parametrize("way", WAYS)
def test_lists_that_are_written_as_text(tmp_path, name, way):
    task = File(path=str(write(table(WAYS[way]), tmp_path / name)), target="y")
    assert task.describe()["layout"].startswith("lists, a row for each sequence; 40 sequences of 2 to 6 steps")
    for raw in (task._contents.file, next(iter(read_inputs(tmp_path / name, task).pieces))):
        np.testing.assert_array_equal(raw.features["x"], np.concatenate(SERIES))
        np.testing.assert_array_equal(raw.features["z"], -np.concatenate(SERIES))


@pytest.mark.parametrize("name", ["d.parquet", "d.jsonl"])
def test_lists_and_their_texts_are_read_alike(tmp_path, name):
    task = File(path=str(write(table(), tmp_path / name)), target="y")
    other = write(table(WAYS["json"]).drop(columns="y"), tmp_path / "new.csv")
    raw = next(iter(read_inputs(other, task).pieces))
    np.testing.assert_array_equal(raw.features["x"], np.concatenate(SERIES))


def test_missing_values_in_lists(tmp_path):
    texts = ["[1, None, 3]", "[nan, 2]", "[1, , 2]", "[null]"]
    raw = read_sequences(write(pd.DataFrame({"x": texts}), tmp_path / "d.csv"), Layout())
    assert raw.lengths.tolist() == [3, 2, 3, 1]
    np.testing.assert_array_equal(raw.features["x"], [1, np.nan, 3, np.nan, 2, 1, np.nan, 2, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, x]", "row 3, column x: x is no number"),
        ("[1, 1_000]", "row 3, column x: 1_000 is no number"),
        ("[1 2, 3]", "row 3, column x: 1 2 is no number"),
        ("7", "row 3, column x: '7' is no list of numbers"),
        ("[0 1 ... 8 9]", "row 3, column x: '.*' has lost its middle to ..., as NumPy prints long arrays"),
        ("[[1, 2], [3, 4]]", "row 3, column x: '.*' is a list of lists; write a column of lists for each feature"),
        ("[]", "row 3: a sequence of no steps"),
        ("", "row 3: a sequence of no steps"),
    ],
)
def test_what_is_no_list_is_named(tmp_path, text, message):
    frame = pd.DataFrame({"x": ["[1, 2]", "[3]", text, "[4]"], "y": range(4)})
    with pytest.raises(DataError, match=message):
        read_sequences(write(frame, tmp_path / "d.csv"), Layout(of_sequence=("y",)))


def test_rows_are_counted_over_blocks(tmp_path, monkeypatch):
    path = write(pd.DataFrame({"x": ["[1, 2]"] * 50 + ["[1, x]"], "y": range(51)}), tmp_path / "d.csv")
    write(pd.DataFrame({"x": ["[1, 2]"] * 50, "y": range(50)}), tmp_path / "good.csv")
    layout = read_sequences(tmp_path / "good.csv", Layout(of_sequence=("y",))).layout
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 100)
    with pytest.raises(DataError, match="row 51, column x: x is no number"):
        list(SequenceReader(path, layout))


@pytest.mark.parametrize("name", ["d.parquet", "d.jsonl"])
def test_lists_of_lists_are_refused_with_the_way_round(tmp_path, name):
    path = write(pd.DataFrame({"x": [[[1.0, 2.0], [3.0, 4.0]]] * 4, "y": range(4)}), tmp_path / name)
    with pytest.raises(DataError, match="column x: is a list of lists; write a column of lists for each feature"):
        read_sequences(path, Layout(of_sequence=("y",)))


@pytest.mark.parametrize("way", [np.ndarray.tolist, WAYS["json"]])
def test_a_list_in_each_row_is_no_step(tmp_path, way):
    path = write(table(way).assign(id=[f"s{i}" for i in range(40)]), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"column x: holds a list in each row, so that a row is a sequence .* leave id"):
        read_sequences(path, Layout("id", of_sequence=("y",)))


def test_intervals_are_categories(tmp_path):
    frame = pd.DataFrame({"id": list("aabb"), "x": pd.cut([0.1, 0.4, 0.7, 0.9], 2).astype(str), "y": [0, 0, 1, 1]})
    raw = read_sequences(write(frame, tmp_path / "d.csv"), Layout("id", of_sequence=("y",)))
    assert raw.features["x"].tolist() == frame.x.tolist()
