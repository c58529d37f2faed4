"""Metrics of an evaluation set: the same numbers however the set is divided into batches."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score
from torchmetrics.utilities import dim_zero_cat

from ffattn.inference.metric_names import ATTENTION_METRICS, TASK_METRICS
from ffattn.models import Answer
from ffattn.ops.reference import full_precision, valid_steps
from ffattn.tasks import GivenTask, Task
from ffattn.tasks.batch import Batch

_ALWAYS = *TASK_METRICS, "dead"


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


class ClassMetrics(Metric):
    """Macro averages of F1 and of the area under the ROC curve of each class against the others, by torchmetrics.

    F1 is over the classes that occur in targets or answers, as scikit-learn has it; AUROC over those of the targets,
    and NaN if all targets are of one class.

    Args:
        classes: How many classes there are.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("counts", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.f1 = MulticlassF1Score(classes)
        self.auroc = MulticlassAUROC(classes, average=None, validate_args=False)

    def update(self, prediction: Float[Tensor, "batch output"], y: Int[Tensor, " batch"]) -> None:
        """Count a batch of logits and classes."""
        self.counts += torch.bincount(y, minlength=self.classes)
        probabilities = prediction.double().softmax(dim=1)
        self.f1.update(probabilities, y)
        self.auroc.update(probabilities, y)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.f1.reset()
        self.auroc.reset()

    def compute(self) -> dict[str, Tensor]:
        """Return `f1` and `auroc`."""
        occurs = self.counts > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that do not occur
            f1 = self.f1.compute().double()
            areas = self.auroc.compute().double()
        return {"f1": f1, "auroc": areas[occurs].mean() if occurs.sum() > 1 else areas.new_tensor(torch.nan)}


class NumberMetrics(Metric):
    """Mean absolute error, root of the mean squared error, and R2, for each target, in double precision.

    Errors are measured in standard deviations and given in the unit of the target, so that neither its unit nor its
    mean matters. Of several targets each has its own, `rmse/NAME`, and `r2` is the mean of theirs.

    Args:
        scales: The standard deviation of each target, in its unit.
        names: What targets are called.
    """

    full_state_update = False
    prediction: list[Tensor]
    y: list[Tensor]

    def __init__(self, scales: Float[Tensor, " output"], names: Sequence[str]) -> None:
        super().__init__()
        self.scales = scales
        self.names = names
        self.add_state("prediction", [], dist_reduce_fx="cat")
        self.add_state("y", [], dist_reduce_fx="cat")

    def update(self, prediction: Float[Tensor, "batch output"], y: Float[Tensor, "batch output"]) -> None:
        """Keep a batch of standardized answers and targets."""
        self.prediction.append(prediction.double())
        self.y.append(y.double())

    def compute(self) -> dict[str, Tensor]:
        """Return `mae`, `rmse` and `r2`, which is NaN where all targets are the same."""
        y = dim_zero_cat(self.y)
        errors = dim_zero_cat(self.prediction) - y
        spread = (y - y.mean(dim=0)).square().mean(dim=0)
        r2 = 1 - errors.square().mean(dim=0) / spread.where((y != y[0]).any(dim=0), torch.nan)
        scales = self.scales.to(y)
        values = {
            "mae": errors.abs().mean(dim=0) * scales,
            "rmse": errors.square().mean(dim=0).sqrt() * scales,
            "r2": r2,
        }
        if len(self.names) == 1:
            return {metric: numbers[0] for metric, numbers in values.items()}
        each = {
            f"{metric}/{name}": number
            for metric in values
            for name, number in zip(self.names, values[metric], strict=True)
        }
        return {"r2": r2.mean()} | each


def standard_metrics(task: GivenTask) -> ClassMetrics | NumberMetrics:
    """Make the usual metrics of classification or regression.

    Args:
        task: The data.
    """
    if task.is_classification:
        return ClassMetrics(task.num_outputs)
    return NumberMetrics(task.target_scaling().scale, task.target_names)


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
            self.standard.update(prediction, batch.y)
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
        return means if self.standard is None else means | self.standard.compute()
