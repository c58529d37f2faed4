"""A resumed run is the run that was never interrupted, to the last bit; and nothing is lost or mixed up by resuming."""

import shutil

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import (
    about,
    assert_same_run,
    equal,
    fit,
    fit_until_killed,
    in_words,
    overrides_of,
    read,
    rows,
    snapshot,
    targets_of,
    targets_seen,
)

import ffattn
from ffattn.config.errors import ConfigError
from ffattn.inference.checkpoint_files import KEY
from tests.pairwise import few

VARIANTS = [
    {},
    {"optim__schedule": "cosine", "optim__warmup": 3},
    {"optim__schedule": "linear"},
    {"optim": "sgd"},
    {"model": "lstm_attention"},
    {"model__score_jitter": 0.5, "model__normalizer": "relu2"},
    {"trainer__accumulate": 2},
    {"trainer__accumulate": 2, "model": "lstm_attention"},
    {"trainer__ema_decay": 0.9},
    {"trainer__distinct_batches": 3},
    {"trainer__gradient_clip": 0.01},
    {"length": "variable", "task__length__min": 11},
    {"precision": "bf16-mixed"},
    {"precision": 64},
    {"task": "temporal_order_2", "model": "lstm"},
    {"optim__schedule": "cosine", "optim__warmup": 3, "trainer__gradient_clip": 0.01, "model__score_jitter": 0.5}
    | {"model__normalizer": "relu2", "length": "variable", "task__length__min": 11},
    {"optim__schedule": "linear", "trainer__accumulate": 2, "model": "lstm_attention", "trainer__ema_decay": 0.9},
    {"optim": "sgd", "trainer__distinct_batches": 3, "precision": "bf16-mixed"},
    {"task": "temporal_order_2", "model": "lstm", "precision": 64},
]


@pytest.mark.parametrize("options", few(VARIANTS, 0, 15, 16, 17, 18), ids=in_words)
def test_a_run_killed_between_validations_ends_as_if_it_had_not_been(tmp_path, options):
    options = options | {"updates": 7, "trainer__validate_every": 3}
    straight = fit(tmp_path / "straight", **options)
    fit_until_killed(tmp_path / "killed", 6, **options)
    assert about(tmp_path / "killed")["update"] == 3
    assert not (tmp_path / "killed" / "result.json").exists()
    assert_same_run(fit(tmp_path / "killed", resume="last", **options), straight)


@pytest.mark.parametrize(("updates", "more"), few([(4, 8), (5, 9), (1, 9), (3, 5)], 1, 3))
def test_a_finished_run_goes_on_with_more_updates(tmp_path, updates, more):
    options = {"trainer__validate_every": 4, "model": "lstm_attention", "trainer__accumulate": 2}
    straight = fit(tmp_path / "straight", updates=more, **options)
    fit(tmp_path / "run", updates=updates, **options)
    resumed = fit(tmp_path / "run", updates=more, resume="last", **options)
    assert resumed.result["updates"] == more
    for key in ("state_dict", "optimizer_states"):
        assert equal(read(resumed.folder)[key], read(straight.folder)[key])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_schedule_ends_at_the_last_update_when_a_finished_run_goes_on(tmp_path, schedule):
    options = {"optim__schedule": schedule, "trainer__validate_every": 2, "trainer__log_every": 1, "logger": "csv"}
    fit(tmp_path / "run", updates=4, **options)
    fit(tmp_path / "run", updates=12, resume="last", **options)
    rates = [row["train/lr"] for row in rows(tmp_path / "run", "train/lr") if row["step"] > 4]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.0015
    assert rates[-1] < 0.0005


def test_a_schedule_that_moves_is_said(tmp_path, capsys):
    options = {"optim__schedule": "cosine", "trainer__validate_every": 2}
    fit(tmp_path / "run", updates=4, **options)
    capsys.readouterr()
    ffattn.fit(*overrides_of(options | {"updates": 8, "resume": "last"}), folder=tmp_path / "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "optim.schedule=cosine now ends at update 8, and ended at 4 until update 4" in said
    assert "optim.horizon=8 from its start" in said


def test_with_a_horizon_a_run_that_is_made_longer_ends_as_an_undisturbed_one(tmp_path, capsys):
    options = {"optim__schedule": "cosine", "optim__horizon": 8, "trainer__validate_every": 2}
    straight = fit(tmp_path / "straight", updates=8, **options)
    fit(tmp_path / "run", updates=4, **options)
    capsys.readouterr()
    longer = ffattn.fit(*overrides_of(options | {"updates": 8, "resume": "last"}), folder=tmp_path / "run")
    assert_same_run(longer, straight)
    assert "undisturbed" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"optim.horizon=8: the learning rate would be zero from there on"):
        fit(tmp_path / "run", updates=9, resume="last", **options)


def test_a_resumed_run_validates_where_the_straight_one_does(tmp_path):
    options = {"trainer__validate_every": 4, "logger": "csv"}
    straight = fit(tmp_path / "straight", updates=12, **options)
    fit(tmp_path / "run", updates=4, **options)
    resumed = fit(tmp_path / "run", updates=12, resume="last", **options)
    assert [row["val/error"] for row in rows(resumed.folder)][-2:] == [r["val/error"] for r in rows(straight.folder)][
        1:
    ]


def test_after_a_kill_nothing_is_in_the_curves_twice(tmp_path):
    options = {"updates": 8, "trainer__validate_every": 3, "trainer__log_every": 1, "logger": "many"}
    straight = fit(tmp_path / "straight", **options)
    fit_until_killed(tmp_path / "run", 6, **options)
    assert rows(tmp_path / "run", "train/loss")[-1]["step"] == 5  # which will be made again, from 3 on
    fit(tmp_path / "run", resume="last", **options)
    (tmp_path / "run" / "result.json").unlink()  # killed after the test, which is made again
    resumed = fit(tmp_path / "run", resume="last", **options)
    for column in ("train/loss", "val/error", "test/error"):
        again, once = ([(row["step"], row[column]) for row in rows(run.folder, column)] for run in (resumed, straight))
        assert again == once
    events = EventAccumulator(str(resumed.folder)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 9))


def test_curves_of_the_time_before_are_kept(tmp_path):
    options = {"trainer__validate_every": 2, "trainer__log_every": 1, "logger": "csv"}
    fit(tmp_path / "run", updates=2, **options)
    fit(tmp_path / "run", updates=4, resume="last", **options)
    assert [row["step"] for row in rows(tmp_path / "run", "train/loss")] == [1, 2, 3, 4]


def test_a_checkpoint_of_a_version_without_history_goes_on(tmp_path):
    options = {"trainer__validate_every": 2, "optim__lr": 1e-12}  # no validation is better than the first
    fit(tmp_path / "run", updates=4, **options)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    contents = read(tmp_path / "run")
    del contents[KEY]["history"]
    torch.save(contents, last)
    assert fit(tmp_path / "run", updates=8, resume="last", **options).result["updates"] == 8


def test_every_batch_is_trained_on_once_whatever_interrupts(tmp_path, monkeypatch):
    seen = targets_seen(monkeypatch)
    for updates in (1, 4, 6, 9):
        fit(tmp_path / "run", updates=updates, trainer__validate_every=3, resume="last")
    assert seen == targets_of(range(9))


def test_a_run_that_was_killed_again_and_again_ends_alike(tmp_path):
    options = {"updates": 9, "trainer__validate_every": 2, "resume": "last", "model": "lstm_attention"}
    for update in (3, 6, 8):
        fit_until_killed(tmp_path / "killed", update, **options)
    assert_same_run(fit(tmp_path / "killed", **options), fit(tmp_path / "straight", **options))


def test_time_is_added_up_over_the_parts(tmp_path):
    first = fit(tmp_path / "run", updates=2).result["seconds"]
    assert fit(tmp_path / "run", updates=4, resume="last").result["seconds"] > first


def test_a_run_is_continued_in_another_directory(tmp_path):
    options = {"trainer__validate_every": 2}
    source = fit(tmp_path / "source", updates=4, **options)
    before = snapshot(source.folder)
    moved = fit(tmp_path / "moved", updates=6, resume=source.folder / "checkpoints" / "last.ckpt", **options)
    straight = fit(tmp_path / "straight", updates=6, **options)
    assert equal(read(moved.folder)["state_dict"], read(straight.folder)["state_dict"])
    assert moved.result["updates"] == 6
    assert snapshot(source.folder) == before


def test_a_finished_run_may_be_named_from_another_directory(tmp_path):
    source = fit(tmp_path / "source")
    again = fit(tmp_path / "other", resume=source.folder / "checkpoints" / "last.ckpt")
    assert again.result == source.result


def test_resuming_in_an_empty_directory_starts_afresh(tmp_path):
    fresh = fit(tmp_path / "fresh")
    resumed = fit(tmp_path / "resumed", resume="last")
    assert_same_run(resumed, fresh)


@pytest.mark.parametrize(
    ("options", "more"),
    [({}, {}), ({}, {"updates": 1}), ({"task__tolerance": 10}, {"updates": 100})],
    ids=["the same", "fewer updates", "solved"],
)
def test_resuming_a_finished_run_changes_nothing(tmp_path, options, more):
    first = fit(tmp_path / "run", **options)
    before = snapshot(first.folder)
    assert fit(tmp_path / "run", resume="last", **(options | more)).result == first.result
    assert snapshot(first.folder) == before


def test_a_result_that_was_lost_is_made_again(tmp_path):
    first = fit(tmp_path / "run")
    (first.folder / "result.json").unlink()
    again = fit(tmp_path / "run", resume="last")
    assert {key: again.result[key] for key in ("val", "test", "updates", "seconds")} == {
        key: first.result[key] for key in ("val", "test", "updates", "seconds")
    }


def test_a_solved_run_goes_on_if_it_is_told_not_to_stop(tmp_path):
    fit(tmp_path / "run", task__tolerance=10)
    more = fit(tmp_path / "run", task__tolerance=10, updates=4, resume="last", trainer__stop_when_solved=False)
    assert (more.result["updates"], more.result["stopped_because"]) == (4, "updates")


@pytest.mark.parametrize("lost", [None, "result.json", "checkpoints/last.ckpt"])
def test_a_fresh_run_in_a_used_directory_is_refused(tmp_path, lost):
    run = fit(tmp_path / "run")
    if lost is not None:
        (run.folder / lost).unlink()
    before = snapshot(run.folder)
    with pytest.raises(ConfigError, match=r"holds a run already; continue it with resume=last") as caught:
        fit(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert snapshot(run.folder) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"optim__lr": 0.1}, ["optim.lr=0.1: the checkpoint has 0.05"]),
        ({"optim": "sgd"}, ["optim=ffattn.optim.SGD: the checkpoint has ffattn.optim.Adam"]),
        ({"model__hidden": 5}, ["model.hidden=5: the checkpoint has 4"]),
        ({"model": "mean"}, ["model=ffattn.models.Mean: the checkpoint has ffattn.models.FFAttention"]),
        ({"task": "multiply"}, ["task=ffattn.tasks.Multiply: the checkpoint has ffattn.tasks.Add"]),
        ({"task__tolerance": 0.5}, ["task.tolerance=0.5: the checkpoint has 0.04"]),
        ({"length": "fixed"}, ["task.length=ffattn.tasks.Fixed: the checkpoint has ffattn.tasks.Paper"]),
        ({"T": 13}, ["task.length.T=13: the checkpoint has 12"]),
        ({"seed": 1}, ["seed=1: the checkpoint has 0"]),
        ({"batch_size": 5}, ["batch_size=5: the checkpoint has 4"]),
        ({"precision": 64}, ["precision=64: the checkpoint has 32"]),
        ({"trainer__accumulate": 2}, ["trainer.accumulate=2: the checkpoint has 1"]),
        ({"trainer__validate_every": 3}, ["trainer.validate_every=3: the checkpoint has 2"]),
        ({"seed": 1, "optim__lr": 0.1}, ["optim.lr=0.1: the checkpoint has 0.05", "seed=1: the checkpoint has 0"]),
    ],
    ids=lambda value: in_words(value) if isinstance(value, dict) else "",
)
def test_a_run_is_not_resumed_with_other_settings(finished, options, told):
    before = snapshot(finished.folder)
    with pytest.raises(ConfigError) as caught:
        fit(finished.folder, **({"updates": 9, "optim__lr": 0.05, "resume": "last"} | options))
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("was trained with other settings")
    assert sorted(lines) == sorted(told)
    assert snapshot(finished.folder) == before


@pytest.mark.parametrize(
    "options",
    [
        {"logger": "csv"},
        {"trainer__log_every": 1},
        {"trainer__progress": "lines"},
        {"accelerator__num_threads": 1},
        {"trainer__stop_when_solved": False},
    ],
    ids=in_words,
)
def test_what_does_not_touch_the_weights_may_change(tmp_path, options):
    straight = fit(tmp_path / "straight", updates=4)
    fit(tmp_path / "run", updates=2)
    resumed = fit(tmp_path / "run", updates=4, resume="last", **options)
    assert equal(read(resumed.folder)["state_dict"], read(straight.folder)["state_dict"])


@pytest.mark.parametrize("resume", ["no such.ckpt", __file__], ids=["missing", "text"])
def test_what_is_no_checkpoint_is_refused_before_a_directory_is_made(tmp_path, resume):
    with pytest.raises(ConfigError, match=f"resume={resume}") as caught:
        fit(tmp_path / "run", resume=f"'{resume}'")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def result_alone(folder, **options):
    """A finished run of which nothing but the result has been kept."""
    run = fit(folder, **options)
    shutil.rmtree(folder / "checkpoints")
    return run


def test_a_result_without_checkpoints_is_of_a_finished_run(tmp_path):
    run = result_alone(tmp_path / "run", updates=4)
    before = snapshot(tmp_path / "run")
    again = fit(tmp_path / "run", updates=4, resume="last")
    assert again.result == run.result
    assert snapshot(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": 6}, "run: its checkpoints are gone, so that it cannot go on; choose another directory"),
        ({"optim__lr": 0.1}, "run: holds the result of a run with other settings\noptim.lr=0.1: the result has 0.003"),
    ],
    ids=str,
)
def test_a_result_without_checkpoints_cannot_go_on_or_be_of_another_run(tmp_path, options, message):
    result_alone(tmp_path / "run", updates=4)
    with pytest.raises(ConfigError) as error:
        fit(tmp_path / "run", **{"updates": 4, "resume": "last"} | options)
    assert str(error.value).endswith(message)
