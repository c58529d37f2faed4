"""One preprocessing for training, prediction, streams and exported graphs."""

import numpy as np
import pytest
import torch
from sequences_of_arrays import raw

from ffattn.files import FitRule, Preprocessing, Scaling, Target, fit_preparation, prepare_inputs, prepare_targets


@pytest.fixture
def data():
    """Times of day in seconds since 1970, with gaps, small numbers, and a category."""
    numbers = np.random.default_rng(0)
    times = 1.7e9 + 1000 * numbers.normal(size=40)
    times[::7] = np.nan
    kinds = numbers.choice(["x", "y", "z"], 40).tolist()
    return raw({"time": times, "small": 1e-8 * numbers.normal(size=40), "kind": kinds}, {"y": np.arange(20) / 3})


@pytest.fixture(params=["impute", "mask"])
def preparation(request, data):
    return fit_preparation(data, np.arange(20) < 15, FitRule(("y",), missing=request.param))


def columns_of(preparation, data):
    """The columns as an exported graph takes them, categories by number."""
    numbers = [data.features[feature.name] for feature in preparation.numbers]
    return torch.tensor(np.stack([*numbers, *(f.encode(data.features[f.name]) for f in preparation.symbols)], axis=1))


def test_inputs_are_those_of_a_graph_in_double_precision(preparation, data):
    inputs = prepare_inputs(preparation, data)
    assert inputs.dtype == torch.float32
    assert inputs.shape == (40, len(preparation.input_names))
    torch.testing.assert_close(
        inputs, Preprocessing(preparation)(columns_of(preparation, data)).float(), rtol=0, atol=0
    )


def test_a_graph_in_single_precision_differs_by_rounding_alone(preparation, data):
    small = preparation.input_names.index("small")
    found = Preprocessing(preparation).float()(columns_of(preparation, data).float())
    torch.testing.assert_close(found[:, small], prepare_inputs(preparation, data)[:, small])


def test_inputs_are_numbers_flags_and_categories(preparation, data):
    inputs = dict(zip(preparation.input_names, prepare_inputs(preparation, data).T.numpy(), strict=True))
    times = preparation.numbers[0]
    expected = (data.features["time"] - times.mean) / times.scale
    np.testing.assert_array_equal(inputs["time"], np.nan_to_num(expected, nan=0).astype(np.float32))
    np.testing.assert_array_equal(inputs["kind"], [" xyz".index(kind) for kind in data.features["kind"]])
    if preparation.missing == "mask":
        np.testing.assert_array_equal(inputs["time is missing"], np.isnan(data.features["time"]))


@pytest.mark.parametrize("values", [1, 7, 119, 10**6])
def test_parts_make_no_difference(preparation, data, monkeypatch, values):
    whole = prepare_inputs(preparation, data)
    monkeypatch.setattr("ffattn.files.preprocessing._VALUES", values)
    assert torch.equal(prepare_inputs(preparation, data), whole)


def test_targets_are_restored(preparation, data):
    targets = prepare_targets(preparation, data)
    assert targets[:15].mean().abs() < 1e-6
    assert targets[:15].var(correction=0) == pytest.approx(1)
    restored = Scaling(preparation.targets).restore(targets.double())[:, 0]
    np.testing.assert_allclose(restored, data.columns["y"], rtol=1e-6, atol=1e-6)


def test_a_scaling_is_cast_as_other_modules_are():
    scaling = Scaling([Target("a", 3.0, 2.0), Target("b", 0.1, 1.0)])
    assert scaling.mean.dtype == torch.float64
    values = torch.tensor([[5.0, 1.1]])
    assert scaling.to(values).standardize(values).dtype == torch.float32
    torch.testing.assert_close(scaling.restore(scaling.standardize(values)), values)
