"""Metrics, baselines and counts of parts with few or one-sided data, against scikit-learn and by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from ffattn.errors import DataError
from ffattn.files import Preparation
from ffattn.inference.metrics import ClassMetrics, NumberMetrics
from ffattn.lightning.callbacks.stopping import StopRule
from ffattn.lightning.callbacks.validations import Validations
from ffattn.rng.streams import Split, Stream
from ffattn.runs.result import write_result
from ffattn.tasks import File

RANDOM = np.random.default_rng(0)


def file_of(path, frame, **settings):
    frame.to_csv(path / "d.csv", index=False)
    return File(path=str(path / "d.csv"), **settings)


def class_metrics(logits, y):
    metrics = ClassMetrics(logits.shape[1])
    metrics.update(torch.from_numpy(logits), torch.from_numpy(y))
    return {name: float(value) for name, value in metrics.compute().items()}


@pytest.mark.parametrize("present", [[0, 1, 2], [0, 1], [2, 0]])
def test_macro_averages_are_over_the_classes_that_occur(present):
    y = RANDOM.choice(present, 60)
    logits = RANDOM.normal(size=(60, 3)) + 2 * np.eye(3)[y]
    shares = torch.from_numpy(logits).softmax(dim=1).numpy()
    found = class_metrics(logits, y)
    assert found["f1"] == pytest.approx(f1_score(y, logits.argmax(axis=1), average="macro"))
    areas = [roc_auc_score(y == k, shares[:, k]) for k in present]
    assert found["auroc"] == pytest.approx(np.mean(areas))


def test_a_perfect_classifier_is_perfect_without_a_class():
    y = np.array([0, 1, 0, 1])
    assert class_metrics(9 * np.eye(3)[y], y) == {"f1": 1, "auroc": 1}


@pytest.mark.parametrize("y", [[1], [2, 2, 2]])
def test_one_class_has_no_auroc(y):
    found = class_metrics(np.eye(3)[y], np.array(y))
    assert np.isnan(found["auroc"])
    assert found["f1"] == 1


@pytest.mark.parametrize("y", [[0.3], [0.3] * 7])
def test_a_constant_target_has_no_r2(y):
    metrics = NumberMetrics(torch.ones(1), ["y"])
    metrics.update(torch.zeros(len(y), 1), torch.tensor(y)[:, None])
    found = metrics.compute()
    assert found["r2"].isnan()
    assert float(found["mae"]) == pytest.approx(0.3)


def test_several_targets_have_metrics_in_their_own_units():
    y = RANDOM.normal(size=(50, 2))
    answers = y + RANDOM.normal(size=(50, 2))
    metrics = NumberMetrics(torch.tensor([5000.0, 1.0]), ["megawatt", "degrees"])
    metrics.update(torch.from_numpy(answers), torch.from_numpy(y))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["rmse/megawatt"] == pytest.approx(5000 * np.sqrt(np.mean((answers - y)[:, 0] ** 2)))
    assert found["mae/degrees"] == pytest.approx(np.abs((answers - y)[:, 1]).mean())
    assert found["r2"] == pytest.approx(r2_score(y, answers))
    assert "rmse" not in found


def test_a_result_is_json_with_the_reasons(tmp_path):
    written = write_result(tmp_path, {"test": {"r2": float("nan"), "margin": float("inf"), "mae": 1.0}})
    read = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert read == written
    assert read["test"]["r2"] is None
    assert "not all the same" in read["test"]["undefined"]["r2"]
    assert read["test"]["mae"] == 1


@pytest.fixture
def uneven(tmp_path):
    """Nine in ten of training are a; two in ten of the test."""
    label = np.repeat(["a", "b", "a", "b", "b", "a"], [90, 10, 5, 5, 40, 10])
    part = np.repeat(["train", "val", "test"], [100, 10, 50])
    frame = pd.DataFrame({"x_1": np.arange(160.0), "x_2": 1.0, "label": label, "part": part})
    return file_of(tmp_path, frame, target="label", split="column", split_by="part")


def test_the_baseline_is_of_the_part_that_it_stands_beside(uneven):
    assert [uneven.baseline_on(split).accuracy for split in Split] == [0.9, 0.5, 0.2]
    expected = -np.mean([np.log(0.1)] * 40 + [np.log(0.9)] * 10)
    assert uneven.baseline_on(Split.TEST).error == pytest.approx(expected)
    assert uneven.baseline() == uneven.baseline_on(Split.TRAIN)


def test_a_part_of_given_data_is_a_sample_of_all_of_it(uneven):
    y = uneven.evaluation_batch(Stream(0, Split.TEST), 20, torch.arange(20)).y
    assert set(y.tolist()) == {0, 1}
    whole = uneven.evaluation_batch(Stream(0, Split.TEST), 50, torch.arange(50)).y
    assert whole.tolist() == [1] * 40 + [0] * 10


def test_missing_values_are_counted_over_the_whole_file(tmp_path):
    frame = pd.DataFrame({"x_1": 1.0, "x_2": np.arange(100.0), "y": np.arange(100) % 2})
    frame.loc[::5, "x_1"] = np.nan
    with pytest.raises(DataError, match=r"20 in all: .* for training, .* for validation, .* for the test"):
        file_of(tmp_path, frame, target="y").size(Split.TRAIN)


@pytest.mark.parametrize("name", ["id", "problem", "weights", "p_a"])
def test_a_target_with_the_name_of_a_column_of_the_answers_is_refused(tmp_path, name):
    frame = pd.DataFrame({"x_1": RANDOM.normal(size=40), "x_2": 1.0, name: np.array(["a", "b"] * 20)})
    with pytest.raises(DataError, match=f"target {name}: "):
        file_of(tmp_path, frame, target=name).size(Split.TRAIN)


@pytest.mark.parametrize("name", ["words", "p_c", "answer"])
def test_other_names_are_free(tmp_path, name):
    frame = pd.DataFrame({"x_1": RANDOM.normal(size=40), "x_2": 1.0, name: np.array(["a", "b"] * 20)})
    assert isinstance(file_of(tmp_path, frame, target=name).preparation, Preparation)


@pytest.mark.parametrize(
    ("since_best", "updates", "reason"), [(20, 72, None), (20, 500, "patience"), (3, 900, None), (3, 1000, "updates")]
)
def test_patience_waits_for_the_least_number_of_updates(since_best, updates, reason):
    validations = Validations(by_error=True)
    for number in range(since_best + 1):
        validations.add({"update": float(number), "accuracy": 0.5, "error": 1.0 + number})
    trainer = SimpleNamespace(global_step=updates)
    assert StopRule(1000, False, 20, min_updates=500).reason(trainer, validations) == reason
