"""What is understood of a file's columns: said, kept, and the same for training, test and prediction."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from ffattn.errors import DataError, SettingError
from ffattn.files import Layout, read_sequences
from ffattn.inference.on_files import read_inputs
from ffattn.rng.streams import Split
from ffattn.tasks import File

RANDOM = np.random.default_rng(0)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun"]


def wide(columns, rows=30, **others):
    frame = pd.DataFrame(RANDOM.normal(size=(rows, len(columns))), columns=columns)
    return frame.assign(label=np.tile(["u", "v", "v"], rows // 3), **others)


def long_table(sequences=20):
    rows = [(f"s{i}", t, *RANDOM.normal(size=2), i % 2) for i in range(sequences) for t in range(3 + i % 4)]
    return pd.DataFrame(rows, columns=["id", "t", "x", "z", "y"])


def written(folder, frame, name="d.csv", **how):
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path, **how)
    else:
        frame.to_csv(path, index=how.get("index", False))
    return str(path)


def layout_line(task):
    return task.describe()["layout"]


def test_the_layout_is_said_in_a_line(tmp_path):
    frame = wide(["a_0", "a_1", "b_0", "b_1"])
    task = File(path=written(tmp_path, frame), target="label", leave_out=None)
    assert layout_line(task) == (
        "wide form, a column for each step; 30 sequences of 2 steps; features a (a_0 .. a_1), b (b_0 .. b_1); "
        "target label"
    )
    task = File(path=written(tmp_path, long_table()), target="y", id="id", time="t", leave_out="z")
    assert layout_line(task) == (
        "long form, a row for each step; 20 sequences by id in the order of t of 3 to 6 steps; features x; target y; "
        "left out: z (task.leave_out); task.features=[...] keeps what is left out"
    )


def test_the_layout_is_kept_in_plain_values_and_restored(tmp_path):
    path = written(tmp_path, wide(["a_0", "a_1", "a_2"]))
    task = File(path=path, target="label")
    state = json.loads(json.dumps(task.state()))
    assert state["layout"]["steps"] == {"a": ["a_0", "a_1", "a_2"]}
    restored = File(path=path, target="label")
    restored.restore(state)
    assert restored.layout == task.layout
    assert restored.state() == task.state()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["c_0", "c_1", "d_0", "d_1"], {"c": [0, 1], "d": [2, 3]}),
        (["one", "two", "three"], {"value": [0, 1, 2]}),
        (["m2", "m10", "m1"], {"m": [2, 0, 1]}),
    ],
)
def test_a_checkpoint_without_a_layout_reads_as_it_did(tmp_path, columns, expected):
    frame = wide(columns)
    task = File(path=written(tmp_path, frame), target="label", form="wide")
    state = {name: value for name, value in task.state().items() if name != "layout"}
    restored = File(path=task.path, target="label")
    restored.restore(state)
    raw = next(iter(read_inputs(tmp_path / "d.csv", restored).pieces))
    for feature, places in expected.items():
        np.testing.assert_array_equal(raw.features[feature], frame[columns].to_numpy()[:, places].ravel())


@pytest.mark.parametrize("name", ["d.csv", "d.parquet"])
@pytest.mark.parametrize("form", ["long", "wide"])
def test_the_index_of_pandas_is_no_input(tmp_path, form, name):
    frame = (long_table() if form == "long" else wide(["t0", "t1"])).sample(frac=1, random_state=0)
    path = written(tmp_path, frame, name, index=True)
    roles = {"target": "y", "id": "id", "time": "t"} if form == "long" else {"target": "label"}
    task = File(path=path, **roles)
    assert task.feature_names == (("x", "z") if form == "long" else ("t",))
    assert "(an index: it has no name)" in layout_line(task)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "row", "id", "X", "rownames", "no", "customer"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_rows_is_no_input(tmp_path, name, first):
    frame = wide(["t0", "t1", "t2"])
    frame.insert(0, name, np.arange(len(frame)) + first)
    task = File(path=written(tmp_path, frame), target="label")
    assert task.feature_names == ("t",)
    assert task.length.T == 3
    assert "an index: " in layout_line(task)
    assert "task.features=[...] keeps" in layout_line(task)


def test_names_of_rows_are_no_input_and_numbers_that_repeat_are(tmp_path):
    frame = long_table()
    frame.insert(0, "rownames", [f"r{i * 7}" for i in range(len(frame))])
    frame["row"] = frame.t
    task = File(path=written(tmp_path, frame), target="y", id="id")
    assert set(task.feature_names) == {"t", "x", "z", "row"}


def test_an_index_can_be_kept(tmp_path):
    frame = long_table()
    frame.insert(0, "index", np.arange(len(frame)))
    task = File(path=written(tmp_path, frame), target="y", id="id", features=["index", "x"])
    assert task.feature_names == ("index", "x")


def test_a_column_beside_lists_is_left_out_with_a_word(tmp_path):
    frame = pd.DataFrame({"x": [[1.0, 2.0], [3.0]] * 10, "age": [3, 4] * 10, "y": [0, 1] * 10})
    task = File(path=written(tmp_path, frame, "d.parquet"), target="y")
    assert task.feature_names == ("x",)
    assert "left out: age (no list, as the features are)" in layout_line(task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["a", "y"]}, "features=y: is the target"),
        ({"features": {"v": ["a", "y"]}}, "features=y: is the target"),
        ({"features": ["a", "a"]}, "names column a twice"),
        ({"leave_out": ["y"]}, "leave_out=y: is the target"),
        ({"leave_out": "a", "features": ["a"]}, "leave_out=a: has another role"),
        ({"time": ["a", "b"]}, "time=['a', 'b']: must be a single column"),
        ({"stride": 3}, "stride=3: is that of windows"),
        (
            {"window_steps": 3, "split": "group", "split_by": "a"},
            "split=group: windows are divided in the order of time",
        ),
        ({"id": True}, "id=True: must be a column"),
    ],
)
def test_roles_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        File(path="d.csv", target="y", **settings)


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (["age", "t0", "t1"], {}, r"age beside t0, t1; if the former are no steps, give task.leave_out=\[age\]"),
        (["customer", *MONTHS], {}, r"give task.leave_out=\[customer\]"),
        (["a_0", "a_1", "b_0"], {}, "features with different steps"),
        (["u", "v"], {}, "give task.form=wide; if each row is a step of a longer sequence, give task.id=COLUMN"),
        (["t0", "t1"], {"form": "long"}, "task.form=long needs .* task.id=COLUMN"),
        (["t0", "t1"], {"form": "lists"}, "column t0: must hold a list for each sequence"),
        (["t0", "t1"], {"form": "text"}, "a text needs a single column of text"),
        (["t0", "t1"], {"form": "wide", "id": "label"}, "task.form=wide has no column of ids"),
        (["t0", "t1"], {"leave_out": "u"}, "has no column u"),
        (["t0", "t1", "t2"], {"features": {"a": ["t0", "t1"], "b": ["t2"]}}, "as many columns for each"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, columns, settings, message):
    with pytest.raises(DataError, match=message):
        File(path=written(tmp_path, wide(columns)), target="label", **settings).describe()


@pytest.mark.parametrize(
    ("columns", "settings", "expected"),
    [
        (["age", "t0", "t1"], {"leave_out": "age"}, {"t": ["t0", "t1"]}),
        (["age", "t1", "t0"], {"features": ["t1", "t0"]}, {"t": ["t0", "t1"]}),
        (["customer", *MONTHS], {"features": MONTHS}, {"value": MONTHS}),
        (["u", "v"], {"form": "wide"}, {"value": ["u", "v"]}),
        (["u", "v"], {"features": ["v", "u"]}, {"value": ["v", "u"]}),
        (["a_0", "a_1", "b_0"], {"features": {"value": ["b_0", "a_0", "a_1"]}}, {"value": ["b_0", "a_0", "a_1"]}),
        (["u", "v", "w", "x"], {"features": {"p": ["u", "w"], "q": ["v", "x"]}}, {"p": ["u", "w"], "q": ["v", "x"]}),
        (["2", "0", "1"], {"features": [0, 1]}, {"value": ["0", "1"]}),
    ],
)
def test_each_override_gives_its_reading(tmp_path, columns, settings, expected):
    frame = wide(columns)
    task = File(path=written(tmp_path, frame), target="label", **settings)
    raw = read_sequences(tmp_path / "d.csv", task.layout)
    assert list(raw.features) == list(expected)
    for feature, names in expected.items():
        np.testing.assert_array_equal(raw.features[feature], frame[names].to_numpy().ravel())


@pytest.mark.parametrize("lengths", [[2.5, 1.0], [-1, 1], [2, 9], ["1", "2"], [1]])
def test_lengths_of_arrays_are_whole_numbers(tmp_path, lengths):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), lengths=np.array(lengths), y=[0, 1])
    with pytest.raises(DataError, match=r"lengths must be whole numbers on 0..3"):
        read_sequences(tmp_path / "d.npz", Layout(of_sequence=("y",)))


def test_duplicate_rows_are_counted(tmp_path):
    frame = long_table()
    twice = pd.concat([frame, frame.iloc[:7]])
    expected = int(twice.duplicated(["id", "t"]).sum())
    task = File(path=written(tmp_path, twice), target="y", id="id", time="t")
    assert task.describe()["note"] == f"{expected} duplicate rows repeat the id and time of another one"
    assert read_inputs(tmp_path / "d.csv", task).notes == (task.describe()["note"],)
    assert "note" not in File(path=written(tmp_path, frame), target="y", id="id", time="t").describe()


def test_ids_of_two_columns(tmp_path):
    frame = long_table()
    frame["region"] = frame.id.str[-1]
    frame["month"] = frame.t % 2
    frame["y"] = frame.region.isin(["1", "2", "3"]).astype(int)
    path = written(tmp_path, frame)
    task = File(path=path, target="y", id=["region", "month"], features=["x"])
    assert "by region and month" in layout_line(task)
    expected = frame.groupby(["region", "month"], sort=False).x.apply(list)
    raw = next(iter(read_inputs(tmp_path / "d.csv", task).pieces))
    assert raw.ids.tolist() == [f"{region}/{month}" for region, month in expected.index]
    np.testing.assert_array_equal(raw.features["x"], np.concatenate(expected.tolist()))


def test_columns_that_are_called_by_numbers(tmp_path):
    frame = long_table().rename(columns={"id": "0", "t": "1", "y": "4"})
    task = File(path=written(tmp_path, frame), target=4, id=0, time=1)
    assert (task.id, task.time, task.target, task.feature_names) == ("0", "1", ["4"], ("x", "z"))


def test_sequences_without_a_target_are_refused_or_left_out_with_a_count(tmp_path):
    frame = wide(["t0", "t1"])
    frame.loc[::5, "label"] = None
    path = written(tmp_path, frame)
    with pytest.raises(DataError, match="no class"):
        File(path=path, target="label").describe()
    task = File(path=path, target="label", unlabelled="skip")
    assert task.describe()["note"] == f"{frame.label.isna().sum()} sequences without a target are left out"
    assert (
        sum(task.size(part) for part in Split if part in (Split.TRAIN, Split.VAL, Split.TEST))
        == frame.label.notna().sum()
    )


def test_a_class_that_training_lacks_is_named_with_the_way_round(tmp_path):
    frame = wide(["t0", "t1"], rows=60).assign(label=np.repeat([f"c{i:02}" for i in range(20)], 3))
    path = written(tmp_path, frame)
    with pytest.raises(DataError, match=r"class c\d\d has not occurred in training; split=stratified gives"):
        File(path=path, target="label", val_share=0.3, test_share=0.3).describe()
    assert len(File(path=path, target="label", split="stratified", val_share=0.3, test_share=0.3).class_names) == 20
