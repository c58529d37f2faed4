"""The test's file and a file to be predicted are read by the layout of training: by names, in any order."""

import numpy as np
import pandas as pd
import pytest

from ffattn.errors import DataError
from ffattn.inference.on_files import read_inputs
from ffattn.rng.streams import Split
from ffattn.tasks import File

RANDOM = np.random.default_rng(1)
NAMES = ["a_0", "a_1", "a_2", "b_0", "b_1", "b_2"]
MONTHS = ["jan", "feb", "mar", "apr"]


def made(columns, rows=24):
    frame = pd.DataFrame(RANDOM.normal(size=(rows, len(columns))), columns=columns)
    return frame.assign(y=RANDOM.normal(size=rows))


def task_of(folder, train, test=None, **settings):
    train.to_csv(folder / "train.csv", index=False)
    if test is not None:
        test.to_csv(folder / "test.csv", index=False)
    path = None if test is None else str(folder / "test.csv")
    return File(path=str(folder / "train.csv"), target="y", test_path=path, **settings)


def answered(folder, frame, task):
    frame.to_csv(folder / "new.csv", index=False)
    return read_inputs(folder / "new.csv", task)


@pytest.mark.parametrize("columns", [NAMES, MONTHS])
def test_the_order_of_columns_does_not_matter(tmp_path, columns):
    train, test = made(columns), made(columns)
    same = task_of(tmp_path, train, test).given(Split.TEST)
    mixed = task_of(tmp_path, train, test[RANDOM.permutation(test.columns)]).given(Split.TEST)
    assert same.x.equal(mixed.x)
    assert same.y.equal(mixed.y)


def test_a_further_column_is_left_out_with_a_word(tmp_path):
    train, test = made(MONTHS), made(MONTHS)
    plain = task_of(tmp_path, train, test)
    expected = plain.given(Split.TEST).x
    task = task_of(tmp_path, train, test.assign(customer=np.arange(24) * 1000.0))
    assert task.given(Split.TEST).x.equal(expected)
    assert task.describe()["note"] == f"{tmp_path}/test.csv: left out: customer (not in training)"
    inputs = answered(tmp_path, test.assign(customer=1.0), task)
    assert inputs.notes == ("left out: customer (not in training)",)
    np.testing.assert_array_equal(next(iter(inputs.pieces)).features["value"], test[MONTHS].to_numpy().ravel())


@pytest.mark.parametrize("columns", [NAMES, MONTHS])
def test_a_missing_column_is_one_line(tmp_path, columns):
    train, test = made(columns), made(columns).drop(columns=columns[1])
    task = task_of(tmp_path, train, test)
    for read in (lambda: task.given(Split.TEST), lambda: answered(tmp_path, test, task)):
        with pytest.raises(DataError, match=f"has no column {columns[1]}; it has {columns[0]}, "):
            read()


@pytest.mark.parametrize(
    ("columns", "longer"),
    [
        (NAMES, ["b_3", "a_3", "a_4", "b_4"]),
        (["t1", "t2"], ["t10", "t3"]),
        (["1990", "1991"], ["1992"]),
        (["2020-11", "2020-12"], ["2021-01"]),
        (MONTHS, ["may"]),
    ],
)
def test_longer_sequences_are_read_whole(tmp_path, columns, longer):
    train, test = made(columns), made([*columns, *longer])
    task = task_of(tmp_path, train, test[RANDOM.permutation(test.columns)])
    steps = len(columns + longer) // len(task.feature_names)
    given = task.given(Split.TEST)
    assert given.offsets.diff().tolist() == [steps] * 24
    raw = next(iter(answered(tmp_path, test, task).pieces))
    if len(task.feature_names) == 1:
        ordered = [*columns, *sorted(longer, key=lambda name: (len(name), name))]
        np.testing.assert_array_equal(next(iter(raw.features.values())), test[ordered].to_numpy().ravel())
    else:
        np.testing.assert_array_equal(raw.features["b"], test[[f"b_{i}" for i in range(5)]].to_numpy().ravel())


@pytest.mark.parametrize(
    ("columns", "further"),
    [(NAMES, ["a_3"]), (["t1", "t3"], ["t2"]), (["1990", "1992"], ["1989"]), (["2020-11", "2020-12"], ["2020-10"])],
)
def test_further_steps_that_are_not_at_the_end_are_refused(tmp_path, columns, further):
    task = task_of(tmp_path, made(columns))
    with pytest.raises(DataError, match=f"has columns {further[0]}, which training did not have"):
        answered(tmp_path, made([*columns, *further]), task)


def test_steps_that_training_left_out_stay_out(tmp_path):
    train = made(["t0", "t1", "t2", "t3"])
    task = task_of(tmp_path, train, features=["t0", "t1"])
    assert next(iter(answered(tmp_path, train, task).pieces)).lengths.tolist() == [2] * 24


def test_a_target_that_is_called_like_a_step_is_no_step(tmp_path):
    train = made(["x_0", "x_1", "x_2"]).drop(columns="y")
    train.to_csv(tmp_path / "train.csv", index=False)
    task = File(path=str(tmp_path / "train.csv"), target="x_2")
    assert next(iter(answered(tmp_path, train, task).pieces)).lengths.tolist() == [2] * 24


def test_a_restored_task_demands_the_same(tmp_path):
    train, test = made(NAMES), made(NAMES)
    task = task_of(tmp_path, train, test)
    expected = task.given(Split.TEST).x
    state = task.state()
    other = task_of(tmp_path, train, test[RANDOM.permutation(test.columns)].assign(customer=1.0))
    other.restore(state)
    assert other.given(Split.TEST).x.equal(expected)


def test_text_in_a_number_is_a_problem_of_its_sequence(tmp_path):
    task = task_of(tmp_path, made(MONTHS))
    frame = made(MONTHS, rows=3).astype(object)
    frame.loc[1, "feb"] = "much"
    inputs = answered(tmp_path, frame, task)
    assert inputs.wrong == 1
    assert "row 2" in inputs.problems[0]
    assert "much is no number" in inputs.problems[0]


@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.jsonl"])
def test_the_long_form_goes_by_names(tmp_path, name):
    rows = [(f"s{i}", t, *RANDOM.normal(size=2), float(i)) for i in range(20) for t in range(3)]
    frame = pd.DataFrame(rows, columns=["id", "t", "x", "z", "y"])
    writers = {
        "d.csv": lambda table, path: table.to_csv(path, index=False),
        "d.parquet": lambda table, path: table.to_parquet(path),
        "d.jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    }
    write = writers[name]
    write(frame, tmp_path / name)
    write(frame[["y", "z", "x", "t", "id"]].assign(more=1.0), tmp_path / f"test_{name}")
    task = File(
        path=str(tmp_path / name),
        target="y",
        id="id",
        time="t",
        kind="regression",
        test_path=str(tmp_path / f"test_{name}"),
    )
    raw = next(iter(read_inputs(tmp_path / f"test_{name}", task).pieces))
    np.testing.assert_allclose(raw.features["x"], frame.x, rtol=1e-6)
    assert task.feature_names == ("x", "z")
    assert "left out: more (not in training)" in task.describe()["note"]


def test_lists_become_a_file_of_steps(tmp_path):
    frame = pd.DataFrame({"x": [[1.0, 2.0], [3.0]] * 10, "y": [0, 1] * 10})
    frame.to_parquet(tmp_path / "d.parquet")
    task = File(path=str(tmp_path / "d.parquet"), target="y")
    (tmp_path / "steps.csv").write_text("who,x\na,1\na,2\nb,3\n")
    raw = next(iter(read_inputs(tmp_path / "steps.csv", task, id="who").pieces))
    assert raw.features["x"].tolist() == [1, 2, 3]
    assert raw.ids.tolist() == ["a", "b"]
