"""Every format and form gives the same sequences; what is wrong is named by row and column."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ffattn.errors import DataError
from ffattn.files import Layout, read_sequences
from ffattn.files.times import sort_keys

TEMPERATURE = [[20.0, 21.0, 19.5], [3.0], [7.0, 8.0]]
HUMIDITY = [[0.5, 0.25, 0.0], [1.0], [0.5, 0.75]]
LOAD = [1.5, 2.5, 3.5]
PLANTS = ["north", "east", "south"]
LONG = Layout(id="plant", time="day", of_sequence=("load",))


def long_rows():
    for plant, temperatures, humidities, load in zip(PLANTS, TEMPERATURE, HUMIDITY, LOAD, strict=True):
        for day, (temperature, humidity) in enumerate(zip(temperatures, humidities, strict=True)):
            yield {"plant": plant, "day": day, "temp": temperature, "hum": humidity, "load": load}


def write(path, rows):
    rows = list(rows)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text("".join(separator.join("" if v is None else str(v) for v in line) + "\n" for line in lines))
    return path


def check(raw, names=("temp", "hum")):
    assert raw.lengths.tolist() == [3, 1, 2]
    for name, expected in zip(names, (TEMPERATURE, HUMIDITY), strict=False):
        np.testing.assert_array_equal(raw.features[name], np.concatenate(expected))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_long_form(tmp_path, suffix):
    raw = read_sequences(write(tmp_path / f"data{suffix}", long_rows()), LONG)
    check(raw)
    assert raw.ids.tolist() == PLANTS
    assert raw.columns["load"].tolist() == LOAD
    assert raw.rows.tolist() == [1, 2, 3, 4, 5, 6]
    assert raw.starts.tolist() == [0, 0, 0]


def test_rows_of_the_long_form_come_in_any_order(tmp_path):
    rows = list(long_rows())
    mixed = [rows[i] for i in (5, 0, 3, 2, 4, 1)]
    raw = read_sequences(write(tmp_path / "data.csv", mixed), LONG)
    assert raw.ids.tolist() == ["south", "north", "east"]
    assert raw.features["temp"].tolist() == [7, 8, 20, 21, 19.5, 3]
    assert raw.rows.tolist() == [5, 1, 2, 6, 4, 3]


def test_without_a_time_the_order_of_the_file_counts(tmp_path):
    rows = [{"id": "a", "v": 3, "y": 0}, {"id": "b", "v": 1, "y": 1}, {"id": "a", "v": 2, "y": 0}]
    raw = read_sequences(write(tmp_path / "data.csv", rows), Layout(id="id", of_sequence=("y",)))
    assert raw.features["v"].tolist() == [3, 2, 1]
    assert raw.starts is None


@pytest.mark.parametrize(
    "times", [["2024-03-02", "2024-03-01"], ["2024-03-01 12:30:00", "2024-03-01 09:00:00"], [2.5, -1]]
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_times_are_numbers_or_dates(tmp_path, times, suffix):
    if suffix == ".parquet" and isinstance(times[0], str):
        times = np.array(times, dtype="datetime64[us]").tolist()
    rows = [{"id": "a", "when": time, "v": v, "y": 0} for time, v in zip(times, (1, 2), strict=True)]
    raw = read_sequences(write(tmp_path / f"data{suffix}", rows), Layout(id="id", time="when", of_sequence=("y",)))
    assert raw.features["v"].tolist() == [2, 1]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_row_of_lists_is_a_sequence(tmp_path, suffix):
    rows = [
        {"temp": t, "hum": h, "load": y, "where": p}
        for t, h, y, p in zip(TEMPERATURE, HUMIDITY, LOAD, PLANTS, strict=True)
    ]
    raw = read_sequences(write(tmp_path / f"data{suffix}", rows), Layout(of_sequence=("load",)))
    check(raw)
    assert list(raw.features) == ["temp", "hum"]  # a column without lists is no feature
    assert raw.ids.tolist() == ["1", "2", "3"]


def test_arrays(tmp_path):
    x, lengths = np.full((3, 4, 2), np.nan), [3, 1, 2]
    for i, length in enumerate(lengths):
        x[i, :length] = np.transpose([TEMPERATURE[i], HUMIDITY[i]])
    np.savez(tmp_path / "data.npz", x=x, lengths=lengths, y=np.array([[1.0, 2], [3, 4], [5, 6]]), label=[0, 1, 0])
    raw = read_sequences(tmp_path / "data.npz", Layout(of_sequence=("y_0", "y_1", "label")))
    check(raw, ("feature_0", "feature_1"))
    assert raw.columns["y_1"].tolist() == [2, 4, 6]
    assert raw.columns["label"].tolist() == [0, 1, 0]


def test_wide_form_of_one_feature_ends_where_values_do(tmp_path):
    rows = [
        {"t1": 1, "t2": 2, "t3": 3, "y": "a"},
        {"t1": 4, "t2": None, "t3": None, "y": "b"},
        {"t1": None, "t2": 5, "t3": None, "y": "a"},
    ]
    raw = read_sequences(write(tmp_path / "data.csv", rows), Layout(of_sequence=("y",)))
    assert raw.lengths.tolist() == [3, 1, 2]
    np.testing.assert_array_equal(raw.features["t"], [1, 2, 3, 4, np.nan, 5])


def test_wide_form_of_several_features_goes_by_the_numbers(tmp_path):
    rows = [{"b_10": 6, "a_2": 2, "a_10": 3, "a_1": 1, "b_1": 4, "b_2": 5, "y": 0}] * 2
    raw = read_sequences(write(tmp_path / "data.csv", rows), Layout(of_sequence=("y",)))
    assert {name: column[:3].tolist() for name, column in raw.features.items()} == {"b": [4, 5, 6], "a": [1, 2, 3]}


def test_ids_are_names_and_not_numbers(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,x\n001,1\n1,2\n1,3\n")
    raw = read_sequences(path, Layout("id", None, ("x",)))
    assert raw.ids.tolist() == ["001", "1"]
    assert raw.lengths.tolist() == [1, 2]


def test_an_id_that_is_also_a_time_is_a_number(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("year,x\n9,1\n10,2\n")
    raw = read_sequences(path, Layout("year", None, ("x",), ("year",)))
    assert sort_keys(raw.columns["year"], str).tolist() == [9, 10]


def test_text_is_a_sequence_of_characters_if_asked_for(tmp_path):
    path = write(tmp_path / "file.csv", [{"text": "MKV A"}, {"text": "Mk"}])
    raw = read_sequences(path, Layout(features=("text",), tokens="characters"))
    assert raw.features["text"].tolist() == list("MKVAMk")
    assert raw.lengths.tolist() == [4, 2]


def test_text_is_a_sequence_of_words(tmp_path):
    rows = [{"text": "The cat sat: the END.", "label": "x"}, {"text": "don't", "label": "y"}]
    raw = read_sequences(write(tmp_path / "data.jsonl", rows), Layout(of_sequence=("label",)))
    assert raw.are_words
    assert raw.features["text"].tolist() == ["the", "cat", "sat", "the", "end", "don't"]


def test_the_time_series_format(tmp_path):
    text = "@problemName T\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 2\n@equalLength false\n"
    text += "@classLabel true a b\n@data\n20,21,19.5:0.5,0.25,0:a\n3:1:b\n7,8:0.5,0.75:a\n"
    (tmp_path / "data.ts").write_text(text)
    raw = read_sequences(tmp_path / "data.ts", Layout(of_sequence=("target",)))
    check(raw, ("dim_0", "dim_1"))
    assert raw.columns["target"].tolist() == ["a", "b", "a"]


def cells(**changes):
    """Rows of the long form, some of them changed: `row3_temp="x"`."""
    rows = list(long_rows())
    for place, value in changes.items():
        row, column = re.fullmatch(r"row(\d)_(\w+)", place).groups()
        rows[int(row) - 1][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "layout", "message"),
    [
        (cells(), Layout(id="plnt", of_sequence=("load",)), "has no column plnt; it has plant, day, temp, hum, load"),
        (cells(), Layout(id="plant", of_sequence=("y",)), "has no column y; it has plant, day, temp, hum, load"),
        (cells(row2_plant=None), LONG, ", row 2, column plant: no id"),
        (cells(row5_day=None), LONG, ", row 5, column day: no time"),
        (
            cells(row3_load=7),
            LONG,
            ", row 3, column load: 7, and 1.5 in another row of the same sequence; must be the same",
        ),
        (cells(row1_day="monday"), LONG, ", row 1, column day: 'monday' is text, and no time;"),
        (
            cells(),
            Layout(of_sequence=("load",)),
            ", column plant: holds text; name the column that tells sequences apart",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, layout, message):
    with pytest.raises(DataError, match=re.escape(message)):
        read_sequences(write(tmp_path / "data.csv", rows), layout)


def test_lists_of_different_lengths_are_refused(tmp_path):
    rows = [{"a": [1, 2], "b": [1, 2], "y": 0}, {"a": [1, 2], "b": [1], "y": 0}]
    with pytest.raises(DataError, match="row 2, column b: 1 steps, and 2 in a"):
        read_sequences(write(tmp_path / "data.jsonl", rows), Layout(of_sequence=("y",)))


@pytest.mark.parametrize("rows", [[{"a": [1], "y": 0}, {"a": [], "y": 0}], [{"a": [1], "y": 0}, {"a": None, "y": 0}]])
def test_a_sequence_without_steps_is_refused(tmp_path, rows):
    with pytest.raises(DataError, match="row 2: a sequence of no steps"):
        read_sequences(write(tmp_path / "data.jsonl", rows), Layout(of_sequence=("y",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.xlsx", b"x", "must end in one of .csv, .tsv, .parquet"),
        ("data.parquet", b"nonsense", "cannot be read"),
        ("data.npz", b"nonsense", "cannot be read"),
        ("data.jsonl", b"{", "cannot be read"),
        ("data.jsonl", b'[{"a": 1}]', "is a JSON array; write its objects in a line each"),
        ("data.csv", b"", "cannot be read"),
        ("data.csv", b"a,b\n", "has no rows"),
        ("data.csv", b"a,b\n1,2,3\n", "the first line (a, b) has 2 values, and the next one 3; a header names each"),
        ("data.csv", b"# by me\na,b\n1,2\n", "the first line (# by me) has 1 value, and the next one 2"),
        ("data.csv", b"a,b\n1,2\n3\n", "cannot be read"),
        ("data.csv", b"a b y\n1 2 3\n", "values of CSV have commas, semicolons, tabs or bars between them"),
        ("data.csv", b"a,a\n1,2\n", "has two columns a"),
        ("data.ts", b"nonsense", "not a time-series file"),
        (None, b"", "there is no such file"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / (name or "absent.csv")
    if name is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_sequences(path, Layout(of_sequence=("y",)))
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(str(path))


def test_an_archive_runs_no_code(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.array([[print]], dtype=object), y=[0])
    with pytest.raises(DataError, match="array x holds Python objects, which are never loaded"):
        read_sequences(tmp_path / "data.npz", Layout(of_sequence=("y",)))


def test_a_column_of_objects_is_no_feature(tmp_path):
    with pytest.raises(DataError, match="column a: holds struct<b: int64>, which is neither numbers nor text"):
        read_sequences(write(tmp_path / "data.jsonl", [{"a": {"b": 1}, "y": 0}] * 2), Layout(of_sequence=("y",)))
