"""Signals end a run with a checkpoint and their own status; the resumed run is the one that was never interrupted."""

import os
import signal

import pytest
from tiny_runs import about, assert_same_run, before_each_step, fit, in_words, rows, targets_of, targets_seen

from ffattn.errors import TrainingError
from tests.pairwise import each_value

pytestmark = pytest.mark.signals

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
VARIANTS = [
    {},
    {"optim__schedule": "cosine", "optim__warmup": 3, "model__score_jitter": 0.5, "trainer__gradient_clip": 0.01},
    {"trainer__accumulate": 2, "model": "lstm_attention", "length": "variable", "task__length__min": 11},
    {"trainer__ema_decay": 0.9, "precision": "bf16-mixed"},
]


def fit_until_told(folder, update, *numbers, **options):
    """A run that gets signals while it makes the update with this number, from 1; its exit status."""
    waiting = list(numbers)

    def send(module, batch):
        if module.global_step == update - 1:
            while waiting:
                os.kill(os.getpid(), waiting.pop(0))
        return batch

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, send)
        with pytest.raises(SystemExit) as caught:
            fit(folder, **options)
    assert not (folder / "result.json").exists()
    return caught.value.code


@each_value(update=[1, 2, 5], options={in_words(options): options for options in VARIANTS})
def test_a_run_goes_on_after_the_update_in_which_it_was_told_to_end(tmp_path, update, options):
    options = options | {"updates": 7, "trainer__validate_every": 3, "trainer__log_every": 1, "logger": "csv"}
    straight = fit(tmp_path / "straight", **options)
    assert fit_until_told(tmp_path / "run", update, signal.SIGTERM, **options) == 143
    assert about(tmp_path / "run")["update"] == update
    resumed = fit(tmp_path / "run", resume="last", **options)
    assert_same_run(resumed, straight)
    for column in ("val/error", "train/loss"):
        pairs = [[(row["step"], row[column]) for row in rows(run.folder, column)] for run in (resumed, straight)]
        assert pairs[0] == pairs[1]


@pytest.mark.parametrize("update", [3, 7])
def test_a_validation_that_comes_next_is_waited_for(tmp_path, update):
    options = {"updates": 7, "trainer__validate_every": 3}
    assert fit_until_told(tmp_path / "run", update, signal.SIGTERM, **options) == 143
    found = about(tmp_path / "run")
    assert (found["update"], found["history"]["update"][-1]) == (update, update)
    assert_same_run(fit(tmp_path / "run", resume="last", **options), fit(tmp_path / "straight", **options))


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_each_signal_has_its_own_status(tmp_path, number):
    before = signal.getsignal(number)
    assert fit_until_told(tmp_path / "run", 2, number, updates=4, trainer__validate_every=4) == 128 + number
    assert signal.getsignal(number) == before
    assert about(tmp_path / "run")["update"] == 2


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    assert (
        fit_until_told(tmp_path / "run", 2, signal.SIGINT, signal.SIGINT, updates=4, trainer__validate_every=4) == 130
    )
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_a_second_signal_of_another_kind_changes_nothing(tmp_path):
    options = {"updates": 4, "trainer__validate_every": 4}
    assert fit_until_told(tmp_path / "run", 2, signal.SIGUSR1, signal.SIGTERM, **options) == 138
    assert about(tmp_path / "run")["update"] == 2


def test_nothing_is_saved_after_a_loss_that_was_not_finite(tmp_path):
    options = {"optim": "sgd", "optim__lr": 1e30, "updates": 6, "trainer__validate_every": 6, "trainer__log_every": 6}
    with pytest.raises(TrainingError, match="the loss of update 2 is not finite"):
        fit_until_told(tmp_path, 3, signal.SIGTERM, **options)
    assert not (tmp_path / "checkpoints").exists()


def test_every_batch_is_trained_on_once_whatever_signals_come(tmp_path, monkeypatch):
    seen = targets_seen(monkeypatch)
    for update in (1, 2, 6, 8):
        fit_until_told(tmp_path / "run", update, signal.SIGTERM, updates=9, trainer__validate_every=4, resume="last")
    fit(tmp_path / "run", updates=9, trainer__validate_every=4, resume="last")
    assert seen == targets_of(range(9))


def test_a_signal_during_the_test_loses_nothing(tmp_path, monkeypatch):
    options = {"updates": 4, "logger": "csv"}
    straight = fit(tmp_path / "straight", **options)
    with monkeypatch.context() as patch:
        step = "ffattn.lightning.SequenceModule.test_step"
        patch.setattr(step, lambda module, batch, index: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as caught:
            fit(tmp_path / "run", **options)
    assert caught.value.code == 143
    assert_same_run(fit(tmp_path / "run", resume="last", **options), straight)
    tested = [rows(tmp_path / name, "test/error")[-1] for name in ("run", "straight")]
    assert tested[0] == tested[1]
    assert tested[0]["step"] == 4
