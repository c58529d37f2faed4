"""What a network did with some sequences: what pictures are made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ffattn.files import Scaling, Target
from ffattn.inference.columns import preparation_of
from ffattn.inference.metric_names import percent
from ffattn.inference.metrics import attention_metrics
from ffattn.models import Answer, Network
from ffattn.ops.reference import full_precision
from ffattn.rng.streams import Stream
from ffattn.tasks import GivenTask, Task
from ffattn.tasks.batch import Batch

Array = NDArray[Any]


@dataclass
class AttentionRecord:
    """What a network did with some sequences, as NumPy arrays.

    Attributes:
        task: Made them, and judges the answers.
        x: Inputs, (batch, time, feature).
        lengths: How many steps of each are real, (batch,).
        relevant_steps: Steps that the target depends on, (batch, relevant).
        y: Targets.
        prediction: Answers, (batch, output).
        is_correct: Which answers are right, (batch,).
        error: Mean error.
        weights: Attention weights, (batch, time); None for a network without attention.
        scores: What the weights are made from, likewise; None too for equal weights.
        title: What is known of the network: task, length, accuracy, attention mass.
        numbers: Which sequences of their split these are, rising, (batch,).
    """

    task: Task
    x: Array
    lengths: Array
    relevant_steps: Array
    y: Array
    prediction: Array
    is_correct: Array
    error: float
    weights: Array | None
    scores: Array | None
    title: str
    numbers: Array

    @property
    def targets(self) -> tuple[Target, ...]:
        """What each output of a regression is, with its unit."""
        return preparation_of(self.task).targets

    def in_unit(self, values: Array) -> Array:
        """Return answers or targets of a regression in the units of the targets, in double precision.

        Args:
            values: As networks answer, (batch, output).
        """
        restored: Array = Scaling(self.targets).restore(torch.from_numpy(values).double()).numpy()
        return restored

    @property
    def lift(self) -> Array:
        """Weights relative to equal ones, (batch, time): 1 is what no attention would give."""
        assert self.weights is not None
        return self.weights * self.lengths[:, None]


def record_answers(
    task: Task, batch: Batch, answer: Answer, numbers: Array | None = None, total: int | None = None
) -> AttentionRecord:
    """Gather what pictures are made of.

    Args:
        task: Made the batch.
        batch: Sequences.
        answer: What a network answered, with weights and scores if it has any.
        numbers: Which sequences of their split these are; the first ones if not given.
        total: How many the split has, if these are a sample of it.
    """
    prediction = full_precision(answer.prediction)
    is_correct = task.is_correct(prediction, batch.y)
    count = f"{len(is_correct)} of {total:,}" if total is not None else f"{len(is_correct)}"
    words = [task.summary(), f"accuracy {percent(float(is_correct.double().mean()))} on {count} sequences"]
    if answer.weights is not None and answer.scores is not None and batch.relevant_steps.shape[1]:
        found = attention_metrics(answer.weights, answer.scores, batch.lengths, batch.relevant_steps)
        means = {name: float(values.double().mean()) for name, values in found.items()}
        lift = np.format_float_positional(means["lift"], 3, fractional=False, trim="-")
        words += [f"attention mass {means['attention_mass']:.2%}, {lift} times that of equal weights"]
    return AttentionRecord(
        task,
        x=to_numpy(batch.x),
        lengths=to_numpy(batch.lengths),
        relevant_steps=to_numpy(batch.relevant_steps),
        y=to_numpy(batch.y),
        prediction=to_numpy(prediction),
        is_correct=to_numpy(is_correct),
        error=float(task.error(prediction, batch.y).mean()),
        weights=None if answer.weights is None else to_numpy(answer.weights),
        scores=None if answer.scores is None else to_numpy(answer.scores),
        title="; ".join(words),
        numbers=np.arange(len(is_correct)) if numbers is None else numbers,
    )


def to_numpy(tensor: torch.Tensor) -> Array:
    """Return a tensor as an array, in single precision if it had less.

    Args:
        tensor: On any device.
    """
    tensor = full_precision(tensor) if tensor.is_floating_point() else tensor  # NumPy has no bfloat16
    array: Array = tensor.detach().cpu().numpy()
    return array


@torch.inference_mode()
def record_attention(
    network: Network, task: Task, stream: Stream, sequences: int = 100, index: int = 0
) -> AttentionRecord:
    """Let a network answer some sequences.

    Args:
        network: In evaluation mode.
        task: Makes the sequences.
        stream: Seed and split.
        sequences: How many: of a task that makes them the first ones, of given data a sample of the split.
        index: A sequence that is to be among them.
    """
    parameter = next(network.parameters())
    numbers = _choose(task, stream, sequences, index)
    size = task.size(stream.split)
    batch = task.evaluation_batch(stream, size or sequences, torch.from_numpy(numbers).to(parameter.device))
    answer = network(batch.x.to(parameter.dtype), batch.lengths, return_weights=True)
    return record_answers(task, batch, answer, numbers, size if size and size > len(numbers) else None)


def _choose(task: Task, stream: Stream, sequences: int, index: int) -> Array:
    """The numbers of a sample: evenly from the sequences in the order of their targets, as files are often sorted."""
    if not isinstance(task, GivenTask):
        return np.arange(sequences)
    y = to_numpy(task.on(torch.device("cpu"), stream.split).y)
    order = np.argsort(y.reshape(len(y), -1)[:, 0], kind="stable")
    places = np.linspace(0, len(y) - 1, min(sequences, len(y))).round().astype(np.int64)
    chosen = order[places]
    if index not in chosen:
        chosen[0] = index
    return np.sort(chosen)
