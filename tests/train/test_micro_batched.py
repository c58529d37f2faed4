"""A batch that does not fit into memory is taken in parts, with the gradient of the whole."""

import pytest
import torch
from tiny_runs import equal, fit, in_words, read

from ffattn.config.errors import ConfigError
from ffattn.errors import TrainingError
from ffattn.lightning import PartedModule, SequenceModule
from tests.pairwise import each_value

CASES = [
    {"model": "ffattn"},
    {"model": "lstm"},
    {"model": "lstm_attention", "task": "temporal_order_3", "trainer.accumulate": 2, "model.dropout": 0.5},
    {"model": "ffattn", "model.score_jitter": 3, "model.score": "linear"},
    {"model": "mean", "task": "multiply", "trainer.gradient_clip": 0.1, "length": "variable", "task.length.min": 11},
]


class _Greedy(torch.autograd.Function):
    """Needs more memory in the backward pass than there is for so many sequences."""

    @staticmethod
    def forward(context, x, most):
        context.is_too_large = len(x) > most
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        if context.is_too_large:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return gradient, None


@pytest.fixture
def memory_for(monkeypatch):
    """Let memory suffice for so many sequences at a time, in the forward or the backward pass."""

    def limit(most, where):
        def small(module, batch):
            if where == "forward" and len(batch.y) > most and module.training:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            answer = forward(module, batch)
            return answer._replace(prediction=_Greedy.apply(answer.prediction, most))

        forward = PartedModule.forward
        monkeypatch.setattr(PartedModule, "forward", small)

    return limit


@each_value(where=["forward", "backward"], options={in_words(options): options for options in CASES})
def test_the_weights_are_those_of_whole_batches(tmp_path, options, where, memory_for, capsys):
    options = {name.replace(".", "__"): value for name, value in options.items()}
    options |= {"precision": 64, "batch_size": 6, "updates": 4}
    fit(tmp_path / "whole", **options)
    memory_for(2, where)
    fit(tmp_path / "parts", **options, trainer__on_oom="accumulate")
    wanted, got = (read(tmp_path / name)["state_dict"] for name in ("whole", "parts"))
    for name, weight in wanted.items():
        torch.testing.assert_close(got[name], weight, rtol=1e-8, atol=1e-11)
    said = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
    assert said == [f"out of memory: batches are taken in {parts} parts from now on" for parts in (2, 6)]


@pytest.mark.parametrize("model", ["ffattn", "lstm"])
def test_evaluated_batches_are_divided_when_they_have_to_be(tmp_path, model, monkeypatch, capsys):
    def small(module, batch):
        if len(batch.y) > 3 and not module.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return forward(module, batch)

    options = {"model": model, "updates": 4, "batch_size": 6, "trainer__sequences": 8}
    whole = fit(tmp_path / "whole", **options).result
    forward = SequenceModule.forward_with_weights
    monkeypatch.setattr(SequenceModule, "forward_with_weights", small)
    parts = fit(tmp_path / "parts", **options, trainer__on_oom="accumulate").result
    for split in "val", "test":
        for score in "accuracy", "error":
            assert parts[split][score] == pytest.approx(whole[split][score], rel=1e-5)
    assert equal(*(read(tmp_path / name)["state_dict"] for name in ("whole", "parts")))
    said = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
    assert said == ["out of memory: evaluated batches are taken in 2 parts from now on"]


def test_while_memory_suffices_nothing_changes(tmp_path):
    fit(tmp_path / "whole", updates=4, model="lstm_attention", model__dropout=0.5)
    fit(tmp_path / "parts", updates=4, model="lstm_attention", model__dropout=0.5, trainer__on_oom="accumulate")
    assert equal(*(read(tmp_path / name)["state_dict"] for name in ("whole", "parts")))


def test_one_sequence_that_does_not_fit_ends_the_run(tmp_path, memory_for):
    memory_for(0, "forward")
    with pytest.raises(TrainingError, match=r"^out of memory: CUDA [^;]*; batch_size=2 [^;]*; so does a smaller T$"):
        fit(tmp_path / "run", trainer__on_oom="accumulate")


def test_another_error_is_no_reason_to_divide(tmp_path, monkeypatch, capsys):
    def fail(module, batch):
        raise RuntimeError("of my own")

    monkeypatch.setattr(PartedModule, "forward", fail)
    with pytest.raises(RuntimeError, match="of my own"):
        fit(tmp_path / "run", trainer__on_oom="accumulate")
    assert "parts" not in capsys.readouterr().err


@pytest.mark.parametrize("accelerator", ["fsdp", "sequence_parallel"])
def test_processes_that_divide_otherwise_are_refused(tmp_path, accelerator):
    with pytest.raises(ConfigError, match=r"^trainer\.on_oom=accumulate: cannot .* divide time or parameters$"):
        fit(tmp_path, accelerator=accelerator, accelerator__devices=2, trainer__on_oom="accumulate")
