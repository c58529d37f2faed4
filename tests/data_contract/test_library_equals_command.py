"""`TrainedModel.predict` takes what stands in a file, and gives what `python -m ffattn.predict` gives."""

import numpy as np
import pandas as pd
import pytest
import torch

from ffattn.errors import DataError
from ffattn.inference.checkpoint import build_network
from ffattn.inference.on_files import predict, read_inputs
from ffattn.inference.online import Running
from ffattn.inference.trained import TrainedModel
from ffattn.models import FFAttention
from ffattn.tasks import Add, File, Xor

MODEL = FFAttention(hidden=4, normalizer="softmax")
LENGTHS = [2 + i % 3 for i in range(30)]


def table():
    numbers = np.random.default_rng(0)
    ids = np.repeat([f"s{i}" for i in range(30)], LENGTHS)
    frame = pd.DataFrame({"id": ids, "kind": numbers.choice(["a", "b"], len(ids))})
    frame = frame.assign(temp=numbers.normal(1e4, 30, len(ids)), wind=numbers.normal(0, 1e-4, len(ids)))
    load = frame.groupby("id").temp.transform("mean")
    return frame.assign(load=load, cost=-1e6 * load, grade=np.where(load > 1e4, "high", "low"))


CASES = {
    "one target": {"target": "load", "features": ["temp", "wind"]},
    "two targets": {"target": ["load", "cost"], "features": ["wind", "temp"]},
    "classes": {"target": "grade", "features": ["temp"]},
    "a category before a number": {"target": "load", "features": ["kind", "temp"]},
    "gaps": {"target": "load", "features": ["temp", "wind"], "missing": "mask"},
}


def made(task):
    torch.manual_seed(1)
    return TrainedModel(build_network(MODEL, task, seed=3).eval(), task, MODEL, seed=0, update=0)


def case(name, tmp_path):
    frame = table()
    if name == "gaps":
        frame.loc[frame.index % 5 == 1, "temp"] = np.nan
    frame.to_csv(path := tmp_path / "d.csv", index=False)
    trained = made(File(path=str(path), id="id", **CASES[name]))
    rows = list(predict(trained, read_inputs(path, trained.task).pieces))
    names = list(trained.columns)
    assert names == CASES[name]["features"]
    return trained, rows, [own[names].to_numpy() for _, own in frame.groupby("id", sort=False)]


@pytest.mark.parametrize("name", CASES)
def test_arrays_of_raw_values_have_the_answers_of_the_file(name, tmp_path):
    trained, rows, x = case(name, tmp_path)
    found = trained.predict(x)
    if trained.task.is_classification:
        assert found.tolist() == [row["grade"] for row in rows]
        wanted = [[row[f"p_{kind}"] for kind in trained.task.class_names] for row in rows]
        np.testing.assert_array_equal(trained.predict_proba(x).numpy(), wanted)
        return
    np.testing.assert_array_equal(found.numpy(), [[row[t] for t in trained.task.target] for row in rows])
    with pytest.raises(ValueError, match="have no probabilities"):
        trained.predict_proba(x)


@pytest.mark.parametrize("name", ["two targets", "classes"])
def test_an_answer_that_is_not_finite_is_an_error(name, tmp_path):
    trained, _, x = case(name, tmp_path)
    torch.nn.init.constant_(trained.network.output.bias, torch.nan)
    for answer in (trained.predict, trained.predict_proba)[: 2 if name == "classes" else 1]:
        with pytest.raises(DataError, match="x, sequence 0: the answer is not finite"):
            answer(x)


def test_padded_arrays_tensors_and_tables_are_the_same(tmp_path):
    trained, _, x = case("one target", tmp_path)
    wanted = trained.predict(x)
    padded = np.full((30, 4, 2), np.nan)
    for row, own in zip(padded, x, strict=True):
        row[: len(own)] = own
    assert torch.equal(trained.predict(padded, LENGTHS), wanted)
    assert torch.equal(trained.predict(torch.from_numpy(padded), torch.tensor(LENGTHS)), wanted)
    frames = [pd.DataFrame(own, columns=["temp", "wind"])[["wind", "temp"]] for own in x]
    assert torch.equal(trained.predict(frames), wanted)
    with pytest.raises(ValueError, match="x, sequence 0: ends in steps without a value; give lengths"):
        trained.predict(padded)
    assert trained.predict([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), r"must be \(batch, time, 2\): kind, temp"),
        (np.zeros((2, 3, 1)), r"must be \(batch, time, 2\): kind, temp"),
        ([np.zeros((3, 1))], r"a sequence is \(3, 1\); must be \(time, 2\): kind, temp"),
        ([{"temp": [1.0]}], "a sequence has no column kind; it has temp"),
        ([[["z", 1.0]]], "x, sequence 0, step 0, column kind: z has not occurred in training"),
        ([[["a", 1.0], ["a", None]]], "x, sequence 0, step 1, column temp: no value"),
        ([[["a", 1.0]], [["a", "warm"]]], "x, sequence 1, step 0, column temp: warm is no number"),
        ([[["a", np.inf]]], "column temp: inf is not finite"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(x, message, tmp_path):
    trained, _, _ = case("a category before a number", tmp_path)
    with pytest.raises((ValueError, DataError), match=message):
        trained.predict(x)


def test_texts_have_the_answers_of_the_file(tmp_path):
    frame = pd.DataFrame({"text": [f"A {w} film, {w}!" for w in ["good", "bad", "long"] * 8], "y": range(24)})
    frame.to_csv(path := tmp_path / "d.csv", index=False)
    trained = made(File(path=str(path), target="y", kind="regression"))
    rows = list(predict(trained, read_inputs(path, trained.task).pieces))
    assert trained.predict(frame.text.tolist()).flatten().tolist() == [row["y"] for row in rows]


def test_wide_rows_have_the_answers_of_the_file(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(500, 2, (20, 6)), columns=[f"t{i}" for i in range(6)])
    frame.assign(y=frame.sum(axis=1)).to_csv(path := tmp_path / "d.csv", index=False)
    trained = made(File(path=str(path), target="y", kind="regression"))
    rows = list(predict(trained, read_inputs(path, trained.task).pieces))
    assert trained.predict(frame.to_numpy()).flatten().tolist() == [row["y"] for row in rows]


def test_a_stream_of_raw_steps_has_the_answers_of_the_file(tmp_path):
    trained, rows, x = case("one target", tmp_path)
    for row, own in list(zip(rows, x, strict=True))[:3]:
        assert Running(trained).push(own).answer()["load"] == pytest.approx(row["load"], rel=1e-6)


@pytest.mark.parametrize("task", [Add(), Xor()], ids=["add", "xor"])
def test_made_tasks_answer_as_they_did(task):
    trained = made(task)
    batch = task.example(5)
    outputs = trained.answer(batch.x, batch.lengths).prediction
    wanted = outputs.argmax(dim=1) if task.is_classification else outputs
    assert torch.equal(trained.predict(batch.x, batch.lengths), wanted)
    if task.is_classification:
        assert torch.equal(trained.predict_proba(batch.x, batch.lengths), outputs.softmax(dim=1))
