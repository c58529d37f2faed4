"""What a run says of its speed, on a clock that the tests turn."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from tiny_runs import overrides_of

from ffattn import fit
from ffattn.lightning.callbacks import progress

MODULE = Mock(
    spec=LightningModule, latest={"accuracy": 0.25}, measure=lambda loss, prediction, y: {"loss": loss, "accuracy": y}
)
OUTPUTS = {"loss": 0.25, "prediction": None}
BATCH = SimpleNamespace(y=0.5)  # the accuracy that is measured


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which stands until a test changes it."""
    clock = SimpleNamespace(time=1024.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.time)
    return clock


def watch(updates):
    watch = progress.RunProgress("lines", updates, Console(width=200))
    trainer = Mock(spec=Trainer, global_step=0, num_training_batches=1000, world_size=1)
    watch.on_train_start(trainer, MODULE)
    return watch, trainer


def end_update(watch, trainer):
    trainer.global_step += 1
    watch.on_train_batch_end(trainer, MODULE, OUTPUTS, BATCH, trainer.global_step - 1)


def test_the_first_update_which_compiles_kernels_is_no_measure_of_the_rest(clock, capsys):
    shown, trainer = watch(100_000)
    clock.time += 20  # the first update
    end_update(shown, trainer)
    for _ in range(5000):
        clock.time += 1 / 128
        end_update(shown, trainer)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "update      1 of at most 100000  loss 2.50e-01  accuracy  50.0%"
    assert second.startswith("update   3841 of at most 100000  loss 2.50e-01  accuracy  50.0%")
    assert second.endswith("128 updates/s  at most 0:12:31 left")


def test_a_run_of_one_update_has_no_rate(clock, capsys):
    shown, trainer = watch(1)
    clock.time += 20
    end_update(shown, trainer)
    shown.on_validation_end(trainer, MODULE)
    assert capsys.readouterr().out == (
        "update      1 of at most 1  loss 2.50e-01  accuracy  50.0%  val accuracy 25.0%\n"
    )


def test_a_validation_is_no_part_of_the_rate(clock, capsys):
    shown, trainer = watch(100)
    trainer.num_training_batches = 3
    for _ in range(3):
        clock.time += 0.5
        end_update(shown, trainer)
    clock.time += 1000
    shown.on_validation_end(trainer, MODULE)
    assert capsys.readouterr().out.splitlines()[-1].endswith("val accuracy 25.0%  2 updates/s  at most 0:00:48 left")


@pytest.mark.parametrize("mode", ["none", "quiet"])
def test_no_progress_is_none(clock, capsys, mode):
    watch = progress.RunProgress(mode, 10, Console(width=200))
    trainer = Mock(spec=Trainer, global_step=0, num_training_batches=1000, world_size=1)
    watch.on_train_start(trainer, MODULE)
    for trainer.global_step in range(1, 11):
        clock.time += 100
        watch.on_train_batch_end(trainer, MODULE, {}, None, trainer.global_step - 1)
    watch.on_validation_end(trainer, MODULE)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("mode", "is_silent"), [("none", False), ("quiet", True)])
def test_a_quiet_run_prints_nothing(tmp_path, capsys, mode, is_silent):
    overrides = overrides_of({"trainer__progress": mode})
    capsys.readouterr()
    fit(*overrides, folder=tmp_path / "run")
    assert (capsys.readouterr().out == "") is is_silent
