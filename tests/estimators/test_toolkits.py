"""The estimators for aeon and sktime: they pass their toolkit's checks, and are those of scikit-learn on its panels."""

import subprocess
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from ffattn import sklearn
from ffattn.estimators import require_package

FEW = {"updates": 2, "hidden": 4, "random_state": 0, "device": "cpu"}
needs_aeon = pytest.mark.skipif(find_spec("aeon") is None, reason="aeon is in make test-peers")
TOOLKITS = [pytest.param("aeon", marks=needs_aeon), "sktime"]


def module_of(toolkit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the toolkits' own
        return pytest.importorskip(f"ffattn.{toolkit}")


def ragged(count=12):
    random = np.random.default_rng(0)
    cases = [random.normal(size=(random.integers(2, 6), 2)) for _ in range(count)]
    return cases, np.array(["a", "b"] * (count // 2))


def panel(toolkit, cases):
    """Cases, (time, feature), as the toolkit has them."""
    return [case.T for case in cases] if toolkit == "aeon" else [pd.DataFrame(case) for case in cases]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_panels_of_unequal_lengths_are_sequences(toolkit):
    module = module_of(toolkit)
    cases, y = ragged()
    expected = sklearn.SequenceClassifier(**FEW).fit(cases, y)
    classifier = module.SequenceClassifier(**FEW).fit(panel(toolkit, cases), y)
    assert np.array_equal(classifier.predict_proba(panel(toolkit, cases)), expected.predict_proba(cases))
    assert np.array_equal(classifier.predict(panel(toolkit, cases)), expected.predict(cases))
    numbers = np.arange(12.0)
    regressor = module.SequenceRegressor(**FEW).fit(panel(toolkit, cases), numbers)
    same = sklearn.SequenceRegressor(**FEW).fit(cases, numbers)
    assert np.array_equal(regressor.predict(panel(toolkit, cases)), same.predict(cases))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_arrays_have_time_last(toolkit):
    module = module_of(toolkit)
    X = np.random.default_rng(0).normal(size=(12, 2, 5))
    y = np.array([0, 1] * 6)
    expected = sklearn.SequenceClassifier(**FEW).fit(X.transpose(0, 2, 1), y).predict_proba(X.transpose(0, 2, 1))
    assert np.array_equal(module.SequenceClassifier(**FEW).fit(X, y).predict_proba(X), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_nan_is_taken_by_a_setting(toolkit):
    module = module_of(toolkit)
    X = np.random.default_rng(0).normal(size=(12, 2, 5))
    X[3, 1, 2] = np.nan
    y = np.array([0, 1] * 6)
    assert module.SequenceClassifier(**FEW, missing="mask").fit(X, y).predict(X).shape == (12,)
    with pytest.raises(ValueError, match="missing"):
        module.SequenceClassifier(**FEW).fit(X, y)


def test_a_missing_toolkit_is_one_line():
    with pytest.raises(ImportError, match=r"ffattn.nowhere needs nowhere: pip install 'ffattn\[nowhere\]'"):
        require_package("nowhere")


CHECKS = {"aeon": "aeon.testing.estimator_checking", "sktime": "sktime.utils.estimator_checks"}
SCRIPT = """
from {checks} import check_estimator
from ffattn.{toolkit} import {kind}
results = check_estimator({kind}, verbose=False)
print(len(results) > 20, [name for name, result in results.items() if str(result) != "PASSED"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SequenceClassifier", "SequenceRegressor"])
@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_passes_every_check_of_its_toolkit(toolkit, kind):
    """In a process of its own: here constructors are wrapped to check shapes, which toolkits take for varargs."""
    script = SCRIPT.format(checks=CHECKS[toolkit], toolkit=toolkit, kind=kind)
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True []"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sktime_benchmarks_it_on_unequal_lengths(tmp_path):
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import KFold
    from sktime.benchmarking.classification import ClassificationBenchmark
    from sktime.datasets import load_japanese_vowels

    benchmark = ClassificationBenchmark()
    benchmark.add_estimator(module_of("sktime").SequenceClassifier(updates=150, lr=0.01, random_state=0))
    benchmark.add_task(load_japanese_vowels, KFold(3, shuffle=True, random_state=0), [accuracy_score])
    found = benchmark.run(tmp_path / "results.csv")
    assert found["accuracy_score_mean"].iloc[0] > 0.9


@pytest.mark.slow
@needs_aeon
@pytest.mark.filterwarnings("ignore")
def test_aeon_resamples_for_it():
    from aeon.benchmarking.resampling import stratified_resample_data
    from aeon.datasets import load_japanese_vowels

    data = (*load_japanese_vowels(split="train"), *load_japanese_vowels(split="test"))
    X, y, X_test, y_test = stratified_resample_data(*data, random_state=1)
    classifier = module_of("aeon").SequenceClassifier(updates=150, lr=0.01, random_state=0).fit(X, y)
    assert classifier.score(X_test, y_test) > 0.9
