"""Given sequences that need not fit into memory: some pieces of a file at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ffattn.rng.streams import split_range
from ffattn.tasks.batch import Batch
from ffattn.tasks.given import Given, Sequences, shuffled


@dataclass(frozen=True)
class Streamed(Sequences):
    """Sequences that are read when they are needed (see `Sequences`).

    Training goes through the pieces in a shuffled order, as many at a time as the window holds, and takes the sequences
    of these in a shuffled order. So each piece is read once in a pass.

    Attributes:
        load: Reads a piece, with all of its sequences, whatever their split; it keeps those that were used last.
        window: How many it keeps.
        pieces: The piece of each sequence, (sequence,); not falling.
        places: Its place in the piece, (sequence,).
        y: Targets, (sequence, output) numbers or (sequence,) class indices.
        device: Where batches go.
    """

    load: Callable[[int], Given]
    window: int
    pieces: Int[np.ndarray, " sequence"]
    places: Int[np.ndarray, " sequence"]
    y: Tensor
    device: torch.device = torch.device("cpu")

    def batch(self, places: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)) -> Batch:
        """Return some sequences (see `Sequences.batch`)."""
        chosen = places.cpu().numpy()
        found: list[Tensor] = [torch.empty(0)] * len(chosen)
        for piece in np.unique(self.pieces[chosen]):
            given = self.load(int(piece))
            for row in np.flatnonzero(self.pieces[chosen] == piece):
                place = int(self.places[chosen[row]])
                found[row] = given.x[given.offsets[place] : given.offsets[place + 1]]
        lengths = torch.tensor([len(x) for x in found])
        first, stop = split_range(int(lengths.max()), *part)
        x = torch.zeros(len(found), stop - first, found[0].shape[1])
        for row, steps in zip(x, found, strict=True):
            some = steps[first:stop]
            row[: len(some)] = some
        lengths = lengths.to(self.device)
        return Batch(x.to(self.device), lengths, self.y[places.to(self.y.device)], lengths.new_zeros(len(found), 0))

    def order(self, seed: int, number: int) -> Int[np.ndarray, " sequence"]:
        """Return an order that is shuffled within windows (see `Sequences.order`)."""
        return shuffled(seed, number, self._counts, self.window)

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(np.unique(self.pieces, return_counts=True)[1].tolist())

    def to(self, device: torch.device | str) -> "Streamed":
        """Return the same sequences, with batches on a device."""
        return Streamed(self.load, self.window, self.pieces, self.places, self.y.to(device), torch.device(device))
