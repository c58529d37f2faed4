"""Evaluate a network on sequences of a stream."""

from typing import Any

import torch

from ffattn.errors import SettingError
from ffattn.inference.metrics import EvaluationMetrics
from ffattn.models import Answer, Network
from ffattn.rng.streams import Stream, split_range
from ffattn.tasks import Task
from ffattn.tasks.batch import Batch

MAX_STEPS = 2**19  # in memory at a time, over all sequences of a batch: few enough for the caches, and for a laptop


def check_length(network: Network, task: Task) -> None:
    """Refuse what cannot be evaluated.

    Args:
        network: The network.
        task: Makes the sequences.

    Raises:
        SettingError: A sequence has more than `MAX_STEPS` steps, and the network cannot take it in pieces.
    """
    if task.length.longest > MAX_STEPS and not hasattr(network, "start"):
        raise SettingError("T", task.length.T, f"above {MAX_STEPS} steps come in pieces, which this model cannot take")


@torch.inference_mode()
def evaluate(network: Network, task: Task, stream: Stream, sequences: int, batch_size: int = 100) -> dict[str, float]:
    """Run an evaluation set through a network, in constant memory.

    Sequences too long to lie in memory are made and read in windows of time, one after the other. Attention is then
    known by what it adds up to alone, so that nothing but `accuracy`, `error` and `dead` is measured.

    Args:
        network: In any mode; put into evaluation mode for the time of the call.
        task: Makes the sequences and judges the answers.
        stream: Seed and split.
        sequences: How many sequences the set has.
        batch_size: How many are run at a time, or fewer if they are long; no matter for the result, up to rounding.

    Returns:
        `accuracy` (0..1), mean `error`, and `dead`, the share of sequences that attention gave no weight; also the
        means of `metrics.attention_metrics`, where there is attention, the task has relevant steps, and a sequence has
        at most `MAX_STEPS` steps.

    Raises:
        SettingError: A sequence has more than `MAX_STEPS` steps, and the network cannot take it in pieces.
    """
    check_length(network, task)
    device = next(network.parameters()).device
    metrics = EvaluationMetrics(task).to(device)
    was_training = network.training
    longest = task.length.longest
    answer = _answer_whole if longest <= MAX_STEPS else _answer_in_windows
    network.eval()
    for numbers in torch.arange(sequences, device=device).split(max(1, min(batch_size, MAX_STEPS // longest))):
        metrics.update(*answer(network, task, stream, sequences, numbers))
    network.train(was_training)
    return {name: value.item() for name, value in metrics.compute().items()}


def _answer_whole(
    network: Network, task: Task, stream: Stream, total: int, numbers: torch.Tensor
) -> tuple[Answer, Batch]:
    batch = task.evaluation_batch(stream, total, numbers)
    return network(_like(network, batch.x), batch.lengths, return_weights=True), batch


def _answer_in_windows(
    network: Any, task: Task, stream: Stream, total: int, numbers: torch.Tensor
) -> tuple[Answer, Batch]:
    """The answers to a few sequences, whose batch has no step in it."""
    windows = -(-task.length.longest // MAX_STEPS)
    batch = task.evaluation_batch(stream, total, numbers, (0, windows))
    time = task.length.padded(batch.lengths)
    state = network.start(batch.lengths)
    for window in range(windows):
        start, stop = split_range(time, window, windows)
        x = task.evaluation_batch(stream, total, numbers, (window, windows)).x
        state.update(_like(network, x), (batch.lengths - start).clamp(0, stop - start), start)
    has_weight = (state.attention.pooled.total != 0).float()[:, None]
    return Answer(state.finish(), has_weight), batch._replace(x=batch.x[:, :0])


def _like(network: Network, x: torch.Tensor) -> torch.Tensor:
    """In the type of a network's parameters."""
    return x.to(next(network.parameters()).dtype)
