"""Sweeps: where jobs are written, what becomes of each, and how a sweep that is started again goes on."""

import csv
import json
import os
import re
import shutil
import signal
import threading

import pytest
from cli_files import TINY
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher

from ffattn.config.compose import Loader
from ffattn.config.hydra_access import keep_plugins
from ffattn.config.jobs import job_directory
from ffattn.config.lock import is_busy, locked
from ffattn.config.sweep_plan import Plan
from ffattn.config.sweep_signals import handing_on
from ffattn.tasks import Add
from ffattn.train import COMMAND
from tests.waiting import LIMIT

SWEEP = ["-m", "hydra.sweep.dir=sweep"]
NAMES = {
    "seed=0": "base/T${T}",
    "seed=0 seed optim.lr": "base/T${T}/seed0_lr0.003",
    "T=50 T seed": "base/T${T}/seed0",
    "model.hidden optim.hidden": "base/T${T}/model.hidden100_optim.hidden7",
    "length": "base/T${T}/length-paper",
    "init_from trainer.gradient_clip": "base/T${T}/init_fromnull_gradient_clipnull",
    "trainer.stop_when_solved": "base/T${T}/stop_when_solvedtrue",
    "init_from=../a init_from": "base/T${T}/init_from..-a-b630a862",
    "init_from=..-a init_from": "base/T${T}/init_from..-a",
    "optim.lr=-1e30 optim.lr": "base/T${T}/lr-1e+30",
}


@pytest.mark.parametrize(("line", "expected"), NAMES.items(), ids=NAMES)
def test_a_job_is_named_after_what_differs(line, expected):
    words = line.split()
    overrides = ["+optim.hidden=7", *(word for word in words if "=" in word)]
    config = Loader("train").compose(overrides)
    assert job_directory("base/T${T}", [word for word in words if "=" not in word], config) == expected


def test_jobs_are_all_combinations():
    jobs = list(Plan(COMMAND, ["seed=1,2", "T=range(11,13)", "updates=3"]).grid())
    assert jobs == [[f"seed={seed}", f"T={T}", "updates=3"] for seed in (1, 2) for T in (11, 12)]


def test_the_command_line_takes_the_place_of_a_files_values_and_jobs_keep_their_names(tmp_path):
    (tmp_path / "experiment").mkdir()
    params = "hydra: {mode: MULTIRUN, sweeper: {params: {optim.lr: '0.1,0.2', seed: '0,1'}}}"
    (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\n{params}\n")
    given = [f"hydra.sweep.dir={tmp_path}/sweep", "experiment=mine", "seed=5", "T=12"]
    plan = Plan(COMMAND, given, str(tmp_path))
    plan.check()
    names = [job.folder.relative_to(tmp_path).as_posix() for job in plan.jobs.values()]
    assert names == [f"sweep/add_ffattn/T12/lr{rate}_seed5" for rate in (0.1, 0.2)]
    assert plan.master.hydra.sweeper.params == {"optim.lr": "0.1,0.2"}


def test_a_files_sweep_takes_several_values_without_being_told_that_it_is_one(train, workplace):
    (workplace / "mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {mode: MULTIRUN, sweep: {dir: sweep}, sweeper: {params: {seed: '0'}}}\n"
    (workplace / "mine/experiment/several.yaml").write_text(text)
    done = train("--config-dir=mine", "experiment=several", "T=12,13")
    assert done.status == 0, done.err
    assert sorted(states(workplace)) == ["add_ffattn/T12/seed0", "add_ffattn/T13/seed0"]


MADE = "glob(*,exclude=[amp_vs_uniprot,basic_motions,file,japanese_vowels,plaid,tecator,watch])"


@pytest.mark.parametrize("task", [MADE, "glob([add*,x*])"])
def test_choices_may_be_a_pattern(train, workplace, task):
    assert train(*SWEEP, f"task={task}").status == 0
    tasks = ["add", "multiply", "temporal_order_2", "temporal_order_3", "xor"] if task == MADE else ["add", "xor"]
    assert list(states(workplace)) == [f"{name}_ffattn/T12" for name in tasks]


def test_an_interrupted_check_is_one_line(train, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ffattn.config.sweep_plan.Plan.job", interrupt)
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
    assert [line.partition(": done: accuracy")[0] for line in done.err.splitlines()] == [
        f"[{number}/4] {name}" for number, name in enumerate(names, start=1)
    ]
    assert list(table(workplace)) == names
    for name, row in table(workplace).items():
        result = json.loads((workplace / "sweep" / name / "result.json").read_text())
        assert name in done.out
        assert (float(row["accuracy"]), int(row["updates"])) == (result["test"]["accuracy"], result["updates"])
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
    failed = "add_ffattn/T12/lr1e+30"
    fine = "add_ffattn/T12/lr0.003"
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

    monkeypatch.setattr("ffattn.tasks.Add.is_correct", broken)
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
        assert "[2/2] add_ffattn/T12/seed1: running in another process" in done.err
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
    seed0, seed1 = (workplace / f"sweep/add_ffattn/T12/seed{seed}" for seed in (0, 1))
    (seed1 / "result.json").unlink()
    done = train(*SWEEP, "seed=1", f"init_from={seed0}/checkpoints/best.ckpt", "updates=4", "hydra.sweep.subdir=${T}")
    assert done.status == 0
    weights = f"init_from={seed0}/checkpoints/best.ckpt"
    for options in (["seed=0,1"], ["seed=0,1", "updates=4"]):
        done = train(*SWEEP, *options, weights)
        assert done.status == 1
        assert done.err.splitlines()[1:] == [f"{weights}: the checkpoint has null"]


def test_a_search_path_of_ones_own_is_searched(train, workplace):
    (workplace / "more/experiment").mkdir(parents=True)
    (workplace / "more/experiment/mine.yaml").write_text("# @package _global_\nbatch_size: 3\n")
    assert train(*SWEEP, f"hydra.searchpath=[file://{workplace}/more]", "experiment=mine", "seed=0,1").status == 0


def test_names_of_ones_own_are_kept(train, workplace):
    assert train(*SWEEP, "seed=0,1", "hydra.sweep.subdir=../job${hydra.job.num}").status == 0
    assert list(states(workplace)) == ["../job0", "../job1"]


def test_a_launcher_that_fails_leaves_a_table(train, workplace, monkeypatch):
    """As it does when a process of its own was killed."""

    def fail(*_, **__):
        raise RuntimeError("a worker has gone\nfor good")

    assert train(*SWEEP, "seed=0").status == 0
    monkeypatch.setattr("ffattn.config.precomposed.CheckingLauncher.launch", fail)
    done = train(*SWEEP, "seed=1,2")
    assert done.status == 1
    assert "RuntimeError: a worker has gone\n" in done.err
    assert "Traceback" not in done.err
    assert list(states(workplace).values()) == ["pending", "pending", "done"]
    assert "hydra.sweep.dir=" in done.out


def test_what_a_file_sweeps_over_is_swept(command, workplace):
    (workplace / "mine/sweep").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n      T: 12,13\n"
    (workplace / "mine/sweep/small.yaml").write_text(text)
    small = [argument for argument in TINY if argument != "T=12"]
    options = ["--config-dir=mine", "sweep=small", "hydra.sweep.dir=sweep", *small]
    assert command("train", *options).status == 0
    assert list(states(workplace)) == [f"add_ffattn/T{T}/seed{seed}" for seed in (0, 1) for T in (12, 13)]
    assert command("train", "-m", *options, "seed=3").status == 0
    assert list(states(workplace))[:2] == ["add_ffattn/T12/seed3", "add_ffattn/T13/seed3"]


@pytest.mark.parametrize(
    "options", [["-m", "+hydra.sweeper.params.seed='0,1'"], ["seed=0,1", "hydra.mode=MULTIRUN"]], ids=" ".join
)
def test_a_sweep_may_be_asked_for_in_hydras_words(train, workplace, options):
    assert train("hydra.sweep.dir=sweep", *options).status == 0
    assert list(states(workplace)) == ["add_ffattn/T12/seed0", "add_ffattn/T12/seed1"]


def test_values_do_not_lead_out_of_the_sweeps_directory(train, workplace):
    train()
    shutil.copytree("run", "other")
    checkpoints = [f"../{workplace.name}/{name}/checkpoints/best.ckpt" for name in ("run", "other")]
    assert train(*SWEEP, f"init_from={','.join(checkpoints)},null").status == 0
    names = list(states(workplace))
    assert len(names) == 3
    assert all(re.fullmatch(r"add_ffattn/T12/init_from[\w.-]+", name) for name in names)
    assert names[2] == "add_ffattn/T12/init_fromnull"
    assert {path.name for path in workplace.iterdir()} == {"run", "other", "sweep"}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("checkpoints/last.ckpt", "not a checkpoint, or a damaged one; remove "),
        ("result.json", "not a result, or a damaged one; remove it"),
    ],
)
def test_a_damaged_file_is_the_failure_of_its_job(train, workplace, file, reason):
    train(*SWEEP, "seed=0,1")
    damaged = workplace / "sweep/add_ffattn/T12/seed0" / file
    damaged.write_text("{")
    done = train(*SWEEP, "seed=0,1,2")
    assert done.status == 1
    assert list(states(workplace).values()) == ["failed", "skipped", "done"]
    assert f"add_ffattn/T12/seed0: failed: {damaged}: {reason}" in done.out
    assert "Traceback" not in done.err
    alone = train("resume=last", "seed=0", f"hydra.run.dir={workplace}/sweep/add_ffattn/T12/seed0")
    assert (alone.status, alone.err.count("\n")) == (1, 1)
    assert reason in alone.err


def test_a_longer_run_is_not_taken_for_a_shorter_one(train, workplace):
    train(*SWEEP, "seed=0,1", "updates=4")
    before = files(workplace)
    done = train(*SWEEP, "seed=0,1")
    assert (done.status, set(states(workplace).values())) == (0, {"longer"})
    assert "[1/2] add_ffattn/T12/seed0: longer: " in done.err
    assert "add_ffattn/T12/seed0: longer: made 4 updates, not 2" in done.out
    assert files(workplace) == before


def test_the_csv_has_every_job_of_the_directory(train, workplace):
    train(*SWEEP, "seed=0,1")
    done = train(*SWEEP, "seed=1,2")
    assert states(workplace) == {f"add_ffattn/T12/seed{n}": s for n, s in ((1, "skipped"), (2, "done"), (0, "done"))}
    assert "seed0" not in done.out
    assert "2 jobs, 0 failed" in done.out


@pytest.mark.signals
def test_a_signal_to_a_sweep_makes_no_directory_and_waits_for_no_job_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.Process.children", lambda process, recursive: [])
    monkeypatch.setattr("ffattn.config.sweep_signals.time.sleep", pytest.fail)
    folders = [tmp_path / "mine", tmp_path / "pending"]
    with locked(folders[0]), pytest.raises(SystemExit) as caught, handing_on(lambda: folders, pytest.fail):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143
    assert not (tmp_path / "pending").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(130)], ids=repr)
def test_an_interrupted_sweep_says_how_to_go_on(train, workplace, monkeypatch, stop):
    fine = Add.is_correct

    def interrupt(self, prediction, y):
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr("ffattn.tasks.Add.is_correct", interrupt)
        done = train(*SWEEP, "task=xor,add,multiply")
    assert fine is Add.is_correct
    assert done.status == 130
    assert done.err.splitlines()[1:] == ["interrupted"]
    assert list(states(workplace).values()) == ["done", "stopped", "pending"]
    assert "3 jobs, 0 failed, 1 cut off, 1 not started; the table is in" in " ".join(done.out.split())
    assert table(workplace)["add_ffattn/T12"]["reason"] == "was cut off"
    assert f"the same command with hydra.sweep.dir={workplace / 'sweep'} does what is left" in done.out
    assert "hydra.run.dir" not in done.out + done.err
    assert train(*SWEEP, "task=xor,add,multiply").status == 0
    assert list(states(workplace).values()) == ["skipped", "done", "done"]


def test_a_key_with_several_values_is_not_given_twice(train, workplace):
    done = train(*SWEEP, "model.hidden=4,8", "model.hidden=16")
    assert (done.status, done.err) == (1, "model.hidden=16: model.hidden=4,8 is given too; leave out one of them\n")
    assert list(workplace.iterdir()) == []


def test_a_lock_is_waited_for_a_moment(workplace, monkeypatch):
    """Whoever asks whether a directory is busy holds its lock for an instant."""
    monkeypatch.setattr("ffattn.config.lock._LOCK_TIMEOUT", LIMIT)
    asking = locked(workplace)
    asking.__enter__()
    timer = threading.Timer(0.05, asking.__exit__, [None] * 3)
    timer.start()
    with locked(workplace):
        timer.join()
    assert not is_busy(workplace)


def test_a_worker_that_forgets_hydras_plugins_has_them_again_without_a_search(monkeypatch):
    """As `hydra.core.singleton.Singleton.set_state` makes it forget them before each job."""
    before = Plugins.instance()
    monkeypatch.setattr(Plugins, "_initialize", Plugins._initialize)  # put back after the test
    keep_plugins.__wrapped__()
    monkeypatch.setattr(Plugins, "_scan_all_plugins", lambda *_: pytest.fail("searched"))
    monkeypatch.setattr(Singleton, "_instances", {k: v for k, v in Singleton._instances.items() if k is not Plugins})
    after = Plugins.instance()
    assert after is not before
    assert after.discover(Launcher) == before.discover(Launcher) != []
