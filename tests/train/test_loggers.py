"""Curves are where they were asked for, and a resumed run goes on with them."""

import importlib.util

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import fit, rows

from ffattn.errors import FFAttnError
from tests.pairwise import few


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def fit_twice(folder, **options):
    """Two updates, then two more."""
    fit(folder, updates=2, **options)
    return fit(folder, updates=4, resume="last", **options)


def test_many_are_tensorboard_and_csv(tmp_path):
    run = fit_twice(tmp_path / "run", logger="many")
    events = EventAccumulator(str(run.folder)).Reload()
    assert [row["step"] for row in rows(run.folder)] == [2, 4]
    assert {event.step for event in events.Scalars("val/accuracy")} == {2, 4}


@pytest.mark.filterwarnings("ignore:.*noload.*")  # of SQLAlchemy, in MLflow
@pytest.mark.parametrize("uri", few([None, "other.db"], 0))
def test_mlflow_has_one_run_for_each_directory(tmp_path, monkeypatch, uri):
    mlflow = pytest.importorskip("mlflow")
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{uri}")
    run = fit_twice(tmp_path / "run", logger="mlflow")
    fit(tmp_path / "second's", logger="mlflow", seed=1)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/{uri or 'outputs/mlflow.db'}")
    experiment = client.get_experiment_by_name("ffattn")
    found = {item.info.run_name: item for item in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"run", "second's"}
    history = client.get_metric_history(found["run"].info.run_id, "val/accuracy")
    known = run.result["validations"]
    assert {entry.step: entry.value for entry in history} == pytest.approx(
        dict(zip(known["update"], known["accuracy"], strict=True))
    )
    assert found["second's"].data.params["seed"] == "1"
    assert found["run"].info.status == "FINISHED"


@pytest.mark.slow
def test_wandb_stays_here(tmp_path):
    pytest.importorskip("wandb")
    for name in ("a", "b"):
        run = fit(tmp_path / name, logger="wandb")
        (log,) = run.folder.glob("wandb/offline-run-*/run-*.wandb")
        assert all(tag in log.read_bytes() for tag in (b"val/accuracy", b"test/accuracy", b"optim/lr"))


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_one_line(tmp_path, monkeypatch, kind):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == kind else find_spec(name))
    with pytest.raises(FFAttnError, match=rf"^logger.kind={kind}: needs {kind}: pip install 'ffattn\[loggers\]'$"):
        fit(tmp_path / "run", logger=kind)
    assert not (tmp_path / "run").exists()
