"""Evaluate a network on sequences of a stream."""

import torch

from ffattn.metrics import Scores
from ffattn.models import Network
from ffattn.streams import Stream
from ffattn.tasks import Task


@torch.inference_mode()
def evaluate(network: Network, task: Task, stream: Stream, sequences: int, batch_size: int = 100) -> dict[str, float]:
    """Run an evaluation set through a network.

    Args:
        network: In any mode; put into evaluation mode for the time of the call.
        task: Makes the sequences and judges the answers.
        stream: Seed and split.
        sequences: How many sequences the set has.
        batch_size: How many are run at a time; no matter for the result, up to rounding.

    Returns:
        Share `solved` (0..1), mean `error`, and share `dead` that attention gave no weight; and the means of
        `metrics.focus`, where there is attention and the task has marks.
    """
    parameter = next(network.parameters())
    scores, was_training = Scores(task).to(parameter.device), network.training
    network.eval()
    for numbers in torch.arange(sequences, device=parameter.device).split(batch_size):
        batch = task.evaluation_batch(stream, sequences, numbers)
        scores.update(network(batch.x.to(parameter.dtype), batch.lengths, return_weights=True), batch)
    network.train(was_training)
    return {name: value.item() for name, value in scores.compute().items()}
