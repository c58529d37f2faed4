"""How columns of a file become a network's inputs, and its predictions columns of an answer."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ffattn.files import Feature, Preparation, Scaling, Target
from ffattn.files.preparation import ID, NUMBER, PROBLEM, WEIGHTS, WORDS, answer_columns
from ffattn.tasks import File, Task

__all__ = ["ID", "PROBLEM", "WEIGHTS", "WORDS", "answer_columns", "answer_values", "preparation_of"]


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

    Args:
        preparation: How predictions become columns.
        prediction: Outputs of the network.
    """
    if not preparation.classes:
        numbers = Scaling(preparation.targets).restore(prediction.double()).tolist()
        return [{t.name: value for t, value in zip(preparation.targets, row, strict=True)} for row in numbers]
    names = preparation.classes
    target = preparation.targets[0].name
    return [
        {target: names[int(np.argmax(row))]} | {f"p_{name}": share for name, share in zip(names, row, strict=True)}
        for row in prediction.double().softmax(dim=1).tolist()
    ]
