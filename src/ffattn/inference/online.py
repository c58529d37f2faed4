"""A network's answer to a sequence that grows without end, in constant memory."""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ffattn.errors import CheckpointError, DataError
from ffattn.files import RawSequences, prepare_inputs, refuse_faults
from ffattn.files.tables import parse_csv
from ffattn.inference.columns import answer_values, preparation_of
from ffattn.inference.trained import TrainedModel

_MOST_BYTES = 2**20  # read at a time


class Running:
    """What a trained feed-forward network makes of a sequence so far.

    Example:
        running = Running(ffattn.load("outputs/mine/checkpoints/best.ckpt"))
        for steps in consumer:  # arrays (step, column) of any size, from a socket, a queue, a sensor
            running.push(steps)
            print(running.answer())

    Args:
        trained: The network. Its memory does not grow, and a step costs the same however many came before.

    Raises:
        CheckpointError: The network needs the whole sequence, or its length, beforehand.
    """

    def __init__(self, trained: TrainedModel) -> None:
        name = trained.model.name
        if not hasattr(trained.network, "start"):
            problem = "needs the whole sequence; a feed-forward model without categories does not"
            raise CheckpointError(f"model={name}: {problem}")
        network: Any = trained.network
        parameter = next(network.parameters())
        self.device = parameter.device
        self.dtype = parameter.dtype
        try:
            self.state = network.start()
            network.start().update(parameter.new_zeros(1, 1, trained.task.num_features))
        except ValueError as error:
            raise CheckpointError(f"model={name}: needs the length of the sequence beforehand: {error}") from error
        self.trained = trained
        self.preparation = preparation_of(trained.task)
        self.steps = 0

    @torch.inference_mode()
    def push(self, steps: np.ndarray) -> "Running":
        """Add steps.

        Args:
            steps: (step, column): the columns of `preparation.features`, as they stand in a file; NaN where none is.

        Returns:
            This object.

        Raises:
            DataError: A value cannot be used; nothing of these steps has been added.
        """
        columns = [feature.name for feature in self.preparation.features]
        if steps.ndim != 2 or steps.shape[1] != len(columns):
            raise DataError(f"steps have shape {steps.shape}; must be (step, {len(columns)}): {', '.join(columns)}")
        return self.push_columns(dict(zip(columns, np.asarray(steps, np.float64).T, strict=True)))

    @torch.inference_mode()
    def push_columns(self, columns: dict[str, np.ndarray]) -> "Running":
        """Add steps whose columns have names (see `push`).

        Args:
            columns: For each feature a value for each step.
        """
        count = len(next(iter(columns.values())))
        rows = np.arange(self.steps + 1, self.steps + count + 1)
        ids = np.array(["1"], dtype=object)
        raw = RawSequences(Path("steps"), ids, np.array([0, count]), columns, {}, rows, tuple(columns))
        refuse_faults(self.preparation, raw)
        piece = prepare_inputs(self.preparation, raw).to(self.device, self.dtype)
        self.state.update(piece[None])
        self.steps += count
        return self

    @torch.inference_mode()
    def answer(self) -> dict[str, Any]:
        """Return the answer to all steps so far: a value for each target, and the probability of each class.

        Where the network's answer is not finite, the values are None, and `problem` has the reason.

        Raises:
            DataError: There has been no step.
        """
        if not self.steps:
            raise DataError("there has been no step yet")
        return answer_values(self.preparation, self.state.finish().cpu().double())[0]


def answers_every(running: Running, pieces: Iterable[dict[str, np.ndarray]], every: int) -> Iterator[dict[str, Any]]:
    """Return the answer after every so many steps, and at the end, each with the number of steps.

    Args:
        running: The network.
        pieces: Columns of steps, of any size.
        every: Steps between answers.
    """
    answered = 0
    for piece in pieces:
        count = len(next(iter(piece.values())))
        start = 0
        while start < count:
            stop = min(count, start + every - running.steps % every)
            running.push_columns({name: column[start:stop] for name, column in piece.items()})
            start = stop
            if running.steps % every == 0:
                answered = running.steps
                yield {"steps": answered} | running.answer()
    if running.steps > answered:
        yield {"steps": running.steps} | running.answer()


def read_lines(read: Callable[[int], bytes], columns: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Return columns of steps from lines of CSV under a header, as soon as they come.

    Args:
        read: Returns what is there, up to so many bytes, or waits for something; nothing at the end.
        columns: Which columns are wanted.

    Raises:
        DataError: A column is missing, or a line has another number of values.
    """
    header = b""
    remainder = b""
    while chunk := read(_MOST_BYTES):
        lines, newline, remainder = (remainder + chunk).rpartition(b"\n")
        if not newline:
            continue
        if not header:
            header, _, lines = lines.partition(b"\n")
        if lines.strip():
            yield _parse_lines(header, lines, columns)
    if remainder.strip() and header:
        yield _parse_lines(header, remainder, columns)


def _parse_lines(header: bytes, lines: bytes, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    return parse_csv(io.BytesIO(header + b"\n" + lines + b"\n"), columns)
