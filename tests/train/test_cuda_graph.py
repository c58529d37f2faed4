"""Captured training steps; on a CPU a replay runs the captured function again, in place of a GPU's graph."""

import pytest
import torch
from tiny_runs import about, fit, read, settings_of

from ffattn.config.errors import ConfigError
from ffattn.errors import SettingError, TrainingError
from ffattn.lightning import CapturedModule
from ffattn.runs import building
from ffattn.tasks import Add

RUNS = {
    "paper": {},
    "jitter": {"model__score_jitter": 0.5},
    "dropout": {"model": "lstm_attention", "model__dropout": 0.5},
    "schedule": {"optim__schedule": "cosine", "optim__warmup": 2},
    "clip": {"trainer__gradient_clip": 0.1},
    "average": {"trainer__ema_decay": 0.9},
}


@pytest.fixture
def captured(monkeypatch):
    """CPU runs take the captured path; a list of what was captured. A real capture does not execute anything."""
    steps = []

    def capture(step):
        step()
        steps.append(step)
        first = iter([lambda: None])
        return lambda: next(first, step)()  # noqa: PLW0108

    monkeypatch.setattr(CapturedModule, "run_aside", staticmethod(lambda step: step()))
    monkeypatch.setattr(CapturedModule, "capture", staticmethod(capture))
    monkeypatch.setattr(building, "SequenceModule", CapturedModule)
    return steps


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_captured_run_is_the_same_run(tmp_path, options, request):
    options = {"updates": 7, "trainer__validate_every": 3} | options
    plain = fit(tmp_path / "plain", **options)
    steps = request.getfixturevalue("captured")
    run = fit(tmp_path / "captured", **options)
    assert len(steps) == 1
    assert_near(run, plain)
    assert about(run.folder)["update"] == 7


def assert_near(run, other):
    """The learning rate of a graph is a float32, so that weights differ by rounding."""
    a, b = (read(run.folder)["state_dict"] for run in (run, other))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_captured_run_resumes_as_a_plain_one_and_the_other_way_round(tmp_path, request):
    options = {"trainer__validate_every": 4, "optim__warmup": 9}
    whole = fit(tmp_path / "whole", updates=12, **options)
    fit(tmp_path / "run", updates=4, **options)
    request.getfixturevalue("captured")
    fit(tmp_path / "run", updates=8, resume="last", **options)
    request.getfixturevalue("monkeypatch").undo()
    run = fit(tmp_path / "run", updates=12, resume="last", **options)
    assert_near(run, whole)


def test_a_loss_that_is_not_finite_is_found_at_its_update(tmp_path, captured, monkeypatch):
    factors = iter([1.0] * 5 + [torch.nan] + [1.0] * 99)
    error = Add.error
    monkeypatch.setattr(Add, "error", lambda *arguments: next(factors) * error(*arguments))
    with pytest.raises(TrainingError, match="the loss of update 6 is not finite"):
        fit(tmp_path / "run", updates=20, trainer__validate_every=20)
    assert len(captured) == 1


def test_a_model_that_cannot_be_captured_is_named(tmp_path, captured, monkeypatch):
    def refuse(step):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(CapturedModule, "capture", staticmethod(refuse))
    with pytest.raises(TrainingError, match=r"cuda_graph=true .*this model \(operation not permitted .*capturing\)$"):
        fit(tmp_path / "run", updates=5)


@pytest.mark.parametrize(
    ("options", "obstacle"),
    [
        ({"length": "variable", "task__length__min": 11}, "length=variable"),
        ({"optim": "sgd"}, "optim=sgd"),
        ({"precision": "16-mixed"}, "precision=16-mixed"),
        ({"trainer__accumulate": 2}, "trainer.accumulate=2"),
        ({"trainer__detect_anomaly": True}, "trainer.detect_anomaly=true"),
    ],
    ids=str,
)
def test_what_a_graph_cannot_hold_is_refused(options, obstacle):
    with pytest.raises(ConfigError, match=f"^accelerator.cuda_graph=true: cannot be combined with {obstacle}"):
        settings_of(accelerator__cuda_graph=True, **options)


def test_a_cpu_has_no_graphs():
    settings = settings_of(accelerator__cuda_graph=True)
    with pytest.raises(SettingError, match=r"^accelerator.cuda_graph=true: needs a GPU"):
        settings.accelerator.check("32")
