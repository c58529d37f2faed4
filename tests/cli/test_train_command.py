"""`ffattn-train`, in this process: mistakes leave no trace, runs leave a complete directory."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from cli_files import snapshot

from ffattn.config.errors import ConfigError

MISTAKES = {
    "task=multipy": "task=multipy: no such choice; did you mean multiply?",
    "taks=add": "taks: unknown key; did you mean task?",
    "+task.tolerence=3": "task.tolerence: unknown key; did you mean task.tolerance?",
    "T=abc": "T=abc: must be a whole number",
    "T=1e4": "T=10000.0: must be a whole number; write 10000",
    "T=5": "T=5: must be at least 11 for task=add",
    "model.hidden=0": "model.hidden=0: must be at least 1",
    "task=[add,xor]": "task=[add,xor]: choose one",
    "T=50,100": "T=50,100: choose one",
    "T": "T: cannot be read as an override",
    "model=3": "model=3",
    "precision=16": "precision=16: must be one of",
    "precision=16-mixed": "precision=16-mixed: needs a GPU",
    "accelerator=gpu": "accelerator=gpu: torch finds no CUDA device here",
    "resume=no.ckpt": "resume=no.ckpt: there is no such file",
    "init_from=no.ckpt": "init_from=no.ckpt: there is no such file",
    "hydra.run.dir=${nowhere}": "hydra.run.dir",
    "--config-dir=nowhere": "--config-dir=nowhere: there is no such folder",
    "--config-name=evaluate": "--config-name: is not supported",
    "task=null": "task=null: no such choice",
    "task=temporal_order": "task=temporal_order: no such choice; did you mean temporal_order_2 or temporal_order_3?",
    "lenght=fixed": "lenght: unknown key; did you mean length?",
    "task.length.T=50": "T=12: differs from task.length.T=50",
    "model._target_=ffattn.models.Model": "model._target_=ffattn.models.Model: is a base class",
    "+task.tolerance=3": "task.tolerance: exists already",
    "resume=": "resume=",
    "hydra.run.dir=/etc/passwd": "/etc/passwd: cannot be a run directory",
}
SWEEP_MISTAKES = {
    "task=add,multipy": "task=multipy: no such choice; did you mean multiply?",
    "T=12,abc": "T=abc: must be a whole number",
    "T=12,5": "T=5: must be at least 11 for task=add",
    "accelerator=cpu,gpu": "accelerator=gpu: torch finds no CUDA device here",
    "optim.Lr=1,2": "optim.Lr: unknown key; did you mean optim.lr?",
    "init_from=no.ckpt,none.ckpt": "init_from=no.ckpt: there is no such file",
    "resume=no.ckpt,none.ckpt": "resume=no.ckpt: there is no such file",
    "hydra.sweep.dir=${nowhere}": "hydra.sweep.dir",
}


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def assert_one_line(done, start):
    """The message is all that was printed."""
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(start)
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("argument", "start"), MISTAKES.items(), ids=MISTAKES)
@pytest.mark.usefixtures("without_gpu")
def test_a_mistake_is_one_line_and_leaves_no_trace(train, workplace, argument, start):
    assert_one_line(train(argument), start)
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(("argument", "start"), SWEEP_MISTAKES.items(), ids=SWEEP_MISTAKES)
@pytest.mark.usefixtures("without_gpu")
def test_a_mistake_in_any_job_of_a_sweep_stops_it_before_the_first(train, workplace, argument, start):
    assert_one_line(train("-m", argument), start)
    assert list(workplace.iterdir()) == []


def test_hydras_own_errors_are_one_line_too(train, workplace):
    done = train("--cfg=job", "task=multipy")
    assert_one_line(done, "task=multipy: no such choice; did you mean multiply?")


@pytest.mark.parametrize("option", ["--cfg=job", "--info=config"])
def test_what_would_run_is_shown_without_mistakes(train, workplace, option):
    assert_one_line(train(option, "model.hiden=3"), "model.hiden: unknown key; did you mean model.hidden?")
    assert_one_line(train("-m", option, "seed=0,1"), f"{option.partition('=')[0]}")
    assert list(workplace.iterdir()) == []


def test_a_run_goes_on_from_the_weights_that_it_started_from(train, workplace):
    train("hydra.run.dir=first")
    weights = "init_from=first/checkpoints/best.ckpt"
    assert train(weights, "resume=last", "hydra.run.dir=second").status == 0
    assert train(weights, "resume=last", "hydra.run.dir=second", "updates=4").status == 0
    done = train("resume=last", "hydra.run.dir=second", "updates=6")
    assert done.err.splitlines()[1:] == ["init_from=null: the checkpoint has first/checkpoints/best.ckpt"]
    assert train("resume=second/checkpoints/last.ckpt", "hydra.run.dir=third", "updates=6").status == 0


def test_paths_are_relative_to_where_the_command_was_given(train, workplace):
    train("hydra.run.dir=first")
    weights = "init_from=first/checkpoints/best.ckpt"
    assert train(weights, "hydra.run.dir=second", "hydra.job.chdir=true").status == 0
    sweep = train("-m", weights, "seed=0,1", "hydra.sweep.dir=sweep", "hydra.job.chdir=true")
    assert (sweep.status, len(list(workplace.glob("sweep/**/result.json")))) == (0, 2)
    assert Path.cwd() == workplace


def test_the_flag_of_a_sweep_may_come_last(train, workplace):
    assert_one_line(train("T=12,5", "-m"), "T=5: must be at least 11 for task=add")


def test_several_mistakes_are_a_line_each(train, workplace):
    done = train("T=abc", "model.hidden=0", "optim.lr=-1")
    assert sorted(done.err.splitlines()) == [
        "T=abc: must be a whole number",
        "model.hidden=0: must be at least 1",
        "optim.lr=-1.0: must be more than 0",
    ]
    assert done.status == 1
    assert list(workplace.iterdir()) == []


def test_a_developer_may_ask_for_the_traceback(train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("os.environ.pop", lambda *_: None)
        patch.setenv("HYDRA_FULL_ERROR", "1")
        with pytest.raises(ConfigError, match="T=abc"):
            train("T=abc")


def test_a_run_leaves_a_complete_directory(train, workplace):
    done = train()
    assert (done.status, done.err) == (0, "")
    written = {path for path in snapshot(workplace / "run") if not path.startswith(".hydra/")}
    assert written == {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "result.json"}
    assert {path.name for path in workplace.iterdir()} == {"run"}


def test_a_run_prints_a_header_and_a_table(train, workplace):
    printed = train().out
    assert f"written to  {workplace / 'run'}" in printed
    for part in ("add, T=12", "ffattn, 42 parameters", "validation", "test", "baseline"):
        assert part in printed


def test_a_run_without_a_name_is_written_to_a_directory_that_says_what_it_is(command, workplace):
    assert command("train", "T=12", "updates=1", "batch_size=2", "trainer.sequences=4", "logger=none").status == 0
    assert len(list(workplace.glob("outputs/add_ffattn/T12/*/result.json"))) == 1


def test_no_name_of_a_directory_needs_quotes_in_an_override(command, workplace):
    command("train", "T=12", "updates=1", "batch_size=2", "trainer.sequences=4", "logger=none")
    names = {part for path in workplace.rglob("*") for part in path.relative_to(workplace).parts}
    assert not any(set(name) & set("=,:{}[]() ") for name in names)


def test_lines_of_progress_go_to_stderr(train):
    done = train("trainer.progress=lines")
    assert "update      2 of at most 2" in done.err
    assert "accuracy" in done.err
    assert "update      2 of" not in done.out


def test_a_fresh_run_in_a_used_directory_is_refused(train, workplace):
    train()
    before = snapshot(workplace)
    done = train()
    assert_one_line(done, "run: holds a run already; continue it with resume=last, or choose another directory")
    assert snapshot(workplace) == before


def test_resuming_a_finished_run_changes_nothing_and_is_no_mistake(train, workplace):
    train()
    before = snapshot(workplace)
    done = train("resume=last")
    assert (done.status, done.err) == (0, "")
    assert "finished already" in done.out
    assert "baseline" in done.out
    assert snapshot(workplace) == before


def test_a_run_goes_on_with_more_updates(train, workplace):
    train()
    assert train("updates=4", "resume=last").status == 0
    assert json.loads((workplace / "run" / "result.json").read_text())["updates"] == 4


def test_resuming_with_other_settings_names_them(train, workplace):
    train()
    before = snapshot(workplace)
    done = train("resume=last", "updates=4", "optim.lr=0.1")
    assert done.status == 1
    assert done.err.splitlines()[1:] == ["optim.lr=0.1: the checkpoint has 0.003"]
    assert snapshot(workplace) == before


def test_a_loss_that_is_not_finite_ends_in_one_line_of_advice(train, workplace):
    done = train("optim.lr=1e30", "updates=12", "trainer.log_every=1")
    assert done.status == 1
    assert "is not finite (optim.lr=1e+30)" in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert not (workplace / "run" / "result.json").exists()


def test_a_sweep_makes_a_directory_for_each_job(train, workplace):
    done = train("-m", "hydra.sweep.dir=sweep", "seed=0,1")
    assert done.status == 0
    seeds = {path.parent.name: json.loads(path.read_text())["seed"] for path in workplace.rglob("result.json")}
    assert seeds == {"seed0": 0, "seed1": 1}


@pytest.mark.parametrize("option", ["--cfg=job", "--info=config"])
def test_hydras_own_questions_are_answered_without_a_run(train, workplace, option):
    done = train(option)
    assert done.status == 0
    assert "tolerance" in done.out
    assert not (workplace / "run").exists()


def test_the_result_says_which_command_made_it(train, workplace):
    train("seed=3")
    command = json.loads((workplace / "run" / "result.json").read_text())["command"]
    assert "seed=3" in command


def test_a_directory_that_cannot_be_made_is_one_line(train, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert_one_line(train(), "run: No space left on device")


def test_threads_are_set_as_asked(train):
    before = torch.get_num_threads()
    assert "1 thread)" in train("accelerator.num_threads=1", "hydra.run.dir=one").out
    assert "3 threads)" in train("accelerator.num_threads=3", "hydra.run.dir=three").out
    assert torch.get_num_threads() == before
