"""What is measured on an evaluation set: the same numbers however the set is divided into batches."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score

from ffattn.models.base import Answer
from ffattn.ops.reference import full_precision, valid_steps
from ffattn.tasks import GivenTask, Task
from ffattn.tasks.batch import Batch

_ALWAYS = "solved", "error", "dead"
FOCUS = "mass", "lift", "found", "steps", "margin"
USUAL = "f1", "auroc", "mae", "rmse", "r2"
KEPT = "solved", "error", *USUAL, *FOCUS  # in results


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


def usual(task: GivenTask) -> MetricCollection:
    """What people expect to be told of data, by torchmetrics.

    Args:
        task: The data.

    Returns:
        In classification the macro averages of F1 and of the area under the ROC curve of each class against the
        others; in regression the mean absolute error, the root of the mean squared error (both in the unit of the
        target, mean over targets) and R2.
    """
    if task.is_classification:
        auroc = MulticlassAUROC(task.num_outputs, validate_args=False)
        return MetricCollection({"f1": MulticlassF1Score(task.num_outputs), "auroc": auroc})
    rmse = MeanSquaredError(squared=False, num_outputs=task.num_outputs)
    mae = MeanAbsoluteError(num_outputs=task.num_outputs)
    return MetricCollection({"mae": mae, "rmse": rmse, "r2": R2Score()}, compute_groups=False)


class Scores(Metric):
    """Share of solved sequences, mean error, and share of sequences to which attention gave no weight at all.

    Of given data also what `usual` returns; where a network has scores and the task has marks, the means of what
    `focus` returns.

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
        self.usual = usual(task) if isinstance(task, GivenTask) else None

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
        if self.usual is not None:
            self._update_usual(prediction, batch.y)
        if answer.weights is not None:
            self.dead += (answer.weights.sum(dim=1) == 0).sum()
        if answer.weights is not None and answer.scores is not None and batch.marks.shape[1]:
            for name, values in focus(answer.weights, answer.scores, batch.lengths, batch.marks).items():
                setattr(self, name, getattr(self, name) + values.double().sum())
            self.looked_at += len(batch.y)

    def _update_usual(self, prediction: Tensor, y: Tensor) -> None:
        assert self.usual is not None
        if self.task.is_classification:
            self.usual.update(prediction.softmax(dim=1), y)
            return
        scaling = self.task.target_scaling().to(y)  # type: ignore[attr-defined]
        self.usual.update(scaling.restore(prediction), scaling.restore(y))

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        if self.usual is not None:
            self.usual.reset()

    def compute(self) -> dict[str, Tensor]:
        """The means, under `solved`, `error` and `dead`; those of `focus` and `usual` if they were measured."""
        means = {name: getattr(self, name) / self.count for name in _ALWAYS}
        if self.looked_at > 0:
            means |= {name: getattr(self, name) / self.looked_at for name in FOCUS}
        return means | self._usual()

    def _usual(self) -> dict[str, Tensor]:
        if self.usual is None:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class that does not occur in a part counts as 0, and R2 of one is none
            return {name: value.double().mean() for name, value in self.usual.compute().items()}
