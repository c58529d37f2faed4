"""Sweeps: where jobs are written, what becomes of each, and how a sweep that is started again goes on."""

import csv
import json

import pytest

from ffattn.config.command import parse_overrides
from ffattn.config.jobs import job_directory, job_overrides, locked

SWEEP = ["-m", "hydra.sweep.dir=sweep"]
NAMES = {
    "seed=0": "base/T${T}",
    "seed=0,1 optim.lr=0.1,0.2": "base/T${T}/seed${seed}_lr${optim.lr}",
    "T=50,100 seed=range(3)": "base/T${T}/seed${seed}",
    "model.hidden=3,4 optim.hidden=1,2": "base/T${T}/model.hidden${model.hidden}_optim.hidden${optim.hidden}",
    "length=paper,fixed": "base/T${T}/length-${hydra.runtime.choices.length}",
}


@pytest.mark.parametrize(("line", "expected"), NAMES.items(), ids=NAMES)
def test_a_job_is_named_after_what_differs(line, expected):
    assert job_directory("base/T${T}", parse_overrides(line.split()), {"length", "task"}) == expected


def test_jobs_are_all_combinations():
    jobs = list(job_overrides(parse_overrides(["seed=1,2", "T=range(11,13)", "updates=3"])))
    assert jobs == [[f"seed={seed}", f"T={T}", "updates=3"] for seed in (1, 2) for T in (11, 12)]


@pytest.mark.parametrize("task", ["glob(*)", "glob([a*,x*])"])
def test_choices_may_be_a_pattern(train, workplace, task):
    assert train(*SWEEP, f"task={task}").status == 0
    tasks = ["add", "multiply", "temporal_order_2", "temporal_order_3", "xor"] if task == "glob(*)" else ["add", "xor"]
    assert list(states(workplace)) == [f"{name}_ffattn/T12" for name in tasks]


def test_an_interrupted_check_is_one_line(train, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ffattn.config.command.compose_config", interrupt)
    assert train(*SWEEP, "seed=0,1")[::2] == (130, "interrupted\n")


def files(workplace):
    """The bytes and the time of last change of every job's results and checkpoints."""
    paths = [path for path in workplace.rglob("*") if path.name == "result.json" or path.suffix == ".ckpt"]
    return {str(path.relative_to(workplace)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def table(workplace):
    with (workplace / "sweep" / "sweep.csv").open() as file:
        return {row.pop("job"): row for row in csv.DictReader(file)}


def states(workplace):
    return {name: row["state"] for name, row in table(workplace).items()}


def test_every_job_has_a_line_a_row_and_a_directory(train, workplace):
    done = train(*SWEEP, "task=add,xor", "seed=0,1")
    names = [f"{task}_ffattn/T12/seed{seed}" for task in ("add", "xor") for seed in (0, 1)]
    assert done.status == 0
    assert [line.partition(": done: solved")[0] for line in done.err.splitlines()] == [
        f"[{number}/4] {name}" for number, name in enumerate(names, start=1)
    ]
    assert list(table(workplace)) == names
    for name, row in table(workplace).items():
        result = json.loads((workplace / "sweep" / name / "result.json").read_text())
        assert name in done.out
        assert (float(row["solved"]), float(row["epochs"])) == (result["test"]["solved"], 1.0)
        assert (row["state"], row["reason"]) == ("done", "")
    assert "4 jobs, 0 failed" in done.out


def test_a_second_start_touches_nothing_that_is_done(train, workplace):
    train(*SWEEP, "seed=0,1")
    before = files(workplace)
    done = train(*SWEEP, "seed=0,1,2")
    assert done.status == 0
    assert list(states(workplace).values()) == ["skipped", "skipped", "done"]
    assert {name: files(workplace)[name] for name in before} == before


def test_more_updates_go_on_where_the_sweep_was(train, workplace):
    train(*SWEEP, "seed=0,1")
    train(*SWEEP, "seed=0,1", "updates=4")
    assert states(workplace) == {"add_ffattn/T12/seed0": "done", "add_ffattn/T12/seed1": "done"}
    train("-m", "hydra.sweep.dir=whole", "seed=0,1", "updates=4")
    for name in states(workplace):
        one, other = (json.loads((workplace / d / name / "result.json").read_text()) for d in ("sweep", "whole"))
        assert [one[key] for key in ("updates", "val", "test")] == [other[key] for key in ("updates", "val", "test")]


def test_a_job_that_fails_stops_no_other_and_is_tried_again(train, workplace, monkeypatch):
    options = (*SWEEP, "optim.lr=1e30,0.003", "updates=12", "trainer.log_every=1")
    done = train(*options)
    failed, fine = "add_ffattn/T12/lr1e+30", "add_ffattn/T12/lr0.003"
    assert done.status == 1
    assert f"[1/2] {failed}: failed: the loss of update 2 is not finite (optim.lr=1e+30)" in done.err
    assert "Traceback" not in done.err
    assert states(workplace) == {failed: "failed", fine: "done"}
    assert "not finite" in table(workplace)[failed]["reason"]
    assert "hydra.sweep.dir=" in done.out
    monkeypatch.setattr("ffattn.tasks.Add.error", lambda self, prediction, y: 0 * prediction.mean(dim=1))
    assert train(*options).status == 0
    assert states(workplace) == {failed: "done", fine: "skipped"}


def test_a_mistake_in_the_code_is_a_failure_with_a_traceback(train, workplace, monkeypatch):
    def broken(self, prediction, y):
        raise KeyError("oh")

    monkeypatch.setattr("ffattn.tasks.Add.solved", broken)
    done = train(*SWEEP, "task=add,xor")
    assert done.status == 1
    assert "Traceback" in done.err
    assert states(workplace) == {"add_ffattn/T12": "failed", "xor_ffattn/T12": "done"}
    assert table(workplace)["add_ffattn/T12"]["reason"] == "KeyError: 'oh'"


def test_a_job_of_another_process_is_left_to_it(train, workplace):
    busy = workplace / "sweep" / "add_ffattn" / "T12" / "seed1"
    busy.mkdir(parents=True)
    with locked(busy):
        done = train(*SWEEP, "seed=0,1")
        assert done.status == 0
        assert f"{busy}: another process is writing here" in done.err
        assert list(states(workplace).values()) == ["done", "running"]
        assert [path.name for path in busy.rglob("*.ckpt")] == []


def test_a_run_in_a_directory_of_another_process_is_refused(train, workplace):
    (workplace / "run").mkdir()
    with locked(workplace / "run"):
        done = train()
    assert (done.status, done.err) == (1, f"{workplace / 'run'}: another process is writing here\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["seed=1,1"], "two jobs of the sweep would be written here"),
        (["seed=0,1", "hydra.sweep.subdir=same"], "two jobs of the sweep would be written here"),
        (["seed=0,1", "hydra.sweep.subdir=${nowhere}"], "hydra.sweep.subdir: "),
    ],
    ids=str,
)
def test_jobs_do_not_share_a_directory(train, workplace, options, message):
    done = train(*SWEEP, *options)
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(workplace.iterdir()) == []


def test_a_directory_of_other_settings_is_refused_before_the_first_job(train, workplace):
    train(*SWEEP, "seed=0,1")
    before = files(workplace)
    done = train(*SWEEP, "seed=0,1,2", "batch_size=3")
    assert done.status == 1
    assert "batch_size=3: the checkpoint has 4" in done.err
    assert files(workplace) == before


def test_a_run_from_other_weights_is_not_taken_for_this_one(train, workplace):
    train(*SWEEP, "seed=0,1")
    best = workplace / "sweep/add_ffattn/T12/seed0/checkpoints/best.ckpt"
    done = train(*SWEEP, "seed=0,1", f"init_from={best}")
    assert done.status == 1
    assert f"init_from={best}: the checkpoint has None" in done.err


def test_names_of_ones_own_are_kept(train, workplace):
    assert train(*SWEEP, "seed=0,1", "hydra.sweep.subdir=../job${hydra.job.num}").status == 0
    assert list(states(workplace)) == ["../job0", "../job1"]
