"""What is measured on an evaluation set: the same numbers however the set is divided into batches."""

import torch
from torch import Tensor
from torchmetrics import Metric

from ffattn.models.base import Answer
from ffattn.ops.reference import full_precision
from ffattn.tasks.base import Task


class Scores(Metric):
    """Share of solved sequences, mean error, and share of sequences to which attention gave no weight at all.

    Args:
        task: Decides when an answer is right, and how large its error is.
    """

    full_state_update = False
    solved: Tensor
    error: Tensor
    dead: Tensor
    count: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        for name in ("solved", "error", "dead", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, answer: Answer, y: Tensor) -> None:
        """Count a batch.

        Args:
            answer: The network's predictions, and its weights if it has any.
            y: The targets.
        """
        prediction = full_precision(answer.prediction)
        self.solved += self.task.solved(prediction, y).sum()
        self.error += self.task.error(prediction, y).double().sum()
        self.count += len(y)
        if answer.weights is not None:
            self.dead += (answer.weights.sum(dim=1) == 0).sum()

    def compute(self) -> dict[str, Tensor]:
        """The means, under `solved`, `error` and `dead`."""
        return {name: getattr(self, name) / self.count for name in ("solved", "error", "dead")}
