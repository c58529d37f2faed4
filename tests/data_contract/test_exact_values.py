"""Every format and type of what identifies: as in the file, or refused in one line. The oracle is Python and pandas."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ffattn.errors import DataError
from ffattn.files import FitRule, Layout, SequenceReader, SplitRule, assign_parts, fit_preparation, read_sequences
from ffattn.files.targets import class_names
from ffattn.files.text_files import TextRule
from ffattn.files.times import sort_keys
from ffattn.files.typed_texts import typed_texts
from ffattn.files.values import parse_numbers, texts_of

BIG = 2**53
VALUES = {
    "int64": [BIG + 1, BIG, BIG + 2, -BIG - 1],
    "uint64": [2**63 + 1, 2**63, 2**64 - 1, 7],
    "nanoseconds": [1_700_000_000_000_000_000 + 40 * t for t in (3, 1, 2, 0)],
    "dates": ["2024-01-03", "2024-01-01", "2024-01-02", "2023-12-31"],
    "codes": ["007", "7", "07", "0"],
    "texts": ["NA", "None", "true", "a,b"],
}
NUMBERS = ("int64", "uint64", "nanoseconds")


def csv(path, frame):
    frame.to_csv(path, index=False)


def tsv(path, frame):
    frame.to_csv(path, index=False, sep="\t")


def json_lines(path, frame):
    path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))


def parquet_file(path, frame):
    parquet.write_table(pa.table({name: pa.array(frame[name].tolist(), _kind(frame[name])) for name in frame}), path)


def dictionaries(path, frame):
    columns = {name: pa.array(frame[name].tolist(), _kind(frame[name])) for name in frame}
    kept = {name: columns[name] if name == "x" else columns[name].dictionary_encode() for name in columns}
    parquet.write_table(pa.table(kept), path)


def large_texts(path, frame):
    columns = {name: pa.array(frame[name].tolist(), _kind(frame[name])) for name in frame}
    cast = {name: a.cast(pa.large_string()) if pa.types.is_string(a.type) else a for name, a in columns.items()}
    parquet.write_table(pa.table(cast), path)


def _kind(column):
    values = column.tolist()
    return pa.uint64() if any(isinstance(value, int) and value >= 2**63 for value in values) else None


FORMATS = {
    ".csv": csv,
    ".tsv": tsv,
    ".jsonl": json_lines,
    ".parquet": parquet_file,
    "dictionary.parquet": dictionaries,
    "large.parquet": large_texts,
}


def written(tmp_path, form, **columns):
    path = tmp_path / f"data{form}"
    FORMATS[form](path, pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", VALUES)
def test_ids_are_those_of_the_file_in_training_and_in_blocks(tmp_path, form, kind):
    values = VALUES[kind]
    path = written(tmp_path, form, id=values, x=[0.5, 1.5, 2.5, 3.5])
    layout = Layout("id", features=("x",))
    expected = [str(value) for value in values]
    assert read_sequences(path, layout).ids.tolist() == expected
    assert [name for raw in SequenceReader(path, layout) for name in raw.ids] == expected


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", VALUES)
def test_classes_and_groups_are_those_of_the_file(tmp_path, form, kind):
    values = VALUES[kind]
    path = written(tmp_path, form, id=["a", "b", "c", "d"], x=[0.5, 1.5, 2.5, 3.5], y=values)
    raw = read_sequences(path, Layout("id", features=("x",), of_sequence=("y",)))
    assert class_names(raw, "y") == [str(value) for value in values]
    parts = assign_parts(raw, SplitRule("group", "y", 0.25, 0.25))
    assert sorted(parts.tolist()) == [0, 0, 1, 2]  # four groups, and not fewer that fell together


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", [*NUMBERS, "dates"])
def test_times_order_steps_exactly(tmp_path, form, kind):
    values = VALUES[kind]
    path = written(tmp_path, form, id=["a"] * 4, t=values, x=[0.5, 1.5, 2.5, 3.5])
    raw = read_sequences(path, Layout("id", "t", ("x",)))
    assert raw.features["x"].tolist() == [x for _, x in sorted(zip(values, [0.5, 1.5, 2.5, 3.5], strict=True))]


@pytest.mark.parametrize("form", FORMATS)
def test_text_that_is_no_time_is_refused_with_the_way_round(tmp_path, form):
    for values, advice in ((["03/01/2024", "01/02/2024"], "day or month"), (["19-Apr-82", "20-Apr-82"], "2024-03-01")):
        path = written(tmp_path, form, id=["a", "a"], t=values, x=[0.5, 1.5])
        with pytest.raises(DataError, match=rf"row 1, column t: '{values[0]}' is text, and no time; .*{advice}"):
            read_sequences(path, Layout("id", "t", ("x",)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("column", "message"), [("id", "row 2, column id: no id"), ("t", "row 2, column t: no time")])
def test_what_is_missing_is_refused(tmp_path, form, column, message):
    columns = {"id": ["a", "b", "b"], "t": [1, 2, 3], "x": [0.5, 1.5, 2.5]}
    columns[column][1] = None
    with pytest.raises(DataError, match=message):
        read_sequences(written(tmp_path, form, **columns), Layout("id", "t", ("x",)))


@pytest.mark.parametrize("values", [[1.0, np.nan, 3.0], [1.0, None, 3.0]])
def test_nan_is_missing_as_null_is(tmp_path, values):
    path = tmp_path / "data.parquet"
    columns = {"id": pa.array(values, from_pandas=False), "x": [0.5, 1.5, 2.5]}
    parquet.write_table(pa.table(columns | {"g": columns["id"], "t": columns["id"]}), path)
    for layout, problem in ((Layout("id", None, ("x",)), "id: no id"), (Layout("x", "t", ("x",)), "t: no time")):
        with pytest.raises(DataError, match=f"row 2, column {problem}"):
            read_sequences(path, layout)
    raw = read_sequences(path, Layout(None, None, ("x",), ("g",)))
    with pytest.raises(DataError, match="sequence 2, column g: no value, which the split needs"):
        assign_parts(raw, SplitRule("group", "g", 0.3, 0.3))


def test_categories_that_do_not_occur_are_no_sequences(tmp_path):
    frame = pd.DataFrame({"id": pd.Categorical(["b", "b"], categories=["a", "b", "c"]), "x": [0.5, 1.5]})
    frame.to_parquet(tmp_path / "data.parquet")
    assert read_sequences(tmp_path / "data.parquet", Layout("id", None, ("x",))).ids.tolist() == ["b"]


def test_arrays_of_any_byte_order_and_text(tmp_path):
    x = np.arange(6.0).reshape(2, 3)
    names = np.array(["007", "b"])
    np.savez(tmp_path / "d.npz", x=x.astype(">f4"), y=np.array([BIG + 1, BIG], ">i8"), name=names, rate=np.array(50.0))
    raw = read_sequences(tmp_path / "d.npz", Layout(of_sequence=("y", "name")))
    assert raw.features["feature_0"].tolist() == x.ravel().tolist()
    assert texts_of(raw.columns["y"]) == [str(BIG + 1), str(BIG)]
    assert texts_of(raw.columns["name"]) == ["007", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**30), 10**30), min_size=1, max_size=5))
def test_no_digit_of_a_whole_number_is_lost(numbers):
    typed = typed_texts(pa.array([str(number) for number in numbers]))
    assert texts_of(typed) == [str(number) for number in numbers]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.decimals(-(10**8), 10**8, places=9), min_size=1, max_size=6, unique=True))
def test_times_with_many_decimals_keep_their_order(numbers):
    keys = sort_keys(pa.array([f"{number:f}" for number in numbers]), str)
    assert np.argsort(keys).tolist() == sorted(range(len(numbers)), key=numbers.__getitem__)


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_text_is_the_number(number):
    assert parse_numbers(np.array([repr(number)], dtype=object)).numbers[0] == number
    assert float(texts_of(np.array([number]))[0]) == number


@pytest.mark.parametrize("text", ["1_000", "\uff11\uff12", "0x1F", "1,5", "5 kg", "1 000", "--1", "1e"])
def test_what_python_or_arrow_takes_for_a_number_is_text_here(text):
    assert parse_numbers(np.array([text], dtype=object)).is_text.tolist() == [True]


def fitted(path, **layout):
    raw = read_sequences(path, Layout("id", None, ("x",), ("y",), **layout))
    return fit_preparation(raw, np.ones(len(raw), dtype=bool), FitRule(("y",))).features[0]


def test_numbers_as_text_are_numbers_and_codes_are_not(tmp_path):
    others = {"id": list("abc"), "y": ["u", "v", "u"]}
    assert fitted(written(tmp_path, ".jsonl", x=["1.5", "2.5", "3.5"], **others)).mean == 2.5
    assert fitted(written(tmp_path, ".jsonl", x=["01", "02", "10"], **others)).values == ("01", "02", "10")


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (["1,5", "2,25", "3"], "task.decimal=comma"),
        (["1.234,5", "2.000,1", "1.000,0"], "points between thousands"),
        (["1 000", "2 500", "3 000"], "between thousands"),
        (["1_000", "2_000", "3_000"], "between digits|between thousands"),
        (["\uff11", "\uff12", "\uff13"], "other digits"),
        (["$5", "$6", "7 €"], "a sign"),
    ],
)
def test_numbers_in_another_notation_are_refused(tmp_path, values, advice):
    path = written(tmp_path, ".csv", id=list("abc"), y=["u", "v", "u"], x=values)
    with pytest.raises(DataError, match=rf"row \d, column x: .* looks like a number.*{advice}"):
        fitted(path)


def test_a_decimal_comma_is_read_if_it_is_said(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id;x;y\na;1,5;0,5\nb;2,5;1,5\n")
    raw = read_sequences(path, Layout("id", None, ("x",), ("y",), text_rule=TextRule(decimal=",")))
    assert raw.features["x"].tolist() == [1.5, 2.5]
    assert parse_numbers(raw.columns["y"]).numbers.tolist() == [0.5, 1.5]


def test_encodings_are_read_or_named(tmp_path):
    path = tmp_path / "data.csv"
    text = "id,x\nZoë,1\n"
    layout = Layout("id", None, ("x",))
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read_sequences(path, layout).ids.tolist() == ["Zoë"]
    path.write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match=r"line 2: is not in UTF-8; give task.encoding=cp1252"):
        read_sequences(path, layout)
    said = Layout("id", None, ("x",), text_rule=TextRule(encoding="cp1252"))
    assert read_sequences(path, said).ids.tolist() == ["Zoë"]


def test_a_line_end_in_quotes_may_stand_anywhere(tmp_path):
    texts = ["good\nfilm " * 20] * 8000  # more than a megabyte
    pd.DataFrame({"text": texts, "y": range(8000)}).to_csv(tmp_path / "data.csv", index=False)
    raw = read_sequences(tmp_path / "data.csv", Layout(None, None, ("text",), ("y",)))
    assert raw.lengths.tolist() == [40] * 8000


@pytest.mark.parametrize("line", ["1,0.5,-0.5", "1,2,2", "cat,0.5,-0.2,0.3", "1,,3"])
def test_a_header_of_numbers_is_refused_unless_it_is_said(tmp_path, line):
    path = tmp_path / "data.csv"
    path.write_text(f"{line}\n{line}\n")
    with pytest.raises(DataError, match=r"the first line .* task.header=false"):
        read_sequences(path, Layout(of_sequence=("0",)))
    raw = read_sequences(path, Layout(of_sequence=("0",), form="wide", text_rule=TextRule(header=False)))
    assert len(raw) == 2
    assert texts_of(raw.columns["0"]) == [line.split(",")[0]] * 2


@pytest.mark.parametrize("names", ["x1,x2,y", "0,1,2,3,4,5,6,7,8", "850.5,852.5,854.5,fat", "2001,2002,price"])
def test_other_headers_are_names(tmp_path, names):
    path = tmp_path / "data.csv"
    path.write_text(f"{names}\n" + ",".join("5" for _ in names.split(",")) + "\n")
    assert len(read_sequences(path, Layout(of_sequence=(names.split(",")[-1],)))) == 1


@pytest.mark.parametrize("text", ["70 80 82", "1;2;3", "1.5, 2, 3"])
def test_arrays_written_as_text_are_no_words(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(f'x,y\n"{text}",a\n"{text}",b\n')
    with pytest.raises(DataError, match=r"column x: holds arrays of numbers written as text .* in brackets"):
        read_sequences(path, Layout(of_sequence=("y",)))
    path.write_text("x,y\n1984 was good,a\n20 21,b\n")
    assert read_sequences(path, Layout(of_sequence=("y",))).lengths.tolist() == [3, 2]


@pytest.mark.parametrize("texts", [["1,5", "2,25"], ["0x1F", "0x20"] * 15, ["1_000", "2_000"]])
def test_numbers_in_another_notation_are_no_words(tmp_path, texts):
    texts = [text.replace("0x", f"0x{i}") for i, text in enumerate(texts)]
    pd.DataFrame({"x": texts, "y": range(len(texts))}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=f"column x: '{texts[0]}' looks like a number"):
        read_sequences(tmp_path / "d.csv", Layout(of_sequence=("y",)))
