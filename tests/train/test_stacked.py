"""Models trained as one end where each would have ended alone, and leave behind what each would have left."""

import os
import signal

import pytest
import torch
from tiny_runs import about, fit, in_words, read, rows, settings_of, snapshot

from ffattn.config.lock import locked
from ffattn.errors import TrainingError
from ffattn.lightning.loggers.csv_file import CSVFileLogger
from ffattn.lightning.stacking.module import StackedModule
from ffattn.runs.resuming import find_start
from ffattn.runs.stacked import PlannedRun, groups_of, obstacle_to, train_together
from ffattn.runs.training import train
from tests.pairwise import few

# the day's seconds; what a sweep asks for; and a count of Lightning's, which leaves the schedules to the members
OTHERS = {"seconds", "train/updates_per_second", "resume", "epoch_loop.scheduler_progress"}
RATES = {"slow": 0.003, "fast": 0.02}
VARIANTS = [
    {},
    {"optim__schedule": "cosine", "optim__warmup": 3},
    {"optim": "sgd"},
    {"task": "temporal_order_2", "model": "mean"},
    {"model__normalizer": "relu2", "model__position": "fraction"},
    {"model__length_scale": "true", "model__bias_init": "uniform"},
    {"trainer__accumulate": 2},
    {"trainer__distinct_batches": 3},
    {"trainer__gradient_clip": 0.01},
    {"length": "variable", "task__length__min": 11},
    {"precision": "bf16-mixed"},
    {"precision": 64},
    {"optim__schedule": "cosine", "optim__warmup": 3, "trainer__gradient_clip": 0.01, "length": "variable"}
    | {"task__length__min": 11, "model__normalizer": "relu2", "model__position": "fraction"},
    {"optim": "sgd", "trainer__accumulate": 2, "model__length_scale": "true", "model__bias_init": "uniform"},
    {"task": "temporal_order_2", "model": "mean", "trainer__distinct_batches": 3},
]


def stack(folder, members, **options):
    """Train members, each with options of its own, as far as that is done together."""
    runs = [PlannedRun(settings_of(**options, **own), folder / name) for name, own in members.items()]
    train_together(runs, largest=64)


def finish(folder, **options):
    """What each job does after the stack."""
    settings = settings_of(resume="last", **options)
    return train(settings, folder, find_start(settings, folder), quiet=True)


def assert_close(a, b, tolerance=1e-4, path=""):
    """Nested containers are the same, numbers to a tolerance, but for what is no part of the run."""
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance / 100, msg=lambda text: f"{path}: {text}")
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - OTHERS:
            assert_close(a[key], b[key], tolerance, f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_close(*pair, tolerance, f"{path}/{i}")
    else:
        assert a == (pytest.approx(b, rel=tolerance, abs=tolerance / 1000) if isinstance(b, float) else b), path


def assert_same_files(folder, other, tolerance):
    for name in ("best", "last"):
        assert_close(read(folder, name), read(other, name), tolerance, name)
    for column in ("val/accuracy", "train/loss"):
        assert_close(rows(folder, column), rows(other, column), tolerance, column)


@pytest.mark.parametrize("options", few(VARIANTS, 12, 13, 14), ids=in_words)
def test_each_ends_where_it_would_have_ended_alone(tmp_path, options):
    options = options | {"updates": 7, "trainer__validate_every": 3, "trainer__log_every": 2, "logger": "csv"}
    own = {name: {"optim__lr": lr, "seed": seed} for seed, (name, lr) in enumerate(RATES.items())}
    stack(tmp_path / "stack", own, **options)
    for name, different in own.items():
        alone = fit(tmp_path / name, **options, **different)
        tolerance = 0.03 if options.get("precision") == "bf16-mixed" else 1e-4
        assert_same_files(tmp_path / "stack" / name, alone.folder, tolerance)
        done = finish(tmp_path / "stack" / name, **options, **different)
        kept = {"updates", "updates_to_solve", "solved", "stopped_because", "val", "test", "parameters"}
        assert_close({key: done.result[key] for key in kept}, {key: alone.result[key] for key in kept}, tolerance)


def test_each_has_a_course_of_its_own(tmp_path):
    """Optimiser, schedule, clipping and logs need not be equal."""
    own = {
        "adam": {"optim__schedule": "linear", "trainer__log_every": 1, "logger": "csv"},
        "sgd": {"optim": "sgd", "trainer__gradient_clip": 0.01, "logger": "csv", "optim__lr": 0.1},
        "quiet": {"optim__weight_decay": 0.1, "init_from": fit(tmp_path / "before").checkpoint},
    }
    stack(tmp_path / "stack", own, updates=5)
    for name, different in own.items():
        alone = fit(tmp_path / name, updates=5, **different)
        assert_close(read(tmp_path / "stack" / name), read(alone.folder))
        assert (tmp_path / "stack" / name / "metrics.csv").exists() == (different.get("logger") == "csv")
    assert_close(rows(tmp_path / "stack" / "adam", "train/lr"), rows(tmp_path / "adam", "train/lr"))


def test_who_has_solved_it_leaves_and_the_others_go_on(tmp_path):
    own = {f"{name}": {"seed": seed, "trainer__stop_when_solved": name != "c"} for seed, name in enumerate("abc")}
    own["d"] = own["c"] | {"seed": 3}
    options = {"updates": 6, "task__tolerance": 100}
    stack(tmp_path, own, **options)
    assert [about(tmp_path / name)["update"] for name in own] == [2, 2, 6, 6]
    assert about(tmp_path / "a")["stopped_because"] == "solved"
    assert about(tmp_path / "d")["stopped_because"] == "updates"
    assert_close(read(tmp_path / "d"), read(fit(tmp_path / "alone", **options, **own["d"]).folder))


def test_the_last_one_goes_on_alone(tmp_path):
    own = {"a": {"seed": 0}, "b": {"seed": 1, "trainer__stop_when_solved": "false"}}
    options = {"updates": 6, "task__tolerance": 100}
    stack(tmp_path, own, **options)
    assert [about(tmp_path / name)["update"] for name in own] == [2, 2]
    assert about(tmp_path / "b")["stopped_because"] is None
    assert finish(tmp_path / "b", **options, **own["b"]).result["updates"] == 6
    assert_close(read(tmp_path / "b"), read(fit(tmp_path / "alone", **options, **own["b"]).folder))


def test_who_fails_fails_alone(tmp_path):
    own = {"bad": {"optim__lr": 1e30}, "a": {"seed": 1}, "b": {"seed": 2}}
    stack(tmp_path, own, updates=4, trainer__log_every=1)
    assert not (tmp_path / "bad" / "checkpoints").exists()
    assert [about(tmp_path / name)["update"] for name in "ab"] == [4, 4]
    assert_close(read(tmp_path / "a"), read(fit(tmp_path / "alone", updates=4, trainer__log_every=1, seed=1).folder))
    with pytest.raises(TrainingError, match="the loss of update 2 is not finite"):
        finish(tmp_path / "bad", updates=4, trainer__log_every=1, optim__lr=1e30)


def test_a_disk_that_is_full_leaves_each_job_to_itself(tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVFileLogger, "__init__", fail)
    stack(tmp_path, {"a": {"seed": 0}, "b": {"seed": 1}}, logger="csv")
    _, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hydra/launcher=stacked: {tmp_path / 'a'}: logger=csv cannot write curves: No space left")
    assert line.endswith("; the jobs of the stack go on alone")


def test_a_mistake_in_the_code_leaves_each_job_to_itself(tmp_path, monkeypatch, capsys):
    def broken(self, prediction, y):
        raise KeyError("oh")

    monkeypatch.setattr("ffattn.tasks.Add.is_correct", broken)
    stack(tmp_path, {"a": {"seed": 0}, "b": {"seed": 1}})
    assert "the stack failed; its jobs go on alone" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("schedule", few(["constant", "linear"], 1))
def test_a_stack_goes_on_where_its_members_were(tmp_path, schedule):
    own = {name: {"seed": seed} for seed, name in enumerate("abcd")}
    options = {"optim__schedule": schedule, "trainer__accumulate": 2}
    stack(tmp_path, {name: own[name] for name in "ab"}, updates=2, **options)
    fit(tmp_path / "c", updates=2, seed=2, **options)
    stack(tmp_path, own, updates=6, **options)  # d is alone in having made no update
    for name in "abc":
        assert about(tmp_path / name)["update"] == 6
        whole = finish(tmp_path / name, updates=6, **own[name], **options).result
        again = fit(tmp_path / f"alone-{name}", updates=2, **own[name], **options)
        straight = fit(again.folder, updates=6, resume="last", **own[name], **options)
        assert_close(read(tmp_path / name), read(straight.folder))
        assert_close(whole["val"], straight.result["val"])
    assert not (tmp_path / "d" / "checkpoints").exists()


def stack_until_told(folder, update, members, **options):
    """Train members together; SIGTERM comes while they make the update with this number, from 1. The exit status."""
    step = StackedModule.training_step

    def send(stack, batch, number):
        if stack.global_step == update - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(stack, batch, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StackedModule, "training_step", send)
        with pytest.raises(SystemExit) as caught:
            stack(folder, members, **options)
    return caught.value.code


@pytest.mark.parametrize("update", few([1, 3, 5], 2))
def test_a_signal_ends_a_stack_after_the_update_in_which_it_came(tmp_path, update):
    own = {name: {"seed": seed} for seed, name in enumerate("abc")}
    options = {"updates": 7, "trainer__validate_every": 3, "trainer__log_every": 1, "logger": "csv"}
    options |= {"optim__schedule": "cosine", "trainer__accumulate": 2}
    assert stack_until_told(tmp_path, update, own, **options) == 143
    assert [about(tmp_path / name)["update"] for name in "abc"] == [update] * 3
    finish(tmp_path / "c", **options, **own["c"])  # alone, and the others together
    stack(tmp_path, {name: own[name] for name in "ab"}, **options)
    for name in "abc":
        alone = fit(tmp_path / f"alone-{name}", **options, **own[name])
        assert_same_files(tmp_path / name, alone.folder, 1e-4)


def test_a_signal_saves_nobody_whose_loss_was_not_finite(tmp_path):
    own = {"bad": {"optim__lr": 1e30}, "a": {"seed": 1}, "b": {"seed": 2}}
    assert stack_until_told(tmp_path, 3, own, updates=6, trainer__validate_every=6) == 143
    assert not (tmp_path / "bad" / "checkpoints").exists()
    assert [about(tmp_path / name)["update"] for name in "ab"] == [3, 3]


def test_what_is_done_is_not_touched(tmp_path):
    own = {"a": {"seed": 0}, "b": {"seed": 1}}
    stack(tmp_path, own)
    before = snapshot(tmp_path)
    stack(tmp_path, own)
    assert snapshot(tmp_path) == before


def test_a_job_of_another_process_is_left_to_it(tmp_path):
    (tmp_path / "b").mkdir()
    with locked(tmp_path / "b"):
        stack(tmp_path, {name: {"seed": seed} for seed, name in enumerate("abc")})
    assert [(tmp_path / name / "checkpoints").exists() for name in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"model": "lstm"}, "model=lstm (Batching rule not implemented"),
        ({"model__score_jitter": 0.5}, "model=ffattn (is random in training)"),
        ({"trainer__ema_decay": 0.9}, "trainer.ema_decay"),
        ({"trainer__detect_anomaly": "true"}, "trainer.detect_anomaly=true"),
        ({"trainer__profiler": "simple"}, "trainer.profiler=simple"),
        ({"trainer__pictures": 2, "logger": "tensorboard"}, "trainer.pictures=2"),
        ({"logger": "wandb"}, "logger=wandb"),
        ({"precision": "16-mixed"}, "precision=16-mixed"),
        ({"accelerator": "ddp_cpu"}, "accelerator.devices=2"),
        ({"resume": "some.ckpt"}, "resume=some.ckpt"),
    ],
    ids=str,
)
def test_what_cannot_be_stacked_has_a_reason(options, expected):
    found = obstacle_to(settings_of(**options))
    assert found == expected or found.startswith(expected)


def test_groups_are_of_what_is_equal(tmp_path):
    options = [
        {"seed": 0, "optim__lr": 0.1},
        {"T": 13},
        {"seed": 1, "optim": "sgd", "logger": "csv", "trainer__gradient_clip": 1.0},
        {"batch_size": 3},
        {"T": 13, "seed": 4, "trainer__progress": "lines"},
        {"updates": 3},
        {"seed": 2},
    ]
    runs = [PlannedRun(settings_of(**own), tmp_path / str(number)) for number, own in enumerate(options)]

    def names(largest):
        return [[run.folder.name for run in group] for group in groups_of(runs, largest)]

    assert names(64) == [["0", "2", "6"], ["1", "4"], ["3"], ["5"]]
    assert names(2) == [["0"], ["2", "6"], ["1", "4"], ["3"], ["5"]]
