"""Answers for the sequences of a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ffattn.errors import DataError
from ffattn.files import (
    Layout,
    Preparation,
    RawSequences,
    ScatteredError,
    SequenceReader,
    find_faults,
    prepare_inputs,
    read_sequences,
)
from ffattn.files.describing import left_out_of, notes_of
from ffattn.files.layouts import LISTS, LONG, column_list
from ffattn.files.matching import match_layout
from ffattn.files.tables import ARRAYS, TIME_SERIES
from ffattn.files.text_files import TextSettings
from ffattn.inference.columns import (
    ID,
    NOT_FINITE,
    PROBLEM,
    WEIGHTS,
    WORDS,
    answer_columns,
    answer_values,
    preparation_of,
)
from ffattn.inference.evaluation import MAX_STEPS
from ffattn.models import Answer
from ffattn.tasks import Batch, File, Given, Task

_SEQUENCES = 1000  # in a batch, at most
_SHOWN = 5  # problems that are kept in words


@runtime_checkable
class Answering(Protocol):
    """What is needed of a trained network (see `ffattn.inference.trained.TrainedModel`)."""

    task: Task

    def answer(self, x: Any, lengths: Any = None) -> Answer:
        """Its outputs for its own inputs."""


@dataclass(frozen=True)
class Inputs:
    """Sequences that wait for answers.

    Attributes:
        pieces: Some of them after the other; can be gone through again.
        sequences: How many there are.
        wrong: How many of them cannot be used.
        problems: What is wrong with the first of these.
        notes: What a person should know of the file.
    """

    pieces: Iterable[RawSequences]
    sequences: int
    wrong: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_inputs(
    path: Path,
    task: Task,
    id: Any = None,  # noqa: A002
    time: str | None = None,
    text: TextSettings | None = None,
) -> Inputs:
    """Return the sequences of a file without their targets, if it has any, and what is wrong with them.

    The file is gone through once; it need not fit into memory, unless the rows of its sequences stand apart.

    Args:
        path: The file.
        task: What the network was trained on.
        id: The column, or columns, that tell sequences apart, unless they are the same as in training.
        time: The column that orders steps, likewise.
        text: How cells of CSV and JSON Lines are read, likewise.

    Raises:
        DataError: The file cannot be read, or lacks a column.
    """
    preparation = preparation_of(task)
    if path.suffix in {ARRAYS, TIME_SERIES} and not isinstance(task, File):
        return _look_through([_by_order(path, task.name, preparation.columns)], preparation)
    demanded = _layout_for(task, preparation, tuple(column_list("id", id)), time)
    demanded = replace(demanded, text_rule=(text or TextSettings()).rule(demanded.text_rule))
    reader = SequenceReader(path, demanded)
    found = match_layout(path, reader.head(), demanded) if demanded.is_understood else demanded
    reader = replace(reader, layout=found)
    notes = left_out_of(column for column in found.left_out if column not in demanded.left_out)
    pieces: Iterable[RawSequences] = reader
    try:
        inputs = _look_through(pieces if found.windows is None else [reader.whole()], preparation)
    except ScatteredError:
        inputs = _look_through([reader.whole()], preparation)
    return replace(inputs, notes=(*notes, *inputs.notes))


def _layout_for(task: Task, preparation: Preparation, ids: tuple[str, ...], time: str | None) -> Layout:
    """What the columns of a file must be: as in training, but for the columns of ids and of times that are given."""
    if not isinstance(task, File):
        return Layout(ids or None, time, preparation.columns, form=LONG if ids else LISTS)
    layout = task.layout_of_others(has_targets=False)
    time = time or layout.time
    if not ids:
        return replace(layout, time=time)
    if layout.form == LONG or not layout.is_understood:
        return replace(layout, id=ids, time=time)
    features = tuple(feature.name for feature in preparation.features)  # which are columns where each row is a step
    return replace(layout, id=ids, time=time, form=LONG, features=features, steps=())


def _by_order(path: Path, task: str, columns: tuple[str, ...]) -> RawSequences:
    """Sequences of a file whose features have no names: their order counts."""
    raw = read_sequences(path, Layout(), has_empty=True)
    if len(raw.features) != len(columns):
        raise DataError(f"{path}: has {len(raw.features)} features; {task} needs {', '.join(columns)}")
    arrays = list(raw.features.values())
    return RawSequences(path, raw.ids, raw.offsets, dict(zip(columns, arrays, strict=True)), {}, raw.rows, columns)


def _look_through(pieces: Iterable[RawSequences], preparation: Preparation) -> Inputs:
    sequences = 0
    wrong = 0
    read_pieces = 0
    shown: list[str] = []
    repeated = 0
    too_short = 0
    for raw in pieces:
        problems = problems_of(raw, preparation)
        shown += [problems[number] for number in islice(sorted(problems), _SHOWN - len(shown))]
        sequences += len(raw)
        wrong += len(problems)
        read_pieces += 1
        repeated += raw.repeated
        too_short += raw.too_short
    notes = notes_of(replace(raw, repeated=repeated, too_short=too_short))
    return Inputs([raw] if read_pieces == 1 else pieces, sequences, wrong, tuple(shown), tuple(notes))


def problems_of(raw: RawSequences, preparation: Preparation) -> dict[int, str]:
    """Return what is wrong with sequences, by their numbers; of each the first mistake.

    Args:
        raw: Sequences.
        preparation: How their columns become numbers.
    """
    empty = np.flatnonzero(raw.lengths == 0).tolist()
    problems = {number: f"{raw.path}, sequence {raw.ids[number]}: no steps" for number in empty}
    for fault in find_faults(preparation, raw, is_strict=True):
        steps = np.flatnonzero(fault.steps)
        sequences, first = np.unique(np.searchsorted(raw.offsets, steps, side="right") - 1, return_index=True)
        for number, place in zip(sequences.tolist(), first.tolist(), strict=True):
            problems.setdefault(number, fault.at(raw, int(steps[place])))
    return problems


def predict(
    trained: Answering, pieces: Iterable[RawSequences], *, weights: bool = False, start: int = 0
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
            yield from _answer_rows(trained, preparation, raw, weights, max(0, start - done))
        done += len(raw)


def _answer_rows(
    trained: Answering, preparation: Preparation, raw: RawSequences, weights: bool, start: int
) -> Iterator[dict[str, Any]]:
    nothing = dict.fromkeys(answer_columns(preparation, weights))
    problems = problems_of(raw, preparation)
    for numbers in _batch_ranges(raw.lengths, start):
        good = [number for number in numbers if number not in problems]
        rows = iter(_answer_batch(trained, preparation, raw.select(np.array(good)), weights) if good else [])
        for number in numbers:
            row = {PROBLEM: problems[number]} if number in problems else next(rows)
            yield nothing | {PROBLEM: ""} | row | {ID: raw.ids[number]}


def outputs_of(trained: Answering, raw: RawSequences) -> Float[Tensor, "batch output"]:
    """Return the network's outputs for sequences, in float64.

    Args:
        trained: The network.
        raw: Sequences, all of which are to be answered for.

    Raises:
        DataError: One of them cannot be used, or its answer is not finite.
    """
    preparation = preparation_of(trained.task)
    if problems := problems_of(raw, preparation):
        raise DataError(f"{problems[min(problems)]} ({len(problems)} of {len(raw)} sequences cannot be used)")
    batches = [raw.select(np.array(numbers)) for numbers in _batch_ranges(raw.lengths, 0)]
    outputs = [trained.answer(batch.x, batch.lengths).prediction for batch in (_batch(preparation, b) for b in batches)]
    found = torch.cat([torch.empty(0, trained.task.num_outputs), *(output.cpu() for output in outputs)]).double()
    if (bad := (~found.isfinite().all(dim=1)).nonzero()).numel():
        raise DataError(f"{raw.path}, sequence {raw.ids[int(bad[0])]}: {NOT_FINITE}")
    return found


def _batch(preparation: Preparation, raw: RawSequences) -> Batch:
    offsets = torch.from_numpy(raw.offsets.astype(np.int64))
    given = Given(prepare_inputs(preparation, raw), offsets, torch.zeros(len(raw)))
    return given.batch(torch.arange(len(raw)))


def _batch_ranges(lengths: Int[np.ndarray, " sequence"], start: int) -> Iterator[range]:
    """Consecutive sequences, as many as fit when all are padded to the longest of them."""
    longest = 1
    for number in range(start, len(lengths)):
        length = int(lengths[number])
        longest = max(longest, length)
        count = number - start + 1
        if count > 1 and (count > _SEQUENCES or count * longest > MAX_STEPS):
            yield range(start, number)
            start = number
            longest = length
    if start < len(lengths):
        yield range(start, len(lengths))


def _answer_batch(
    trained: Answering, preparation: Preparation, raw: RawSequences, weights: bool
) -> list[dict[str, Any]]:
    batch = _batch(preparation, raw)
    answer = trained.answer(batch.x, batch.lengths)
    rows = answer_values(preparation, answer.prediction.cpu().double())
    if weights and answer.weights is not None:
        for row, own, start, length in zip(
            rows, answer.weights.cpu().tolist(), raw.offsets[:-1], raw.lengths.tolist(), strict=True
        ):
            if PROBLEM in row:
                continue
            row[WEIGHTS] = own[:length]
            if raw.are_words:
                row[WORDS] = raw.features[raw.used[0]][start : start + length].tolist()
    return rows
