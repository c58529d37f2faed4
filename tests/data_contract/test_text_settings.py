"""Headers, decimal commas, encodings and the UCR archive's form. The oracle is pandas with the same settings."""

import gzip

import numpy as np
import pandas as pd
import pytest

from ffattn.config.trained_schema import Predict
from ffattn.errors import DataError, SettingError
from ffattn.files import Layout, read_sequences
from ffattn.files.targets import class_names
from ffattn.files.text_files import TextRule, TextSettings
from ffattn.inference.on_files import read_inputs
from ffattn.tasks import File

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(24, 5)).round(6)


def archive_file(folder, labels=("1", "2"), values=VALUES, name="d.tsv"):
    frame = pd.DataFrame(values)
    frame.insert(0, "label", [labels[i % len(labels)] for i in range(len(frame))])
    text = frame.to_csv(sep="\t", header=False, index=False, na_rep="NaN")
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


def changed(row, column, value):
    values = VALUES.astype(object)
    values[row, column] = value
    return values


@pytest.mark.parametrize("name", ["d.tsv", "d.tsv.gz"])
@pytest.mark.parametrize("labels", [("1", "2"), ("-1", "1"), ("a", "b"), ("9007199254740993", "9007199254740992")])
def test_the_archives_form_needs_no_setting(tmp_path, labels, name):
    path = archive_file(tmp_path, labels, name=name)
    task = File(path=str(path))
    assert sorted(task.class_names) == sorted(labels)
    raw = read_sequences(path, task.layout)
    np.testing.assert_array_equal(raw.features["value"].reshape(24, 5), VALUES)
    assert class_names(raw, "0") == [labels[i % 2] for i in range(24)]


def test_whole_numbers_as_floats_are_the_same_classes(tmp_path):
    assert File(path=str(archive_file(tmp_path, ("1.0000000e+00", "2.0000000e+00")))).class_names == ("1", "2")


def test_nan_at_the_end_is_a_shorter_sequence_and_inside_a_missing_value(tmp_path):
    lengths = RANDOM.integers(2, 6, size=24)
    values = np.where(np.arange(5) < lengths[:, None], VALUES, np.nan)
    path = archive_file(tmp_path, values=values)
    task = File(path=str(path))
    raw = read_sequences(path, task.layout)
    assert raw.lengths.tolist() == lengths.tolist()
    np.testing.assert_array_equal(raw.features["value"], values[~np.isnan(values)])
    values[3, 0] = np.nan
    path = archive_file(tmp_path, values=values)
    with pytest.raises(DataError, match=r"row 4, column value: no value .1 in all"):
        File(path=str(path)).describe()
    assert File(path=str(path), missing="mask").feature_names == ("value", "value is missing")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("much", "row 3, column 2: 'much' is no number, as most values"),
        ("0x1F", "row 3, column 2: '0x1F' looks like a number .* hexadecimal"),
        ("1_000", "row 3, column 2: '1_000' looks like a number .* marks between thousands"),
        ("1,5", "row 3, column 2: '1,5' looks like a number .* task.decimal=comma"),
        ("inf", "row 3, column value: inf is not finite"),
    ],
)
def test_what_is_no_number_is_named(tmp_path, value, message):
    with pytest.raises(DataError, match=message):
        File(path=str(archive_file(tmp_path, values=changed(2, 1, value)))).describe()


def test_a_class_that_is_missing_is_named_or_skipped(tmp_path):
    path = str(archive_file(tmp_path, ("1", "2", "NaN")))
    with pytest.raises(DataError, match="sequence 3, column 0: no class"):
        File(path=path).describe()
    assert "8 sequences without a target are left out" in File(path=path, unlabelled="skip").describe()["note"]


def test_a_header_in_the_archives_place_is_named(tmp_path):
    path = archive_file(tmp_path)
    path.write_text("y\tt0\tt1\tt2\tt3\tt4\n" + path.read_text())
    with pytest.raises(DataError, match=r"no target; give task.target=COLUMN, one of y, t0"):
        File(path=str(path)).describe()
    assert File(path=str(path), target="y").feature_names == ("t",)


@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
@pytest.mark.parametrize("target", [0, "5"])
def test_columns_of_a_file_without_a_header_are_numbers(tmp_path, name, target):
    frame = pd.DataFrame(VALUES)
    frame[5] = RANDOM.normal(size=24)
    path = tmp_path / name
    frame.to_csv(path, header=False, index=False, sep="\t" if name == "d.tsv" else ",")
    task = File(path=str(path), target=target, header=False)
    raw = read_sequences(path, task.layout)
    np.testing.assert_array_equal(raw.features["value"].reshape(24, 5), frame.drop(columns=int(target)).to_numpy())
    inputs = read_inputs(path, task)
    assert (inputs.sequences, inputs.wrong) == (24, 0)
    with pytest.raises(DataError, match=r"the first line .* task.header=false"):
        File(path=str(path), target=target).describe()


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_decimal_comma_in_any_place(tmp_path, separator, header):
    frame = pd.DataFrame(VALUES, columns=[f"t{i}" for i in range(5)]).assign(**{"y, kW": VALUES.sum(axis=1)})
    path = tmp_path / "d.csv"
    frame.to_csv(path, decimal=",", sep=separator, index=False, header=header)
    task = File(path=str(path), target="y, kW" if header else "5", header="auto" if header else False, decimal="comma")
    assert not task.is_classification
    raw = read_sequences(path, task.layout)
    values = pd.read_csv(path, decimal=",", sep=separator, header=0 if header else None).to_numpy()
    np.testing.assert_array_equal(next(iter(raw.features.values())).reshape(24, 5), values[:, :5])
    assert task.preparation.targets[0].mean == pytest.approx(values[task._contents.parts == 0, 5].mean(), rel=1e-12)
    if not header:
        with pytest.raises(DataError, match=r"the first line .* task.header=false"):
            File(path=str(path), target="5", decimal="comma").describe()


@pytest.mark.parametrize("text", ["1.500", "0.5", "1.000,5"])
@pytest.mark.parametrize("place", ["x", "y"])
def test_a_point_beside_a_decimal_comma_is_no_fraction(tmp_path, text, place):
    rows = pd.DataFrame({"id": list("aabbcc"), "x": ["1,5"] * 6, "y": ["2,5"] * 6})
    rows.loc[3, place] = text
    rows.to_csv(tmp_path / "d.csv", sep=";", index=False)
    rule = TextRule(decimal=",")
    with pytest.raises(DataError, match=f"row 4, column {place}: '{text}' has a point beside task.decimal=comma"):
        read_sequences(tmp_path / "d.csv", Layout("id", features=("x",), of_sequence=("y",), text_rule=rule))


def test_dates_with_points_are_no_numbers(tmp_path):
    (tmp_path / "d.csv").write_text("id;t;x\na;01.02.2024;1,5\na;02.02.2024;2,5\n")
    with pytest.raises(DataError, match=r"'01.02.2024' is text, and no time; day or month may come first"):
        read_sequences(tmp_path / "d.csv", Layout("id", "t", ("x",), text_rule=TextRule(decimal=",")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0,5", "1,5", "2,25"], "'0,5' looks like a number .* task.decimal=comma reads it in CSV"),
        (["1_000", "2_000", "3_000"], "'1_000' looks like a number .* marks between thousands; write 1234.5"),
        ([*map(str, range(60)), "much"], "'much' is no number, as most values of the column are.*"),
    ],
)
def test_targets_that_look_like_numbers_are_no_classes_by_chance(tmp_path, values, message):
    frame = pd.DataFrame({"t0": RANDOM.normal(size=122), "t1": 1.0, "y": (values * 122)[:122]})
    frame.to_csv(tmp_path / "d.csv", sep=";", index=False)
    with pytest.raises(DataError, match=f"sequence .*, column y: {message}; task.kind=classification takes it for"):
        File(path=str(tmp_path / "d.csv"), target="y").describe()
    if len(values) == 3:
        assert len(File(path=str(tmp_path / "d.csv"), target="y", kind="classification").class_names) == 3


@pytest.mark.parametrize("place", ["id", "y", "x"])
def test_what_pyarrow_takes_for_a_number_is_text(tmp_path, place):
    rows = pd.DataFrame({"id": list("abcd"), "x": ["1", "2", "3", "4"], "y": ["0", "1", "0", "1"]})
    rows[place] = ["0x1F", "0X1f", "7", "-0x2"]
    rows.to_csv(tmp_path / "d.csv", index=False)
    raw = read_sequences(tmp_path / "d.csv", Layout("id", features=("x",), of_sequence=("y",)))
    found = {"id": raw.ids.tolist(), "x": raw.features["x"].tolist(), "y": class_names(raw, "y")}
    assert found[place] == rows[place].tolist()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16-be", "UTF8", "cp1251"])
@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_encodings_that_are_said(tmp_path, name, encoding):
    letters = "\u0436\u0448" if encoding == "cp1251" else "\u00e9\u00fc"
    frame = pd.DataFrame({f"{letters}": [letters, "b"], "t0": [1.5, 2.5], "t1": [3.5, 4.5]})
    to_text = {"d.csv": lambda: frame.to_csv(index=False)}
    text = to_text.get(name, lambda: frame.to_json(orient="records", lines=True, force_ascii=False))()
    (tmp_path / name).write_bytes(text.encode(encoding))
    rule = TextRule(encoding=encoding.lower())
    raw = read_sequences(tmp_path / name, Layout(of_sequence=(letters,), text_rule=rule))
    assert class_names(raw, letters) == [letters, "b"]
    assert raw.features["t"].tolist() == [1.5, 3.5, 2.5, 4.5]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_mark_tells_the_encoding(tmp_path, encoding):
    (tmp_path / "d.csv").write_bytes("y,t0\n\u00e9,1\n".encode(encoding))
    assert class_names(read_sequences(tmp_path / "d.csv", Layout(of_sequence=("y",))), "y") == ["\u00e9"]


def test_other_encodings_are_named(tmp_path):
    (tmp_path / "d.csv").write_bytes("y,t0\nb,1\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"line 1: has bytes that are 0, as UTF-16 has; give task.encoding=utf-16-le"):
        read_sequences(tmp_path / "d.csv", Layout(of_sequence=("y",)))
    for encoding in ("hex", "klingon"):
        with pytest.raises(SettingError, match=f"encoding={encoding}: is not known"):
            File(path="d.csv", target="y", encoding=encoding)


def test_names_with_white_space_are_shown_in_quotes(tmp_path):
    (tmp_path / "d.csv").write_text("y, t0, t1\na,1,2\n")
    with pytest.raises(DataError, match='has no column t0; it has y, " t0", " t1"'):
        read_sequences(tmp_path / "d.csv", Layout(of_sequence=("y",), features=("t0",)))


def test_another_file_may_be_written_otherwise(tmp_path):
    frame = pd.DataFrame({"t0": VALUES[:, 0], "t1": VALUES[:, 1], "y": VALUES[:, 2]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), target="y")
    new = frame.rename(columns={"y": "\u00fc"})
    new.to_csv(tmp_path / "new.csv", index=False, decimal=",", sep=";", encoding="latin-1")
    with pytest.raises(DataError, match="is not in UTF-8"):
        read_inputs(tmp_path / "new.csv", task)
    inputs = read_inputs(tmp_path / "new.csv", task, text=TextSettings(decimal="comma", encoding="latin-1"))
    raw = next(iter(inputs.pieces))
    np.testing.assert_array_equal(raw.features["t"].reshape(24, 2), VALUES[:, :2])
    assert inputs.notes == ("left out: \u00fc (not in training)",)


@pytest.mark.parametrize("setting", ["header=maybe", "decimal=dot", "encoding=klingon"])
def test_settings_of_predict_are_checked(tmp_path, setting):
    name, value = setting.split("=")
    with pytest.raises(SettingError, match=setting):
        Predict("a.ckpt", "in.csv", str(tmp_path / "out.csv"), **{name: value})
