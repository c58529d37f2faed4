"""Statistics, metrics and answers at any scale, against NumPy in long double and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ffattn.errors import CheckpointError, DataError
from ffattn.files.moments import RunningMoments
from ffattn.files.preparation import NUMBER, Feature, Preparation, Target, answer_columns
from ffattn.inference.columns import answer_values
from ffattn.inference.exporters import check_digits
from ffattn.inference.metrics import NumberMetrics
from ffattn.tasks import File

NUMBERS = np.random.default_rng(0).normal(size=1000)


def moments_of(*pieces):
    moments = RunningMoments()
    for piece in pieces:
        moments.update(piece)
    return moments


@pytest.mark.parametrize("shift", [0.0, 1e4, -1.7e9])
@pytest.mark.parametrize("unit", [1e-280, 1e-13, 4e-4, 1.0, 1e30, 1e280])
def test_mean_and_scale_in_any_unit_and_pieces(unit, shift):
    numbers = (NUMBERS + shift) * unit
    moments = moments_of(*np.split(numbers, [1, 10, 500]))
    exact = numbers.astype(np.longdouble) / unit
    assert moments.mean / unit == pytest.approx(float(exact.mean()), rel=1e-14)
    assert moments.scale("x") / unit == pytest.approx(float(exact.std()), rel=1e-6 if shift else 1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1.7e9, 1e300, 1e-300])
def test_a_constant_has_scale_one_at_any_size(value):
    assert moments_of(np.full(997, value), np.full(3, value)).scale("x") == 1


@pytest.mark.parametrize("numbers", [[1.7e308, -1.7e308], [0.0, 1e-320], [1e-310, 3e-310]])
def test_what_double_precision_cannot_standardize_is_refused(numbers):
    with pytest.raises(DataError, match="another unit"):
        moments_of(np.array(numbers)).scale("column x")


@given(exponent=st.integers(-15, 15), mean=st.floats(-1e6, 1e6), noise=st.floats(1e-3, 10))
@settings(max_examples=25, deadline=None)
def test_metrics_are_those_of_scikit_learn_in_any_unit(exponent, mean, noise):
    unit = 10.0**exponent
    y = (NUMBERS[:100] + mean) * unit
    answers = y + noise * NUMBERS[100:200] * unit
    moments = moments_of(y)
    scale = torch.tensor([moments.scale("y")], dtype=torch.float64)
    metrics = NumberMetrics(scale, ["y"])
    standardized = [torch.from_numpy((values - moments.mean) / float(scale))[:, None] for values in (answers, y)]
    for part in np.split(np.arange(100), [30, 31]):
        metrics.update(*(values[part] for values in standardized))
    found = metrics.compute()
    assert float(found["r2"]) == pytest.approx(r2_score(y / unit, answers / unit), rel=1e-5, abs=1e-5)
    assert float(found["rmse"]) == pytest.approx(root_mean_squared_error(y, answers), rel=1e-6)
    assert float(found["mae"]) == pytest.approx(mean_absolute_error(y, answers), rel=1e-6)


def test_answers_are_restored_in_double_precision():
    preparation = Preparation((), (Target("y", 1.7e9, 3.0),))
    assert answer_values(preparation, torch.tensor([[0.5]]))[0]["y"] == 1.7e9 + 1.5


@pytest.mark.parametrize(("mean", "scale"), [(1.7e9, 1.0), (0.0, 1e-50), (0.0, 1e39), (1e60, 1.0)])
def test_an_export_refuses_what_float32_cannot_hold(mean, scale):
    exact, coarse = Feature("x", NUMBER), Feature("z", NUMBER, mean, scale)
    with pytest.raises(CheckpointError, match="column z: float32"):
        check_digits(Preparation((exact, coarse), ()))
    with pytest.raises(CheckpointError, match="column z: float32"):
        check_digits(Preparation((exact,), (Target("z", mean, scale),)))
    check_digits(Preparation((exact, Feature("z", NUMBER, 1e4, 2.5)), (Target("z", mean, scale),), ("a", "b")))


def test_names_of_answers():
    preparation = Preparation((), (Target("y"),), ("a", "b"))
    assert answer_columns(preparation, weights=True) == ["id", "y", "p_a", "p_b", "weights", "problem"]


@pytest.mark.parametrize("value", [-3.4028234663852886e38, -3.4e38, 9.969209968386869e36, 1e20])
@pytest.mark.parametrize("share", [2, 17])
@pytest.mark.parametrize("column", ["x", "y"])
def test_a_number_that_stands_for_no_value_is_refused(tmp_path, value, share, column):
    frame = pd.DataFrame({"id": np.repeat(np.arange(60), 3), "x": np.random.default_rng(0).normal(size=180)})
    frame["y"] = frame.groupby("id").x.transform("sum")
    frame.loc[frame.id % share == 1, column] = value
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=rf"column {column}: .*e\+\d\d is too far from the other numbers of the column"):
        File(path=str(tmp_path / "d.csv"), id="id", target="y").describe()


def test_large_numbers_of_one_kind_are_numbers(tmp_path):
    frame = pd.DataFrame({"id": np.repeat(np.arange(60), 3), "x": np.random.default_rng(0).normal(size=180) * 1e25})
    frame["y"] = frame.groupby("id").x.transform("sum")
    frame.to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), id="id", target="y", val_share=0.01, test_share=0.01)
    assert task.preparation.features[0].scale == pytest.approx(frame.x.std(ddof=0), rel=0.05)


@pytest.mark.parametrize(("first", "kind"), [(2**64 - 400, "uint64"), (1_700_000_000_000_000_000, "int64")])
@pytest.mark.parametrize("column", ["x", "y"])
def test_whole_numbers_that_are_rounded_into_each_other_are_refused(tmp_path, first, kind, column):
    frame = pd.DataFrame({"id": np.repeat(np.arange(60), 3), "x": np.arange(180) % 7, "y": np.repeat(np.arange(60), 3)})
    frame.to_parquet(tmp_path / "good.parquet")
    frame[column] = (frame[column].astype(kind) + np.array(first, kind)).astype(kind)
    frame.to_parquet(tmp_path / "d.parquet")
    settings = {"id": "id", "target": "y", "kind": "regression"}
    assert File(path=str(tmp_path / "good.parquet"), **settings).feature_names == ("x",)
    with pytest.raises(DataError, match=f"column {column}: numbers from {first} to .* are hardly told apart"):
        File(path=str(tmp_path / "d.parquet"), **settings).describe()
