"""A file that is read from beginning to end has the sequences of the file read whole, wherever its blocks end."""

import gzip
import json

import numpy as np
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, ScatteredError, SequenceReader, read_sequences

pa = pytest.importorskip("pyarrow")
from pyarrow import csv, parquet  # noqa: E402

LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
IDS = [f"plant {i}" for i in (7, 3, 9, 0, 1, 8, 4, 2, 6, 5)]
numbers = np.random.default_rng(0)
LONG = {
    "id": np.repeat(IDS, LENGTHS).tolist(),
    "day": np.concatenate([np.arange(length)[::-1] for length in LENGTHS]).tolist(),
    "kind": numbers.choice(["a", "b", "two\nlines, quoted"], sum(LENGTHS)).tolist(),
    "temp": [1, 2, *numbers.normal(size=sum(LENGTHS) - 2).tolist()],  # whole numbers, and then others
    "load": np.repeat(np.arange(len(LENGTHS)) / 4, LENGTHS).tolist(),
}
FORMS = {
    "long": (LONG, Layout("id", None, ("kind", "temp"))),
    "by time": (LONG, Layout("id", "day", ("temp",))),
    "wide": (
        {"a_0": list(range(10)), "a_1": [None, 1.5] * 5, "y": list(range(10))},
        Layout(None, None, ("a_0", "a_1")),
    ),
    "texts": ({"text": ["one two", "three"] * 5, "y": list(range(10))}, Layout(None, None, ("text",))),
    "lists": ({"x": [[0.5] * n for n in (*LENGTHS[1:], 0)]}, Layout(None, None, ("x",))),
}


def write(path, columns):
    table = pa.table(columns)
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=7)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def same(parts, whole):
    assert np.concatenate([part.ids for part in parts]).tolist() == whole.ids.tolist()
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    assert np.concatenate([part.lengths for part in parts]).tolist() == whole.lengths.tolist()
    for name, column in whole.features.items():
        assert np.concatenate([part.features[name] for part in parts]).tolist() == pytest.approx(column.tolist())


@pytest.mark.parametrize("block", [1, 60, 400, 1 << 20])
@pytest.mark.parametrize(
    ("form", "suffix"),
    [(form, s) for form in FORMS for s in (".csv", ".jsonl", ".parquet") if (form, s) != ("lists", ".csv")],
)
def test_parts_put_together_are_the_file(form, suffix, block, tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", block)
    columns, layout = FORMS[form]
    path = write(tmp_path / f"file{suffix}", columns)
    parts = list(SequenceReader(path, layout))
    assert len(parts) > 1 if block < 400 else len(parts) == 1 or block == 400
    same(parts, read_sequences(path, layout, has_empty=True))


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_sequence_may_be_longer_than_what_is_read_at_once(block, tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", block)
    columns = {"id": [1] * 50 + [2], "x": range(51)}
    path, layout = write(tmp_path / "file.csv", columns), Layout("id", None, ("x",))
    same(list(SequenceReader(path, layout)), read_sequences(path, layout))


def test_rows_that_stand_apart_are_found_only_where_they_are_read_apart(tmp_path, monkeypatch):
    path = write(tmp_path / "file.csv", {"id": ["a", "b"] * 20, "x": range(40)})
    file = SequenceReader(path, Layout("id", None, ("x",)))
    (all_at_once,) = file
    assert all_at_once.lengths.tolist() == [20, 20]
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 20)
    with pytest.raises(ScatteredError, match="the rows of a sequence stand apart"):
        list(file)
    same([file.whole()], all_at_once)


def test_a_compressed_file_is_read_in_parts_too(tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 1)
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(b"id,x\n1,2\n1,3\n2,4\n3,5\n"))
    parts = list(SequenceReader(path, Layout("id", None, ("x",))))
    assert len(parts) > 1
    assert np.concatenate([part.features["x"] for part in parts]).tolist() == [2, 3, 4, 5]


def test_what_is_text_stays_text(tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 8)
    path = tmp_path / "file.csv"
    path.write_text("id,kind\n001,07\n001,7\n01,07\n2,x\n")
    parts = list(SequenceReader(path, Layout("id", None, ("kind",), texts=("id", "kind"))))
    assert np.concatenate([part.ids for part in parts]).tolist() == ["001", "01", "2"]
    assert np.concatenate([part.features["kind"] for part in parts]).tolist() == ["07", "7", "07", "x"]


def test_a_column_of_two_types_is_text_where_they_meet(tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 8)
    path = tmp_path / "file.csv"
    path.write_text("id,x\n1,4\n1,5.5\n1,warm\n2,3\n")
    first, *_ = SequenceReader(path, Layout("id", None, ("x",)))
    assert first.features["x"].tolist() == ["4", "5.5", "warm", "3"]


def test_an_object_may_lack_what_others_have(tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 8)
    path = tmp_path / "file.jsonl"
    path.write_text('{"id": 1, "x": 2}\n{"id": 1}\n{"id": 2, "x": 3}\n')
    parts = list(SequenceReader(path, Layout("id", None, ("x",))))
    np.testing.assert_equal(np.concatenate([part.features["x"] for part in parts]), [2, np.nan, 3])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "f.csv",
            "id,x\n1,2\n1,3\n2,5\n2,6\n3,7,8\n",
            "f.csv: cannot be read: CSV parse error: row 5: Expected 2 columns",
        ),
        ("f.csv", "id,x\n1\n", "row 1: Expected 2 columns"),
        ("f.csv", "id,x\n1,2\n1,3\n2,5\n,6\n3,7\n", "f.csv, row 4, column id: no id"),
        ("f.csv", "name,x\n1,2\n1,3\n2,5\n", "has no column id; it has name, x"),
        ("f.csv", "id,x,x\n1,2,3\n", "has two columns x"),
        ("f.csv", "id,x\n", "has no rows"),
        (
            "f.jsonl",
            '{"id": 1, "x": 2}\n{"id": 1, "x": 2}\n{"id": 2, "x": }\n',
            "JSON parse error: Invalid value. in row 3",
        ),
        ("f.tsv", "id\tx\n1\t2\n1\n", "row 2: Expected 2 columns"),
        ("f.xls", "", "the format is told by the name"),
    ],
)
def test_mistakes_are_named_by_the_row_of_the_file(name, text, line, tmp_path, monkeypatch):
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 8)
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=line):
        list(SequenceReader(path, Layout("id", None, ("x",))))
