"""How columns of a file become a network's inputs, and its predictions columns of an answer."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ffattn.files import Feature, Preparation, Scaling, Target
from ffattn.files.preparation import ID, NUMBER, PROBLEM, WEIGHTS, WORDS, answer_columns
from ffattn.tasks import File, Task

__all__ = ["ID", "NOT_FINITE", "PROBLEM", "WEIGHTS", "WORDS", "answer_columns", "answer_values", "preparation_of"]


NOT_FINITE = "the answer is not finite: values are too far from those of training"


def preparation_of(task: Task) -> Preparation:
    """Return how the columns of a file become a task's inputs, and predictions become columns.

    Args:
        task: Of a file; or any other one, whose features are columns of numbers, and whose answers are `answer`.
    """
    if isinstance(task, File):
        return task.preparation
    features = tuple(Feature(name, NUMBER) for name in task.feature_names)
    outputs = 1 if task.is_classification else task.num_outputs
    targets = tuple(Target(f"answer_{i}" if outputs > 1 else "answer") for i in range(outputs))
    classes = tuple(str(number) for number in range(task.num_outputs)) if task.is_classification else ()
    return Preparation(features, targets, classes, columns=task.feature_names)


def answer_values(preparation: Preparation, prediction: Float[Tensor, "batch output"]) -> list[dict[str, Any]]:
    """Return predictions as values of the target's columns, and probabilities of the classes.

    A prediction that is not finite gives no value, but the reason, as the value of `problem`.

    Args:
        preparation: How predictions become columns.
        prediction: Outputs of the network.
    """
    prediction = prediction.double()
    if preparation.classes:
        return [_answer_class(preparation, row) for row in prediction.softmax(dim=1).tolist()]
    return [_answer_numbers(preparation, row) for row in Scaling(preparation.targets).restore(prediction).tolist()]


def _answer_class(preparation: Preparation, shares: list[float]) -> dict[str, Any]:
    names = preparation.classes
    probabilities = dict(zip((f"p_{name}" for name in names), shares, strict=True))
    target = preparation.targets[0].name
    if not all(map(math.isfinite, shares)):
        return {target: None} | dict.fromkeys(probabilities) | {PROBLEM: NOT_FINITE}
    return {target: names[int(np.argmax(shares))]} | probabilities


def _answer_numbers(preparation: Preparation, values: list[float]) -> dict[str, Any]:
    names = [target.name for target in preparation.targets]
    if not all(map(math.isfinite, values)):
        return dict.fromkeys(names) | {PROBLEM: NOT_FINITE}
    return dict(zip(names, values, strict=True))
