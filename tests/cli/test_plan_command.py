"""`python -m ffattn.plan`: what a sweep would take, before it is started."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ffattn.config.sweep_plan import Plan
from ffattn.plan import group_jobs, workers_of
from ffattn.runs.cost import Cost
from ffattn.train import COMMAND

TINY = ("T=12", "batch_size=4", "model.hidden=4", "trainer.validate_every=2", "trainer.sequences=10", "accelerator=cpu")


@pytest.fixture
def plan(command, workplace, monkeypatch):
    """The command, with updates that take a millisecond each in a thousand megabytes."""
    monkeypatch.setattr("ffattn.runs.cost.measure", lambda settings, threads: Cost(0.001, 1000.0 / threads))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    return lambda *options: command("plan", *options)


def test_a_sweep_is_added_up_and_nothing_is_written(plan, workplace):
    done = plan("-m", "task=add,xor", "T=20,40", "seed=0,1,2", "updates=60000", "accelerator=cpu")
    assert done.status == 0
    assert "12 jobs, 0 finished or damaged; one at a time" in done.out
    assert "at most 0:12:00 of training and 250 MB" in done.out
    assert done.out.count("180,000") == 4
    assert list(workplace.iterdir()) == []


def test_jobs_at_a_time_share_time_and_threads(plan):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = plan("-m", "seed=0,1,2,3", "updates=60000", "accelerator=cpu", *launcher)
    assert "2 at a time" in done.out
    assert "at most 0:02:00 of training and 1000 MB" in done.out


def test_what_has_been_done_is_not_counted(command, plan, workplace):
    command("train", "-m", *TINY, "seed=0,1", "updates=4", "logger=none", "hydra.sweep.dir=sweep")
    again = ("-m", *TINY, "logger=none", "hydra.sweep.dir=sweep")
    assert "3 jobs, 2 finished or damaged" in plan(*again, "seed=0,1,2", "updates=4").out
    jobs = list(_checked(*again, "seed=0,1,2", "updates=10").jobs.values())
    assert [row.updates for row in group_jobs(jobs)] == [[6, 6, 10]]


def _checked(*options):
    plan = Plan(COMMAND, [option for option in options if option != "-m"])
    plan.check()
    return plan


def test_a_mistake_is_that_of_training(plan):
    done = plan("task=multipy")
    assert (done.status, done.out) == (1, "")
    assert "multiply" in done.err


def test_an_update_is_measured(command, workplace):
    """For real: a table with a time above zero, and no file."""
    done = command("plan", *TINY, "updates=1000")
    assert done.status == 0
    assert "1 job, 0 finished" in done.out
    assert list(Path.cwd().iterdir()) == []


BASIC = {"_target_": "BasicLauncher"}
JOBLIB = {"_target_": "JoblibLauncher"}
SUBMITIT = {"_target_": "hydra_submitit_launcher.LocalLauncher"}


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        (BASIC, 1),
        (JOBLIB | {"n_jobs": 3}, 3),
        (JOBLIB | {"n_jobs": None}, 1),
        (SUBMITIT, 8),
        (SUBMITIT | {"array_parallelism": 5}, 5),
        (SUBMITIT | {"array_parallelism": 256}, 8),
    ],
)
def test_workers(launcher, expected):
    assert workers_of(OmegaConf.create(launcher), 8) == expected


def test_all_cores_are_asked_for_by_minus_one(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert workers_of(OmegaConf.create(JOBLIB | {"n_jobs": -1}), 8) == 6
