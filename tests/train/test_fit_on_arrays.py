"""`ffattn.fit(X, y)`: arrays in memory have everything that file data has."""

import pickle

import numpy as np
import pytest

import ffattn
from ffattn.errors import DataError, SettingError
from ffattn.inference.on_files import predict, read_inputs
from ffattn.tasks import Arrays

SMALL = ("model.hidden=4", "logger=none", "accelerator=cpu", "trainer.progress=none")


def arrays():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 5, 2)) * [1e-3, 1e3] + [5, 1e5]
    return x, random.integers(1, 6, 40), x[:, 0, 1] * 1e6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    x, lengths, y = arrays()
    folder = tmp_path_factory.mktemp("run")
    return ffattn.fit(x, y, *SMALL, lengths=lengths, updates=3, batch_size=8, folder=folder, quiet=True)


def test_answers_are_in_the_unit_of_y_from_arrays_and_from_files(run, tmp_path):
    x, lengths, y = arrays()
    trained = ffattn.load(run.checkpoint)
    found = np.asarray(trained.predict(x, lengths))
    assert found.mean() == pytest.approx(y.mean(), rel=0.05)
    np.savez(tmp_path / "more.npz", x=x, lengths=lengths)
    rows = predict(trained, read_inputs(tmp_path / "more.npz", trained.task).pieces)
    assert [row["y"] for row in rows] == found[:, 0].tolist()
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(trained)).predict(x, lengths)), found)


def test_a_checkpoint_is_evaluated_with_the_arrays_of_its_training_alone(run):
    x, lengths, y = arrays()
    trained = ffattn.load(run.checkpoint)
    with pytest.raises(DataError, match="were in memory"):
        trained.evaluate()
    trained.task.attach(x, y, lengths=lengths)
    assert trained.evaluate()["rmse"] == pytest.approx(run.result["test"]["rmse"])
    trained.task.attach(x + 1, y, lengths=lengths)
    with pytest.raises(DataError, match="other values of feature_0, feature_1"):
        trained.evaluate()


def test_the_same_run_is_resumed_and_other_arrays_are_refused(run):
    x, lengths, y = arrays()
    again = {"lengths": lengths, "updates": 3, "batch_size": 8, "folder": run.folder, "resume": "last", "quiet": True}
    assert ffattn.fit(x, y, *SMALL, **again).result["test"] == run.result["test"]
    with pytest.raises(ValueError, match="other data"):
        ffattn.fit(x * 2, y, *SMALL, **again)


def test_what_is_given_twice_or_by_half_is_refused():
    x, _, y = arrays()
    with pytest.raises(SettingError, match="must have X and y"):
        ffattn.fit(x)
    with pytest.raises(SettingError, match="X and y are the task"):
        ffattn.fit(x, y, task="add")
    with pytest.raises(SettingError, match=r"task.missing=mask: is part of the task object"):
        ffattn.fit("task.missing=mask", task=Arrays(x=x, y=y))
