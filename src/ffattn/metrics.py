"""What is measured on an evaluation set: the same numbers however the set is divided into batches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from ffattn.batch import Batch
from ffattn.models.base import Answer
from ffattn.ops.reference import full_precision, valid_steps
from ffattn.tasks.base import Task

_ALWAYS = "solved", "error", "dead"
FOCUS = "mass", "lift", "found", "steps", "margin"
KEPT = "solved", "error", *FOCUS  # in results


def focus(
    weights: Float[Tensor, "batch time"],
    scores: Float[Tensor, "batch time"],
    lengths: Int[Tensor, " batch"],
    marks: Int[Tensor, "batch mark"],
) -> dict[str, Float[Tensor, " batch"]]:
    """Whether attention is where the task says that it should be.

    Args:
        weights: Of every step; zero in padding.
        scores: What the weights are made from; of no meaning in padding.
        lengths: How many steps of each sequence are real.
        marks: The steps that the target depends on, at least one.

    Returns:
        For each sequence: `mass`, the sum of the marks' weights (0..1); `lift`, how many times the mass of equal
        weights that is; `found`, 1 if the marks have the largest scores of all; `steps`, the number of equal weights
        with the same entropy, exp(-sum a log a), from 1 to the length, and 0 if all weights are zero; `margin`, the
        smallest score of a mark less the largest of any other step.
    """
    mass = weights.gather(1, marks).sum(dim=1)
    others = scores.masked_fill(~valid_steps(lengths, scores.shape[1]), -torch.inf).scatter(1, marks, -torch.inf)
    margin = scores.gather(1, marks).amin(dim=1) - others.amax(dim=1)
    steps = torch.special.entr(weights).sum(dim=1).exp().where(mass.isfinite() & (weights.amax(dim=1) > 0), 0)
    lift = mass * lengths / marks.shape[1]
    return {"mass": mass, "lift": lift, "found": (margin > 0).to(mass.dtype), "steps": steps, "margin": margin}


class Scores(Metric):
    """Share of solved sequences, mean error, and share of sequences to which attention gave no weight at all.

    Where a network has scores and the task has marks, also the means of what `focus` returns.

    Args:
        task: Decides when an answer is right, and how large its error is.
    """

    full_state_update = False
    solved: Tensor
    error: Tensor
    count: Tensor
    dead: Tensor
    looked_at: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        for name in (*_ALWAYS, *FOCUS, "count", "looked_at"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, answer: Answer, batch: Batch) -> None:
        """Count a batch.

        Args:
            answer: The network's predictions, and its weights and scores if it has any.
            batch: What it has answered.
        """
        prediction = full_precision(answer.prediction)
        self.solved += self.task.solved(prediction, batch.y).sum()
        self.error += self.task.error(prediction, batch.y).double().sum()
        self.count += len(batch.y)
        if answer.weights is not None:
            self.dead += (answer.weights.sum(dim=1) == 0).sum()
        if answer.weights is not None and answer.scores is not None and batch.marks.shape[1]:
            for name, values in focus(answer.weights, answer.scores, batch.lengths, batch.marks).items():
                setattr(self, name, getattr(self, name) + values.double().sum())
            self.looked_at += len(batch.y)

    def compute(self) -> dict[str, Tensor]:
        """The means, under `solved`, `error` and `dead`, and those of `focus` if it was measured."""
        means = {name: getattr(self, name) / self.count for name in _ALWAYS}
        if self.looked_at > 0:
            means |= {name: getattr(self, name) / self.looked_at for name in FOCUS}
        return means
