"""Every task with every model trains, tests, and leaves a complete run directory."""

import json
import math

import pytest
import torch
from tiny_runs import about, fit, in_words, read

from ffattn.config.paths import conf_dir

PACKAGED = "amp_vs_uniprot", "basic_motions", "japanese_vowels", "plaid", "tecator", "watch"
TASKS, MODELS = (sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) for group in ("task", "model"))
TASKS = [task for task in TASKS if task not in ("file", *PACKAGED)]  # which have tests of their own
REQUIRED = {
    "task": str,
    "model": str,
    "T": int,
    "seed": int,
    "parameters": int,
    "updates": int,
    "format": int,
    "solved": bool,
    "stopped_because": str,
    "seconds": float,
    "updates_per_second": float,
    "peak_memory_mb": float,
    "device": str,
    "versions": dict,
    "settings": dict,
    "validations": dict,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_with_every_model(tmp_path, task, model):
    run = fit(tmp_path / "run", task=task, model=model)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result == run.result
    assert (result["task"], result["model"], result["T"], result["updates"]) == (task, model, 12, 2)
    assert {name: type(result[name]) for name in REQUIRED} == REQUIRED
    assert result["updates_to_solve"] == (2 if result["solved"] else None)
    assert all(math.isfinite(result[split]["error"]) for split in ("val", "test"))
    for name in ("best", "last"):
        assert about(tmp_path / "run", name)["update"] == 2


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_result_states_scores_against_the_tasks_baseline(finished, split):
    scores = finished.result[split]
    assert scores.keys() >= {"accuracy", "error", "baseline"}
    assert 0 <= scores["accuracy"] <= 1
    assert scores["baseline"] == finished.load().task.baseline()._asdict()


def test_a_result_counts_what_was_done(finished):
    result = finished.result
    assert (result["format"], result["updates"], result["stopped_because"]) == (2, 6, "updates")
    assert result["parameters"] == sum(weight.numel() for weight in read(finished.folder)["state_dict"].values())
    assert result["updates_per_second"] == pytest.approx(6 / result["seconds"])
    assert result["seconds"] > 0
    assert result["peak_memory_mb"] > 1


def test_a_result_says_which_versions_made_it(finished):
    assert finished.result["versions"]["torch"] == torch.__version__
    assert finished.result["versions"].keys() >= {"python", "ffattn", "lightning"}


def test_a_run_directory_holds_nothing_unfinished(finished):
    names = {path.relative_to(finished.folder).as_posix() for path in finished.folder.rglob("*") if path.is_file()}
    checkpoints = {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    assert names == {*checkpoints, "result.json", "metrics.csv"}


def test_one_update_is_validated_saved_and_tested_too(tmp_path):
    run = fit(tmp_path / "run", updates=1, trainer__validate_every=1000)
    assert (run.result["updates"], run.result["val"]["update"]) == (1, 1)
    assert (about(run.folder, "best")["update"], about(run.folder)["update"]) == (1, 1)
    assert run.checkpoint == run.folder / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-mixed"},
        {"precision": 64},
        pytest.param({"precision": "bf16-mixed", "model": "lstm_attention"}, marks=pytest.mark.slow),  # its own kernels
        {"trainer__gradient_clip": 0.1},
        {"trainer__ema_decay": 0.5},
        {"trainer__accumulate": 2},
        {"optim": "sgd", "optim__nesterov": True},
        {"length": "fixed"},
        {"length": "variable", "task__length__min": 11},
        {"task__length__attend_to_padding": True},
        {"model__normalizer": "relu2"},
        {"model__position": "sinusoid"},
    ],
    ids=in_words,
)
def test_every_option_trains(tmp_path, options):
    run = fit(tmp_path / "run", **options)
    assert run.result["updates"] == 2
    assert math.isfinite(run.result["test"]["error"])


def test_precision_64_keeps_and_loads_weights_of_that_precision(tmp_path):
    run = fit(tmp_path / "run", precision=64)
    assert {weight.dtype for weight in read(run.folder)["state_dict"].values()} == {torch.float64}
    assert run.predict(torch.zeros(2, 12, 2)).dtype == torch.float64


def test_a_clipped_gradient_is_no_longer_than_asked(tmp_path):
    clipped = fit(tmp_path / "clipped", optim="sgd", optim__momentum=0, optim__lr=1, trainer__gradient_clip=1e-3)
    start = fit(tmp_path / "start", optim="sgd", optim__momentum=0, optim__lr=1e-12)
    moved = [read(run.folder)["state_dict"] for run in (clipped, start)]
    distance = sum((moved[0][name] - moved[1][name]).double().square().sum() for name in moved[0]).sqrt()
    assert 1e-4 < distance <= 2 * 1.01e-3  # two updates of length 0.001 at most
