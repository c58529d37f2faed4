"""Answers for the sequences of a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ffattn.errors import DataError
from ffattn.files import Feature, Layout, Preparation, Raw, ScatteredError, Sequential, Target, read
from ffattn.files.preparation import CATEGORY, WORD
from ffattn.files.tables import ARRAYS, TIME_SERIES
from ffattn.inference.checkpoint import TrainedModel
from ffattn.inference.evaluation import MAX_STEPS
from ffattn.tasks import File, Given, Task
from ffattn.tasks.file import select

ID, PROBLEM, WEIGHTS, WORDS = "id", "problem", "weights", "words"
_SEQUENCES = 1000  # in a batch, at most
_TOLD = 5  # problems that are kept in words


@dataclass(frozen=True)
class Inputs:
    """Sequences that wait for answers.

    Attributes:
        pieces: Some of them after the other; can be gone through again.
        sequences: How many there are.
        wrong: How many of them cannot be used.
        problems: What is wrong with the first of these.
    """

    pieces: Iterable[Raw]
    sequences: int
    wrong: int
    problems: tuple[str, ...]


def preparation_of(task: Task) -> Preparation:
    """How the columns of a file become a task's inputs, and answers become columns.

    Args:
        task: Of a file; or any other one, whose features are columns of numbers, and whose answers are `answer`.
    """
    if isinstance(task, File):
        return task.preparation
    features = tuple(Feature(name, "number") for name in task.feature_names)
    outputs = 1 if task.is_classification else task.num_outputs
    targets = tuple(Target(f"answer_{i}" if outputs > 1 else "answer") for i in range(outputs))
    classes = tuple(str(number) for number in range(task.num_outputs)) if task.is_classification else ()
    return Preparation(features, targets, classes, columns=task.feature_names)


def read_inputs(path: Path, task: Task, id: str | None = None, time: str | None = None) -> Inputs:  # noqa: A002
    """The sequences of a file without their targets, if it has any, and what is wrong with them.

    The file is gone through once; it need not fit into memory, unless the rows of its sequences stand apart.

    Args:
        path: The file.
        task: What the network was trained on.
        id: The column that tells sequences apart, unless it is the same as in training.
        time: The column that orders steps, likewise.

    Raises:
        DataError: The file cannot be read, or lacks a column.
    """
    preparation, name = preparation_of(task), id or getattr(task, "id", None)
    if path.suffix in {ARRAYS, TIME_SERIES} and not isinstance(task, File):
        return _look_through([_by_order(path, task.name, preparation.columns)], preparation)
    texts = tuple(feature.name for feature in preparation.symbols if _is_text(feature))
    layout = Layout(name, time or getattr(task, "time", None), preparation.columns, texts=texts)
    file = Sequential(path, replace(layout, tokens=task.tokens) if isinstance(task, File) else layout)
    try:
        return _look_through(file, preparation)
    except ScatteredError:
        return _look_through([file.whole()], preparation)


def _is_text(feature: Feature) -> bool:
    """Whether a column was text in training; one of truth values was not, and is read as what it looks like."""
    return feature.kind == WORD or (feature.kind == CATEGORY and not set(feature.values) <= {"true", "false"})


def _by_order(path: Path, task: str, columns: tuple[str, ...]) -> Raw:
    """Sequences of a file whose features have no names: their order counts."""
    raw = read(path, Layout(), has_empty=True)
    if len(raw.features) < len(columns):
        raise DataError(f"{path}: has {len(raw.features)} features; {task} needs {', '.join(columns)}")
    arrays = list(raw.features.values())[: len(columns)]
    return Raw(path, raw.ids, raw.offsets, dict(zip(columns, arrays, strict=True)), {}, raw.rows, columns)


def _look_through(pieces: Iterable[Raw], preparation: Preparation) -> Inputs:
    sequences = wrong = read_pieces = 0
    told: list[str] = []
    for raw in pieces:
        problems = problems_of(raw, preparation)
        told += [problems[number] for number in islice(sorted(problems), _TOLD - len(told))]
        sequences, wrong, read_pieces = sequences + len(raw), wrong + len(problems), read_pieces + 1
    return Inputs([raw] if read_pieces == 1 else pieces, sequences, wrong, tuple(told))


def problems_of(raw: Raw, preparation: Preparation) -> dict[int, str]:
    """What is wrong with sequences, by their numbers; of each the first mistake.

    Args:
        raw: Sequences.
        preparation: How their columns become numbers.
    """
    empty = np.flatnonzero(raw.lengths == 0).tolist()
    problems = {number: f"{raw.path}, sequence {raw.ids[number]}: no steps" for number in empty}
    for fault in preparation.faults(raw, is_strict=True):
        steps = np.flatnonzero(fault.steps)
        sequences, first = np.unique(np.searchsorted(raw.offsets, steps, side="right") - 1, return_index=True)
        for number, place in zip(sequences.tolist(), first.tolist(), strict=True):
            problems.setdefault(number, fault.at(raw, int(steps[place])))
    return problems


def columns_of(preparation: Preparation, weights: bool = False) -> list[str]:
    """The columns of an output file.

    Args:
        preparation: How answers become columns.
        weights: Whether attention weights are among them, and for texts the words that they belong to.
    """
    shares = [f"p_{name}" for name in preparation.classes]
    are_words = any(feature.kind == WORD for feature in preparation.features)
    attention = ([WORDS] if are_words else []) + [WEIGHTS] if weights else []
    return [ID, *(target.name for target in preparation.targets), *shares, *attention, PROBLEM]


def predict(
    trained: TrainedModel, pieces: Iterable[Raw], *, weights: bool = False, start: int = 0
) -> Iterator[dict[str, Any]]:
    """Answer for one sequence after the other, in their order.

    Args:
        trained: The network.
        pieces: Some sequences after the other.
        weights: Whether attention weights are wanted, one for each step.
        start: Number of the first sequence.

    Yields:
        For each sequence its id, a value for each target (a number in the unit of the file, or the name of a class),
        the probability of each class, the weights (of texts the words, too), and `problem`, which is empty where there
        is an answer.
    """
    preparation = preparation_of(trained.task)
    done = 0
    for raw in pieces:
        if done + len(raw) > start:
            yield from _rows(trained, preparation, raw, weights, max(0, start - done))
        done += len(raw)


def _rows(
    trained: TrainedModel, preparation: Preparation, raw: Raw, weights: bool, start: int
) -> Iterator[dict[str, Any]]:
    nothing = dict.fromkeys(columns_of(preparation, weights))
    problems = problems_of(raw, preparation)
    for numbers in _batches(raw.lengths, start):
        good = [number for number in numbers if number not in problems]
        answers = iter(_answers(trained, preparation, select(raw, np.array(good)), weights) if good else [])
        for number in numbers:
            row = {PROBLEM: problems[number]} if number in problems else next(answers)
            yield nothing | {PROBLEM: ""} | row | {ID: raw.ids[number]}


def _batches(lengths: np.ndarray, start: int) -> Iterator[range]:
    """Consecutive sequences, as many as fit when all are padded to the longest of them."""
    longest = 1
    for number in range(start, len(lengths)):
        longest = max(longest, int(lengths[number]))
        count = number - start + 1
        if count > 1 and (count > _SEQUENCES or count * longest > MAX_STEPS):
            yield range(start, number)
            start, longest = number, int(lengths[number])
    if start < len(lengths):
        yield range(start, len(lengths))


def _answers(trained: TrainedModel, preparation: Preparation, raw: Raw, weights: bool) -> list[dict[str, Any]]:
    x, offsets = torch.from_numpy(preparation.inputs(raw)), torch.from_numpy(raw.offsets.astype(np.int64))
    batch = Given(x, offsets, torch.zeros(len(raw))).batch(torch.arange(len(raw)))
    answer = trained.answer(batch.x, batch.lengths)
    rows = in_words(preparation, answer.prediction.cpu().double())
    if weights and answer.weights is not None:
        parts = zip(answer.weights.cpu().tolist(), raw.offsets[:-1], raw.lengths.tolist(), strict=True)
        for row, (own, start, length) in zip(rows, parts, strict=True):
            row[WEIGHTS] = own[:length]
            if raw.are_words:
                row[WORDS] = raw.features[raw.used[0]][start : start + length].tolist()
    return rows


def in_words(preparation: Preparation, prediction: torch.Tensor) -> list[dict[str, Any]]:
    """Predictions as values of the target's columns, and probabilities of the classes.

    Args:
        preparation: How answers become columns.
        prediction: Outputs of the network, (batch, output).
    """
    if not preparation.classes:
        mean, scale = (torch.tensor([getattr(t, key) for t in preparation.targets]) for key in ("mean", "scale"))
        numbers = (prediction * scale + mean).tolist()
        return [{t.name: value for t, value in zip(preparation.targets, row, strict=True)} for row in numbers]
    names, target = preparation.classes, preparation.targets[0].name
    rows = prediction.softmax(dim=1).tolist()
    return [
        {target: names[int(np.argmax(row))]} | {f"p_{name}": share for name, share in zip(names, row, strict=True)}
        for row in rows
    ]
