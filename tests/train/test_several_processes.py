"""Runs of several processes: the course of one, whatever they divide, and one end for all of them."""

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_runs import about, fit, read, rows, settings_of

import ffattn
from ffattn.errors import TrainingError
from ffattn.models import FFAttention
from ffattn.rng.streams import Grid
from ffattn.tasks import Regression
from ffattn.tasks.batch import Batch
from ffattn.tasks.length import Fixed
from tests.pairwise import few
from tests.waiting import wait_for

CURVES = ("train/loss", "train/accuracy", "val/accuracy", "val/error", "test/error")
RUN = {"updates": 4, "logger": "csv", "trainer__log_every": 1, "optim__lr": 0.03}
DIVISIONS = {
    "batch": {"accelerator": "ddp_cpu", "length": "variable", "task__length__min": 11, "model__score_jitter": 1},
    "batch, recurrent": {"accelerator": "ddp_cpu", "model": "lstm_attention", "trainer__accumulate": 2},
    "parameters": {"accelerator": "fsdp", "model__score_jitter": 1, "trainer__gradient_clip": 0.1},
    "parameters, recurrent": {"accelerator": "fsdp", "model": "lstm_attention", "trainer__accumulate": 2},
    "time": {
        "accelerator": "sequence_parallel",
        "length": "variable",
        "task__length__min": 11,
        "model__position": "fraction",
        "model__length_scale": True,
        "model__score_jitter": 1,
    },
    "time, relu2": {"accelerator": "sequence_parallel", "model__normalizer": "relu2", "precision": 64},
}


def curve(folder):
    return [row[name] for name in CURVES for row in rows(folder, name)]


def assert_same_weights(a, b):
    torch.testing.assert_close(read(a)["state_dict"], read(b)["state_dict"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", few(DIVISIONS, 4))
def test_two_processes_take_the_course_of_one(tmp_path, name):
    options = RUN | DIVISIONS[name]
    two = fit(tmp_path / "two", **options)
    one = fit(tmp_path / "one", **(options | {"accelerator": "cpu"}))
    assert len(curve(one.folder)) == 4 + 4 + 2 + 2 + 1
    assert curve(two.folder) == pytest.approx(curve(one.folder), rel=1e-5, abs=1e-7)
    assert_same_weights(two.folder, one.folder)
    assert (two.result["processes"], one.result["processes"]) == (2, 1)
    assert two.result["val"]["accuracy"] == one.result["val"]["accuracy"]
    files = {path.relative_to(two.folder).as_posix() for path in two.folder.rglob("*") if path.is_file()}
    assert files == {
        "metrics.csv",
        "result.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
    }


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, monkeypatch):
    fit(tmp_path / "a", accelerator="ddp_cpu", updates=2)
    fit(tmp_path / "a", accelerator="cpu", updates=4, resume="last")
    fit(tmp_path / "a", accelerator="sequence_parallel", updates=6, resume="last")
    fit(tmp_path / "a", accelerator="fsdp", updates=8, resume="last")
    whole = fit(tmp_path / "b", accelerator="cpu", updates=8)
    assert about(tmp_path / "a")["update"] == 8
    assert_same_weights(tmp_path / "a", whole.folder)


@pytest.mark.slow
def test_a_sharded_run_that_only_lacks_its_test_is_tested(tmp_path):
    trained = fit(tmp_path, accelerator="fsdp", updates=2)
    (tmp_path / "result.json").unlink()
    again = fit(tmp_path, accelerator="fsdp", updates=2, resume="last")
    assert again.result["test"] == trained.result["test"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_the_same_line(tmp_path):
    options = {"optim": "sgd", "optim__lr": 1e30, "trainer__log_every": 1, "updates": 4}
    lines = []
    for accelerator in ("cpu", "ddp_cpu"):
        with pytest.raises(TrainingError) as caught:
            fit(tmp_path / accelerator, accelerator=accelerator, **options)
        lines.append(str(caught.value))
    assert lines[0].startswith("the loss of update 2 is not finite")
    assert lines[1] == lines[0]


@dataclass
class Failing(FFAttention):
    """The second process fails when it builds the network, while the first one waits for it."""

    how: str = "raise"

    def build(self, sizes):
        if os.environ.get("RANK") == "1":
            if self.how not in {"raise", "read", "kill"}:  # a file
                Path(self.how).touch()
                threading.Event().wait()
            if self.how == "raise":
                raise RuntimeError("no network today")
            if self.how == "read":
                os.stat("/no/such/file")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().build(sizes)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("raise", "^process 1 failed: RuntimeError: no network today$"),
        pytest.param("read", "^/no/such/file: No such file or directory$", marks=pytest.mark.slow),
        pytest.param("kill", "^process 1 was ended by SIGKILL; .*", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_fails_ends_all_of_them(tmp_path, how, line, capfd):
    settings = settings_of(accelerator="ddp_cpu")
    with pytest.raises(TrainingError, match=line):
        ffattn.fit(task=settings.task, model=Failing(how=how), accelerator=settings.accelerator, folder=tmp_path / "x")
    assert not (tmp_path / "x" / "result.json").exists()
    assert ("no network today" in capfd.readouterr().err) == (how == "raise")


@pytest.mark.signals
@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], 0))
def test_processes_that_cannot_save_are_ended(tmp_path, monkeypatch, number):
    """One hangs, so that the other waits for it; and this process keeps the handlers that it had."""
    monkeypatch.setattr("ffattn.lightning.launch._SAVING", 0.1)
    hangs = tmp_path / "hangs"

    def interrupt():
        wait_for(hangs.exists, "a process hangs")
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=interrupt).start()
    settings = settings_of(accelerator="ddp_cpu")
    with pytest.raises(SystemExit) as caught:
        ffattn.fit(
            task=settings.task, model=Failing(how=str(hangs)), accelerator=settings.accelerator, folder=tmp_path / "x"
        )
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before


@dataclass
class Careless(Regression):
    """A task whose target is a matter of the window that is made."""

    length: Fixed
    feature_names = ("value",)
    num_outputs = 1
    min_length = 2

    def sample(self, window):
        x = window.values(0, Grid())
        return Batch(x, window.lengths, x.mean(dim=1), torch.zeros(len(x), 0, dtype=torch.long))

    def baseline(self):
        raise NotImplementedError


@pytest.mark.slow
def test_a_task_that_cannot_be_made_in_pieces_is_refused(tmp_path):
    settings = settings_of(accelerator="sequence_parallel")
    with pytest.raises(TrainingError, match=r"^task=careless: its targets depend on the window of time"):
        ffattn.fit(task=Careless(Fixed(T=12)), accelerator=settings.accelerator, folder=tmp_path / "x", quiet=True)
