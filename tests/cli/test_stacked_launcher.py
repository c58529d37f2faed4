"""`hydra/launcher=stacked`: a sweep by it is a sweep."""

import csv
import json

import pytest

SWEEP = ("-m", "hydra.sweep.dir=sweep")
STACKED = (*SWEEP, "hydra/launcher=stacked")


def states(workplace):
    with (workplace / "sweep" / "sweep.csv").open() as file:
        return {row["job"]: row["state"] for row in csv.DictReader(file)}


def names(folder):
    """The files of a job, without what is another for each process."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted("events" if path.name.startswith("events") else str(path) for path in paths)


def test_a_sweep_leaves_what_it_leaves_job_by_job(train, workplace):
    options = ("optim.lr=0.001,0.01", "seed=0,1", "logger=tensorboard")
    done = train(*STACKED, *options)
    assert done.status == 0
    assert "4 models of ffattn on add, T=12 (12 to 13 steps) are trained as one" in done.err
    assert done.err.count(": done: accuracy") == 4
    assert train("-m", "hydra.sweep.dir=alone", *options).status == 0
    for name, state in states(workplace).items():
        together = workplace / "sweep" / name
        alone = workplace / "alone" / name
        assert state == "done"
        assert names(together) == names(alone)
        one, other = (json.loads((folder / "result.json").read_text()) for folder in (together, alone))
        for split in ("val", "test"):
            assert one[split].pop("baseline") == other[split].pop("baseline")
            assert one[split] == pytest.approx(other[split], rel=1e-4)


def test_a_second_start_does_what_is_left(train, workplace):
    train(*STACKED, "seed=0,1")
    before = {path: path.read_bytes() for path in workplace.rglob("result.json")}
    done = train(*STACKED, "seed=0,1,2,3")
    assert "2 models of ffattn" in done.err
    assert list(states(workplace).values()) == ["skipped", "skipped", "done", "done"]
    assert {path: path.read_bytes() for path in before} == before


def test_who_fails_fails_alone(train, workplace):
    done = train(*STACKED, "optim.lr=1e30,0.003", "seed=0,1", "updates=12", "trainer.log_every=1")
    assert done.status == 1
    assert done.err.count("failed: the loss of update 2 is not finite (optim.lr=1e+30)") == 2
    assert "Traceback" not in done.err
    assert sorted(states(workplace).values()) == ["done", "done", "failed", "failed"]


def test_what_cannot_be_stacked_is_trained_alone(train, workplace):
    done = train(*STACKED, "model=mean", "model.hidden=3,4", "trainer.ema_decay=0.5,null", "seed=0,1")
    assert done.status == 0
    assert "hydra/launcher=stacked: trainer.ema_decay: 4 jobs not stacked, but trained alone\n" in done.err
    assert done.err.count("2 models of mean") == 2
    assert set(states(workplace).values()) == {"done"}


def test_a_stack_of_nobody_is_one_line(train, workplace):
    done = train(*STACKED, "seed=0,1", "hydra.launcher.members=0")
    assert (done.status, done.err) == (1, "hydra.launcher.members=0: must be at least 1\n")
    assert list(workplace.iterdir()) == []


def test_a_command_that_does_not_train_is_one_line(command, workplace, finished_run):
    done = command("evaluate", *STACKED, "T=12,13", f"checkpoint={finished_run.checkpoint}")
    message = "hydra/launcher=stacked: trains models together, and this command trains none\n"
    assert (done.status, done.err) == (1, message)
    assert list(workplace.iterdir()) == []
