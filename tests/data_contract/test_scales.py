"""Numbers are right at any scale: metrics, answers and pictures, against NumPy and scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ffattn.figures.answers import draw_answers
from ffattn.figures.record import record_attention
from ffattn.inference.checkpoint import build_network
from ffattn.inference.columns import NOT_FINITE, preparation_of
from ffattn.inference.evaluation import evaluate
from ffattn.inference.on_files import predict, read_inputs
from ffattn.inference.online import Running
from ffattn.inference.output_files import OutputFile
from ffattn.inference.trained import TrainedModel
from ffattn.models import FFAttention
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import File

SEQUENCES = 40
STEPS = 3
X = np.random.default_rng(0).normal(size=(SEQUENCES, STEPS))
Y = X.sum(axis=1)
TEST = Stream(0, Split.TEST)
UNITS = st.integers(-30, 30).map(lambda exponent: 10.0**exponent)
OFFSETS = st.sampled_from([0.0, 1.0, -1e3, 1e6, 1.7e9])  # in standard deviations


def trained_on(folder, x=X, y=Y):
    """A network as it is before training, on long data of one feature; its file is `d.csv`."""
    ids = np.repeat(np.arange(SEQUENCES), STEPS)
    columns = {"id": ids, "t": np.tile(np.arange(STEPS), SEQUENCES), "x": x.ravel(), "y": np.repeat(y, STEPS)}
    frame = pd.DataFrame(columns)
    frame.to_csv(folder / "d.csv", index=False)
    task = File(path=str(folder / "d.csv"), target="y", id="id", time="t")
    task.restore(task.state())  # as from a checkpoint, whatever becomes of the file
    torch.manual_seed(0)
    model = FFAttention(hidden=8)
    return TrainedModel(build_network(model, task).eval(), task, model, 0, 0)


def answers_of(trained, folder, **options):
    return list(predict(trained, read_inputs(folder / "d.csv", trained.task).pieces, **options))


def values_of(trained, folder):
    return np.array([row["y"] for row in answers_of(trained, folder)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scales")


@given(UNITS, OFFSETS)
@settings(max_examples=8, deadline=None)
def test_metrics_are_those_of_the_answers_in_the_unit_of_the_file(folder, unit, offset):
    y = (Y + offset) * unit
    trained = trained_on(folder, y=y)
    scores = evaluate(trained.network, trained.task, TEST, trained.task.size(Split.TEST))
    rows = answers_of(trained, folder)
    tested = places_in_test(trained.task)
    found = np.array([rows[number]["y"] for number in tested])
    digits = max(1e-5, 1e-9 * offset**2 * 1e-6)
    rounding = 4 * np.finfo(float).eps * np.abs(y).max()
    assert scores["mae"] == pytest.approx(mean_absolute_error(y[tested], found), rel=1e-5, abs=rounding)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(y[tested], found), rel=1e-5, abs=rounding)
    centred = (y[tested] - y[0]) / unit, (found - y[0]) / unit
    assert scores["r2"] == pytest.approx(r2_score(*centred), rel=digits)


def places_in_test(task):
    contents = task._contents
    return np.flatnonzero(contents.parts == 2)


@given(UNITS, OFFSETS)
@settings(max_examples=8, deadline=None)
def test_answers_do_not_depend_on_units(folder, unit, offset):
    plain = values_of(trained_on(folder), folder)
    trained = trained_on(folder, x=(X + offset) * unit, y=(Y + offset) * unit)
    rounding = 1e-15 * abs(offset)  # of the file's own numbers
    assert values_of(trained, folder) / unit - offset == pytest.approx(plain, abs=1e-5 + 10 * rounding)


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_an_answer_that_is_not_finite_is_null_with_a_reason(tmp_path, kind):
    trained = trained_on(tmp_path, y=Y if kind == "numbers" else np.where(Y > 0, "a", "b"))
    next(trained.network.parameters()).data.fill_(torch.nan)
    output = OutputFile(tmp_path / "p.jsonl", preparation_of(trained.task), weights=True)
    output.resume({})
    with output.writer() as write:
        for row in answers_of(trained, tmp_path, weights=True):
            write(row)
    output.finish()
    rows = [json.loads(line, parse_constant=refuse_constant) for line in output.path.read_text().splitlines()]
    assert len(rows) == SEQUENCES
    for row in rows:
        assert row.pop("problem") == NOT_FINITE
        assert row.pop("id")
        assert set(row.values()) == {None}
    answer = Running(trained).push(X[0][:, None]).answer()
    assert (answer["y"], answer["problem"]) == (None, NOT_FINITE)


def test_a_value_far_from_those_of_training_has_no_answer_and_the_others_have_theirs(tmp_path):
    trained = trained_on(tmp_path)
    frame = pd.read_csv(tmp_path / "d.csv")
    before = values_of(trained, tmp_path)
    frame.loc[4, "x"] = 1e200
    frame.to_csv(tmp_path / "d.csv", index=False)
    rows = answers_of(trained, tmp_path)
    problem = f"{tmp_path}/d.csv, row 5, column x: 1e+200 is too far from the numbers of training"
    assert (rows[1]["y"], rows[1]["problem"]) == (None, problem)
    assert [row["y"] for row in rows[2:]] == pytest.approx(before[2:].tolist())


def sorted_classes(folder, names):
    """A file whose test part is itself, sorted by class."""
    labels = np.repeat(names, 100)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(len(labels), 4)), columns=[f"t{i}" for i in range(4)])
    frame.assign(label=labels).to_csv(folder / "c.csv", index=False)
    path = str(folder / "c.csv")
    return File(path=path, target="label", test_path=path)


def test_pictures_show_a_sample_of_all_classes_and_the_sequence_that_is_asked_for(tmp_path):
    names = ["a", "b", "c", "a name that is much too long to stand beside the others on one axis $x_1"]
    task = sorted_classes(tmp_path, names)
    record = record_attention(build_network(FFAttention(hidden=4), task).eval(), task, TEST, 20, index=399)
    assert len(record.numbers) == 20
    assert 399 in record.numbers
    assert np.bincount(record.y).tolist() == pytest.approx([5] * 4, abs=1)
    assert "on 20 of 400 sequences" in record.title
    expected = task.evaluation_batch(TEST, 400, torch.from_numpy(record.numbers)).y
    assert record.y.tolist() == expected.tolist()
    figure = draw_answers(record)
    figure.canvas.draw()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(one.overlaps(other) for i, one in enumerate(labels) for other in labels[:i])
    assert all(len(label.get_text()) <= 20 for label in figure.axes[0].get_xticklabels())


def test_pictures_of_numbers_have_the_unit_of_the_target(tmp_path):
    trained = trained_on(tmp_path, y=Y * 1e-6 + 5)
    figure = draw_answers(record_attention(trained.network, trained.task, TEST))
    left = figure.axes[0]
    numbers = np.concatenate([line.get_xdata() for line in left.lines])
    tested = places_in_test(trained.task)
    assert np.sort(numbers) == pytest.approx(np.sort(Y[tested] * 1e-6 + 5), abs=1e-12)
    assert left.get_xlabel() == "target y"
