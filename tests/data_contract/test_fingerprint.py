"""A checkpoint knows its data: what has changed since training is neither evaluated nor gone on with, and said."""

import numpy as np
import pandas as pd
import pytest
import torch

import ffattn
from ffattn.config.compose import compose_config
from ffattn.config.errors import ConfigError
from ffattn.config.trained_schema import Evaluate, Inspect
from ffattn.errors import DataError
from ffattn.files.fingerprint import changes
from ffattn.inference.checkpoint_files import KEY
from ffattn.runs.evaluating import prepare
from ffattn.tasks import File
from tests.pairwise import each_value

OPTIONS = ["accelerator=cpu", "logger=none", "trainer.progress=none", "model.hidden=4", "batch_size=8", "updates=2"]


def table():
    """Thirty sequences of 2 to 4 steps, a number and a class of each."""
    numbers = np.random.default_rng(0)
    lengths = [2 + i % 3 for i in range(30)]
    ids = np.repeat([f"s{i}" for i in range(30)], lengths)
    steps = np.concatenate([np.arange(length) for length in lengths])
    frame = pd.DataFrame({"id": ids, "t": steps, "x": numbers.normal(size=len(ids)), "kind": "a"})
    frame["kind"] = np.where(frame.index % 2, "a", "b")
    return frame.assign(y=frame.groupby("id").x.transform("sum"))


def task_of(path, **options):
    return File(path=str(path), target="y", id="id", time="t", **options)


def last_sequence_twice(frame):
    return pd.concat([frame, frame[frame.id == "s29"].assign(id="new")])


def in_other_order(frame):
    return frame.set_index("id").loc[frame.id.unique()[::-1]].reset_index()


def with_value(frame, row, column, value):
    changed = frame.copy()
    changed.loc[row, column] = value
    return changed


CHANGES = {
    "a sequence more": (last_sequence_twice, "31 sequences instead of 30"),
    "a sequence less": (lambda frame: frame[frame.id != "s3"], "29 sequences instead of 30"),
    "a step less": (lambda frame: frame.iloc[1:], "steps instead of"),
    "another order": (in_other_order, "other sequences, or in another order"),
    "another id": (lambda frame: frame.replace({"id": {"s3": "s333"}}), "other sequences, or in another order"),
    "a number": (lambda frame: with_value(frame, 5, "x", 1.0), "other values of x"),
    "a category": (lambda frame: with_value(frame, 5, "kind", "b"), "other values of kind"),
    "targets": (lambda frame: frame.assign(y=-frame.y), "other values of y"),
}
SAME = {
    "the same file again": lambda frame: frame,
    "rows in another order within sequences": lambda frame: frame.sort_values("t", ascending=False, kind="stable").pipe(
        lambda rows: rows.set_index("id").loc[frame.id.unique()].reset_index()
    ),
    "columns in another order": lambda frame: frame[["y", "kind", "x", "t", "id"]],
}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The fingerprint of the table."""
    table().to_csv(path := tmp_path_factory.mktemp("data") / "d.csv", index=False)
    return task_of(path).fingerprint()


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_said(before, tmp_path, change):
    make, message = CHANGES[change]
    make(table()).to_csv(path := tmp_path / "d.csv", index=False)
    assert message in changes(task_of(path).fingerprint(), before)


@pytest.mark.parametrize("change", SAME)
def test_what_is_read_alike_is_the_same(before, tmp_path, change):
    SAME[change](table()).to_csv(path := tmp_path / "other name.csv", index=False)
    assert changes(task_of(path).fingerprint(), before) == ""


@pytest.mark.parametrize("options", [{"split_seed": 1}, {"val_share": 0.3}, {"split": "time"}], ids=str)
def test_another_split_is_another_fingerprint(before, tmp_path, options):
    table().to_csv(path := tmp_path / "d.csv", index=False)
    assert "split otherwise" in changes(task_of(path, **options).fingerprint(), before)


def test_a_file_in_pieces_has_the_fingerprint_of_the_whole(tmp_path):
    table().to_parquet(path := tmp_path / "d.parquet", index=False, row_group_size=20)
    assert changes(task_of(path, window=2).fingerprint(), task_of(path).fingerprint()) == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a file, which tests change and put back."""
    folder = tmp_path_factory.mktemp("run")
    table().to_csv(path := folder / "d.csv", index=False)
    return ffattn.fit(*OPTIONS, task=task_of(path), folder=folder / "run", quiet=True)


@pytest.fixture
def changed(run):
    """The file, whose sequences now come in another order."""
    path = run.folder.parent / "d.csv"
    in_other_order(table()).to_csv(path, index=False)
    yield path
    table().to_csv(path, index=False)


def prepared(run, kind, tmp_path, *words):
    name = kind.__name__.lower()
    config = compose_config(name, [f"checkpoint={run.checkpoint}", "accelerator=cpu", *words])
    return prepare(kind, config, tmp_path / "new", in_sweep=False)


@each_value(split=["val", "test"], kind=[Evaluate, Inspect])
def test_a_changed_file_is_not_evaluated(run, changed, tmp_path, kind, split):
    with pytest.raises(
        DataError, match=r"d.csv: is not what the network was trained on: other sequences.*task.test_path="
    ):
        prepared(run, kind, tmp_path, f"split={split}")
    with pytest.raises(DataError, match="is not what the network was trained on"):
        run.load().evaluate(split=split)


def test_a_file_for_the_test_may_be_anything(run, changed, tmp_path):
    words = f"+task.test_path={changed}"
    assert prepared(run, Evaluate, tmp_path, words).sequences == 30
    with pytest.raises(DataError, match="val ones"):
        prepared(run, Evaluate, tmp_path, words, "split=val")


def test_a_test_file_that_has_changed_is_said(run, tmp_path, capsys):
    path, test = run.folder.parent / "d.csv", tmp_path / "test.csv"
    table().to_csv(test, index=False)
    run = ffattn.fit(*OPTIONS, task=task_of(path, test_path=str(test)), folder=tmp_path / "run", quiet=True)
    prepared(run, Evaluate, tmp_path)
    assert "has changed" not in capsys.readouterr().err
    with_value(table(), 5, "x", 1.0).to_csv(test, index=False)
    prepared(run, Evaluate, tmp_path)
    assert f"{test}: has changed since training: other values of x" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="has changed since training: other values of x"):
        run.load().evaluate()
    test.rename(tmp_path / "other.csv")
    prepared(run, Evaluate, tmp_path, f"+task.test_path={tmp_path / 'other.csv'}")
    assert "has changed" not in capsys.readouterr().err


def test_a_test_on_the_file_of_training_is_said(tmp_path):
    table().to_csv(tmp_path / "d.csv", index=False)
    in_other_order(table()).to_csv(tmp_path / "other.csv", index=False)
    table()[["y", "kind", "x", "t", "id"]].to_csv(tmp_path / "copy.csv", index=False)
    note = f"{tmp_path / 'copy.csv'}: has the inputs of the file of training"
    assert task_of(tmp_path / "d.csv", test_path=str(tmp_path / "copy.csv")).describe()["note"] == note
    assert "note" not in task_of(tmp_path / "d.csv", test_path=str(tmp_path / "other.csv")).describe()


def test_an_unchanged_file_is_evaluated(run, tmp_path):
    assert prepared(run, Evaluate, tmp_path).sequences == 4
    assert run.load().evaluate()["error"] == pytest.approx(run.result["test"]["error"], 1e-5)


def test_a_run_does_not_go_on_with_a_changed_file(run, changed):
    with pytest.raises(ConfigError, match=r"was trained on other data than what is read now: other sequences"):
        ffattn.fit(*OPTIONS, "resume=last", task=task_of(changed), folder=run.folder, quiet=True)


def test_a_checkpoint_from_before_says_that_it_cannot_tell(run, tmp_path, capsys):
    contents = torch.load(run.checkpoint, weights_only=True)
    del contents[KEY]["fingerprint"]
    torch.save(contents, old := tmp_path / "old.ckpt")
    prepare(Evaluate, compose_config("evaluate", [f"checkpoint={old}", "accelerator=cpu"]), tmp_path / "new", False)
    assert "too old to tell whether this file has changed" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="too old to tell"):
        ffattn.load(old).evaluate()
