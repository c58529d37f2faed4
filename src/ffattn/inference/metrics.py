"""Metrics of an evaluation set: the same numbers however the set is divided into batches."""

import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score

from ffattn.models.base import Answer
from ffattn.ops.reference import full_precision, valid_steps
from ffattn.tasks import GivenTask, Task
from ffattn.tasks.batch import Batch

TASK_METRICS = "accuracy", "error"
ATTENTION_METRICS = "attention_mass", "lift", "found", "effective_steps", "margin"
STANDARD_METRICS = "f1", "auroc", "mae", "rmse", "r2"
RESULT_METRICS = *TASK_METRICS, *STANDARD_METRICS, *ATTENTION_METRICS  # what result.json and checkpoints keep
_ALWAYS = *TASK_METRICS, "dead"
_RENAMED = {"solved": "accuracy", "mass": "attention_mass", "steps": "effective_steps"}


def rename_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Return values under the present names of metrics; formats 1 of results and checkpoints have earlier ones.

    Args:
        values: By name; names that are no metrics stay.
    """
    return {_RENAMED.get(name, name): value for name, value in values.items()}


def percent(share: float, decimals: int = 1) -> str:
    """Return a share (0..1) in percent; less than 1 is never 100 %.

    Args:
        share: The share.
        decimals: Digits after the point.
    """
    text = f"{share:.{decimals}%}"
    is_rounded_up = share < 1 and text == f"{1:.{decimals}%}"
    return f"{1 - 10.0 ** -(decimals + 2):.{decimals}%}" if is_rounded_up else text


def attention_metrics(
    weights: Float[Tensor, "batch time"],
    scores: Float[Tensor, "batch time"],
    lengths: Int[Tensor, " batch"],
    relevant_steps: Int[Tensor, "batch relevant"],
) -> dict[str, Float[Tensor, " batch"]]:
    """Measure whether attention is on the steps that the target depends on.

    Args:
        weights: Of every step; zero in padding.
        scores: What the weights are made from; of no meaning in padding.
        lengths: How many steps of each sequence are real.
        relevant_steps: The steps that the target depends on, at least one.

    Returns:
        For each sequence: `attention_mass`, the sum of the relevant steps' weights (0..1); `lift`, the attention mass
        divided by that of equal weights; `found`, 1 if the relevant steps have the largest scores of all;
        `effective_steps`, the effective number of attended steps, exp(-sum a log a), from 1 to the length, and 0 if all
        weights are zero; `margin`, the smallest score of a relevant step less the largest of any other step.
    """
    mass = weights.gather(1, relevant_steps).sum(dim=1)
    is_real = valid_steps(lengths, scores.shape[1])
    others = scores.masked_fill(~is_real, -torch.inf).scatter(1, relevant_steps, -torch.inf)
    margin = scores.gather(1, relevant_steps).amin(dim=1) - others.amax(dim=1)
    entropy = torch.special.entr(weights).sum(dim=1)
    has_weight = mass.isfinite() & (weights.amax(dim=1) > 0)
    return {
        "attention_mass": mass,
        "lift": mass * lengths / relevant_steps.shape[1],
        "found": (margin > 0).to(mass.dtype),
        "effective_steps": entropy.exp().where(has_weight, 0),
        "margin": margin,
    }


def standard_metrics(task: GivenTask) -> MetricCollection:
    """Make the usual metrics of classification or regression, by torchmetrics.

    Args:
        task: The data.

    Returns:
        In classification the macro averages of F1 and of the area under the ROC curve of each class against the
        others; in regression, of standardized targets in double precision, so that neither their unit nor their mean
        matters, the mean absolute error, the root of the mean squared error and R2.
    """
    if task.is_classification:
        auroc = MulticlassAUROC(task.num_outputs, validate_args=False)
        return MetricCollection({"f1": MulticlassF1Score(task.num_outputs), "auroc": auroc})
    rmse = MeanSquaredError(squared=False, num_outputs=task.num_outputs)
    mae = MeanAbsoluteError(num_outputs=task.num_outputs)
    return MetricCollection({"mae": mae, "rmse": rmse, "r2": R2Score()}, compute_groups=False).set_dtype(torch.float64)


class EvaluationMetrics(Metric):
    """Accuracy, mean error, and the share of sequences to which attention gave no weight at all.

    Of given data also the `standard_metrics`; where a network has scores and the task has relevant steps, the means of
    the `attention_metrics`.

    Args:
        task: Decides when an answer is right, and how large its error is.
    """

    full_state_update = False
    accuracy: Tensor
    error: Tensor
    dead: Tensor
    count: Tensor
    attention_count: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        for name in (*_ALWAYS, *ATTENTION_METRICS, "count", "attention_count"):  # sums until `compute`
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.standard = standard_metrics(task) if isinstance(task, GivenTask) else None

    def update(self, answer: Answer, batch: Batch) -> None:
        """Count a batch.

        Args:
            answer: The network's predictions, and its weights and scores if it has any.
            batch: What it has answered.
        """
        prediction = full_precision(answer.prediction)
        self.accuracy += self.task.is_correct(prediction, batch.y).sum()
        self.error += self.task.error(prediction, batch.y).double().sum()
        self.count += len(batch.y)
        if self.standard is not None:
            self._update_standard(prediction, batch.y)
        if answer.weights is not None:
            self.dead += (answer.weights.sum(dim=1) == 0).sum()
            self._update_attention(answer, batch)

    def _update_attention(self, answer: Answer, batch: Batch) -> None:
        """Add up the attention metrics, if there are scores and relevant steps."""
        if answer.weights is None or answer.scores is None or not batch.relevant_steps.shape[1]:
            return
        found = attention_metrics(answer.weights, answer.scores, batch.lengths, batch.relevant_steps)
        for name, values in found.items():
            setattr(self, name, getattr(self, name) + values.double().sum())
        self.attention_count += len(batch.y)

    def _update_standard(self, prediction: Tensor, y: Tensor) -> None:
        assert self.standard is not None
        if self.task.is_classification:
            self.standard.update(prediction.softmax(dim=1), y)
            return
        self.standard.update(prediction.double(), y.double())

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        if self.standard is not None:
            self.standard.reset()

    def compute(self) -> dict[str, Tensor]:
        """Return the means: `accuracy`, `error` and `dead`; and the attention and standard metrics, where measured."""
        means = {name: getattr(self, name) / self.count for name in _ALWAYS}
        if self.attention_count > 0:
            means |= {name: getattr(self, name) / self.attention_count for name in ATTENTION_METRICS}
        return means | self._compute_standard()

    def _compute_standard(self) -> dict[str, Tensor]:
        if self.standard is None:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class that does not occur in a part counts as 0, and R2 of one is none
            found = {name: value.double() for name, value in self.standard.compute().items()}
        if isinstance(self.task, GivenTask) and not self.task.is_classification:
            scale = self.task.target_scaling().scale.to(found["mae"])
            found |= {name: found[name] * scale for name in ("mae", "rmse")}
        return {name: value.mean() for name, value in found.items()}
