"""The estimators pass scikit-learn's own checks, and do what its users do with ragged sequences."""

import pickle
import pickletools
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import ffattn
from ffattn.models import LSTM, Mean
from ffattn.sklearn import SequenceClassifier, SequenceRegressor

FEW = {"updates": 2, "hidden": 4, "batch_size": 8, "random_state": 0, "device": "cpu"}
# of some 120 checks these take a second or less in all; the others are slow, and none is expected to fail
QUICK = (
    *("check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr"),
    *("check_no_attributes_set_in_init", "check_get_params_invariance", "check_set_params", "check_mixin_order"),
    *("check_estimators_unfitted", "check_do_not_raise_errors_in_init_or_set_params", "check_requires_y_none"),
    *("check_parameters_default_constructible", "check_estimator_sparse_array", "check_complex_data", "check_fit1d"),
    *("check_estimators_empty_data_messages", "check_fit2d_1sample", "check_n_features_in_after_fitting"),
    *("check_all_zero_sample_weights_error", "check_classifiers_one_label", "check_classifiers_regression_target"),
    *("check_supervised_y_no_nan", "check_dict_unchanged", "check_methods_subset_invariance", "check_dtype_object"),
    *("check_sample_weight_equivalence_on_dense_data", "check_dont_overwrite_parameters"),
)


def checks():
    for kind in (SequenceClassifier, SequenceRegressor):
        for estimator, check in estimator_checks_generator(kind(updates=150, lr=0.02, hidden=16), mark=None):
            name = getattr(check, "func", check).__name__
            marks = () if name in QUICK else pytest.mark.slow
            yield pytest.param(estimator, check, id=f"{kind.__name__}-{name}", marks=marks)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of scikit-learn's own numbers
@pytest.mark.parametrize(("estimator", "check"), [*checks()])
def test_passes_every_check_of_scikit_learn(estimator, check):
    if getattr(check, "func", check).__name__ in QUICK:
        estimator = clone(estimator).set_params(updates=2, hidden=4)
    check(estimator)


def ragged(count=24, features=2, seed=0):
    random = np.random.default_rng(seed)
    sequences = [random.normal(size=(random.integers(2, 6), features)) for _ in range(count)]
    return sequences, np.array([int(sequence[:, 0].mean() > 0) for sequence in sequences])


def table(count=24):
    x = np.random.default_rng(0).normal(size=(count, 5))
    return x, np.where(x[:, 3] > 0, "up", "down")


def test_learns_what_is_in_ragged_sequences():
    X, y = ragged(80)
    learning = {"updates": 50, "lr": 0.03, "hidden": 16, "random_state": 0}
    classifier = SequenceClassifier(**learning).fit(X, y)
    assert classifier.score(X, y) > 0.9
    numbers = np.array([sequence[:, 0].mean() * 1000 + 1e5 for sequence in X])
    regressor = SequenceRegressor(**learning).fit(X, numbers)
    assert regressor.score(X, numbers) > 0.8


def test_searches_over_ragged_sequences():
    X, y = ragged()
    grid = {"model__hidden": [2, 3], "lr": [0.01]}
    search = GridSearchCV(SequenceClassifier(**FEW | {"hidden": None}), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.trained_.model.hidden == search.best_params_["model__hidden"]
    pipeline = Pipeline([("model", SequenceClassifier(**FEW))])
    search = GridSearchCV(pipeline, {"model__hidden": [2]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_["model"].trained_.model.hidden == 2
    assert cross_val_score(SequenceRegressor(**FEW), X, y, cv=2, error_score="raise").shape == (2,)


def test_models_may_be_searched():
    X, y = ragged()
    grid = {"model": ["mean", LSTM(hidden=3)]}
    search = GridSearchCV(SequenceClassifier(**FEW | {"hidden": None}), grid, cv=2, error_score="raise").fit(X, y)
    assert type(search.best_estimator_.trained_.model) in {Mean, LSTM}


def test_follows_a_transformer_that_gives_frames():
    X, y = table()
    with config_context(transform_output="pandas"):
        pipeline = make_pipeline(StandardScaler(), SequenceClassifier(**FEW)).fit(X, y)
        assert pipeline.predict(X).shape == (24,)


def forms_of_ragged():
    X, _ = ragged()
    yield "list", X
    yield "objects", np.array(X, dtype=object)
    yield "tensors", [torch.tensor(sequence, requires_grad=True) for sequence in X]
    yield "frames", [pd.DataFrame(sequence, columns=["a", "b"]) for sequence in X]
    yield "lists", [sequence.tolist() for sequence in X]


def test_every_form_of_ragged_sequences_gives_the_same():
    X, y = ragged()
    expected = SequenceClassifier(**FEW).fit(X, y).predict_proba(X)
    for name, form in forms_of_ragged():
        classifier = SequenceClassifier(**FEW).fit(form, y)
        assert np.array_equal(classifier.predict_proba(form), expected), name
        assert np.array_equal(classifier.predict_proba(form[:1]), expected[:1]), name
        assert classifier.n_features_in_ == 2
        assert (name == "frames") == hasattr(classifier, "feature_names_in_")


def test_arrays_of_three_axes_and_lists_are_the_same():
    X = np.random.default_rng(0).normal(size=(20, 4, 3))
    y = [0, 1] * 10
    classifier = SequenceClassifier(**FEW).fit(X, y)
    assert np.array_equal(classifier.predict_proba(X.tolist()), classifier.predict_proba(torch.tensor(X)))
    assert classifier.predict(X[:, :2]).shape == (20,)  # of other lengths
    with pytest.raises(ValueError, match="X has 2 features, but SequenceClassifier is expecting 3"):
        classifier.predict(X[:, :, :2])


def test_series_of_one_feature_keep_their_lengths_free():
    X = [np.arange(3.0) + number for number in range(12)]
    classifier = SequenceClassifier(**FEW).fit(X, [0, 1] * 6)
    expected = classifier.predict_proba([[1.0, 2.0], [4.0, 5.0]])
    assert np.array_equal(classifier.predict_proba(np.array([[1.0, 2.0], [4.0, 5.0]])), expected)
    assert classifier.n_features_in_ == 1


def test_nothing_depends_on_the_order_or_on_copies():
    X, y = ragged()
    once = SequenceClassifier(**FEW).fit(X, y, sample_weight=[1, 2] * 12)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(24), [1, 2] * 12))
    copied = SequenceClassifier(**FEW).fit([X[number] for number in order], y[order])
    assert np.array_equal(once.predict_proba(X), copied.predict_proba(X))


def test_class_weights_count():
    X, y = ragged(80)
    balanced = SequenceClassifier(**FEW, class_weight="balanced").fit(X, y)
    counts = np.bincount(y)
    by_hand = SequenceClassifier(**FEW).fit(X, y, sample_weight=(80 / (2 * counts))[y])
    assert np.array_equal(balanced.predict_proba(X), by_hand.predict_proba(X))


def test_several_numbers_are_predicted_in_their_units():
    X, _ = ragged()
    y = np.array([[sequence.sum() * 1e6, sequence.mean()] for sequence in X])
    regressor = SequenceRegressor(**FEW).fit(X, y)
    assert regressor.predict(X).shape == (24, 2)
    assert regressor.predict(X)[:, 0].std() > 1e3


def test_nan_is_refused_unless_said_otherwise():
    X, y = ragged()
    X[3][0, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        SequenceClassifier(**FEW).fit(X, y)
    masked = SequenceClassifier(**FEW, missing="mask").fit(X, y)
    assert np.isfinite(masked.predict_proba(X)).all()
    assert masked.trained_.task.feature_names == ("feature_0", "feature_1", "feature_1 is missing")


def test_a_trained_one_is_pickled_as_weights_and_plain_values(tmp_path):
    X, y = ragged()
    classifier = SequenceClassifier(**FEW).fit(X, y)
    pickled = pickle.dumps(classifier)
    texts = {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}
    names = {text for text in texts if text.startswith("ffattn")}
    assert {name for name in names if name.count(".") > 1} <= {"ffattn.inference.trained", *plain_names(classifier)}
    joblib.dump(classifier, tmp_path / "it")
    for again in (pickle.loads(pickled), joblib.load(tmp_path / "it")):
        assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))


def plain_names(classifier):
    """Of the classes that settings in the pickle name as text."""
    return {"ffattn.models.FFAttention", "ffattn.tasks.Arrays", "ffattn.tasks.Own"}


def test_leaves_nothing_on_disk_but_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    X, y = table()
    SequenceClassifier(**FEW).fit(X, y)
    assert list(tmp_path.iterdir()) == []
    kept = SequenceClassifier(**FEW, folder=tmp_path / "run").fit(X, y)
    loaded = ffattn.load(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert loaded.predict(X).tolist() == kept.predict(X).tolist()
    again = SequenceClassifier(**FEW, folder=tmp_path / "run").fit(X, y)
    assert np.array_equal(again.predict_proba(X), kept.predict_proba(X))
    with pytest.raises(ValueError, match="was trained on other data"):
        SequenceClassifier(**FEW, folder=tmp_path / "run").fit(X[:20], y[:20])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"updates": 0}, "updates=0: must be at least 1"),
        ({"lr": -1.0}, "lr=-1.0: must be more than 0"),
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"validation_share": 1.0}, "validation_share=1.0: must be less than 1"),
        ({"model": "transformer"}, "model=transformer: must be one of ffattn, mean, lstm, lstm_attention"),
        ({"missing": "drop"}, "missing=drop: must be one of refuse, impute, mask"),
        ({"device": "tpu"}, "device=tpu: must be one of auto, cpu, gpu"),
        ({"hidden": 0}, "hidden=0: must be at least 1"),
    ],
)
def test_a_wrong_parameter_is_one_line_at_fit(change, message):
    X, y = table()
    with pytest.raises(ValueError, match=message):
        SequenceClassifier(**FEW | change).fit(X, y)


def test_other_mistakes_are_one_line():
    X, y = ragged()
    with pytest.raises(NotFittedError):
        SequenceRegressor().predict(X)
    with pytest.raises(ValueError, match="Invalid parameter 'model__hiden'"):
        SequenceClassifier().set_params(model__hiden=3)
    with pytest.raises(ValueError, match="sequence 1: no steps"):
        SequenceClassifier().fit([X[0], X[1][:0]], [0, 1])
    with pytest.raises(ValueError, match=r"y: class .*nan.* stands for no value"):
        SequenceClassifier().fit(X, ["nan", "b"] * 12)
    frames = [pd.DataFrame(sequence, columns=["y", "part"]) for sequence in X]
    classifier = SequenceClassifier(**FEW).fit(frames, y)
    with pytest.raises(ValueError, match="should match those that were passed during fit: y, part; X has y, other"):
        classifier.predict([frame.rename(columns={"part": "other"}) for frame in frames])


def test_importing_costs_neither_torch_nor_lightning():
    code = "import sys, ffattn.sklearn as s; s.SequenceClassifier(); print({'torch', 'lightning'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
