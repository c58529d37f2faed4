"""Sequences as a file holds them, before any number is scaled."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.files.layouts import Layout
from ffattn.system.lazy import Int


@dataclass(frozen=True)
class RawSequences:
    """Sequences of a file, with their values as they are in it.

    Attributes:
        path: The file.
        ids: What each sequence is called: its id, or the number of its row, from 1.
        offsets: Where each sequence starts among all steps, and the end, (sequence + 1,).
        features: For each feature a value for each step: float64 with NaN where none is, or text with None.
        columns: For each of `Layout.of_sequence` that is there a value for each sequence, exactly: a pyarrow array of
            the file's own type, with null where none is (see `ffattn.files.values`, also for numbers and text of it).
        rows: The row of the file, from 1, that each step comes from.
        used: The columns that features were read from.
        starts: The time of the first step of each sequence, as numbers (see `ffattn.files.times`); nothing without a
            column of times.
        are_words: Whether features are the words or characters of texts.
        layout: What the columns of the file are, as it was understood.
        repeated: How many rows have the id and the time of another one.
        spans: Of windows their first step, the one after the last, and the steps of the series, (sequence, 3).
        unlabelled: How many sequences were left out, since they have no target.
        too_short: How many series are too short for a window.
    """

    path: Path
    ids: np.ndarray
    offsets: np.ndarray
    features: dict[str, np.ndarray]
    columns: dict[str, Any]
    rows: np.ndarray
    used: tuple[str, ...]
    starts: np.ndarray | None = None
    are_words: bool = False
    layout: Layout = field(default_factory=Layout)
    repeated: int = 0
    spans: Int[np.ndarray, "sequence 3"] | None = None
    unlabelled: int = 0
    too_short: int = 0

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """How many steps each sequence has."""
        return np.diff(self.offsets)

    def where(self, step: int, column: str) -> str:
        """Name a value of a step, for a message."""
        return f"{self.path}, row {self.rows[step]}, column {column}"

    def at(self, sequence: int, column: str) -> str:
        """Name a value of a sequence, for a message."""
        return f"{self.path}, sequence {self.ids[sequence]}, column {column}"

    def select(self, chosen: Int[np.ndarray, " chosen"]) -> "RawSequences":
        """Return some of the sequences.

        Args:
            chosen: Their numbers, in the order that is wanted.
        """
        lengths = self.lengths[chosen]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        steps = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            ids=self.ids[chosen],
            offsets=offsets,
            features={name: column[steps] for name, column in self.features.items()},
            columns={name: column.take(chosen) for name, column in self.columns.items()},
            rows=self.rows[steps],
            starts=None if self.starts is None else self.starts[chosen],
            spans=None if self.spans is None else self.spans[chosen],
        )
