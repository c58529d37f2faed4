"""Given sequences that need not fit into memory: some pieces of a file at a time."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ffattn.batch import Batch
from ffattn.streams import share
from ffattn.tasks.given import Given, Sequences, shuffled


class Window:
    """The pieces that were used last.

    Args:
        load: Reads a piece.
        size: How many pieces are kept.
    """

    def __init__(self, load: Callable[[int], Given], size: int) -> None:
        self.load, self.size = load, size
        self._kept: OrderedDict[int, Given] = OrderedDict()

    def __getitem__(self, piece: int) -> Given:
        """A piece: kept, or read."""
        if piece not in self._kept:
            while len(self._kept) >= self.size:
                self._kept.popitem(last=False)
            self._kept[piece] = self.load(piece)
        self._kept.move_to_end(piece)
        return self._kept[piece]


@dataclass(frozen=True)
class Streamed(Sequences):
    """Sequences that are read when they are needed (see `Sequences`).

    Training goes through the pieces in a shuffled order, as many at a time as the window holds, and takes the sequences
    of these in a shuffled order. So each piece is read once in a pass.

    Attributes:
        window: The pieces, each with all of its sequences, whatever their split.
        pieces: The piece of each sequence, (sequence,); not falling.
        places: Its place in the piece, (sequence,).
        y: Targets, (sequence, output) numbers or (sequence,) class indices.
        device: Where batches go.
    """

    window: Window
    pieces: Int[np.ndarray, " sequence"]
    places: Int[np.ndarray, " sequence"]
    y: Tensor
    device: torch.device = torch.device("cpu")

    def batch(self, places: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)) -> Batch:
        """Some sequences (see `Sequences.batch`)."""
        chosen = places.cpu().numpy()
        found: list[Tensor] = [torch.empty(0)] * len(chosen)
        for piece in np.unique(self.pieces[chosen]):
            given = self.window[int(piece)]
            for row in np.flatnonzero(self.pieces[chosen] == piece):
                place = int(self.places[chosen[row]])
                found[row] = given.x[given.offsets[place] : given.offsets[place + 1]]
        lengths = torch.tensor([len(x) for x in found])
        first, stop = share(int(lengths.max()), *part)
        x = torch.zeros(len(found), stop - first, found[0].shape[1])
        for row, steps in zip(x, found, strict=True):
            some = steps[first:stop]
            row[: len(some)] = some
        lengths = lengths.to(self.device)
        return Batch(x.to(self.device), lengths, self.y[places.to(self.y.device)], lengths.new_zeros(len(found), 0))

    def order(self, seed: int, number: int) -> Int[np.ndarray, " sequence"]:
        """Shuffled within windows (see `Sequences.order`)."""
        counts = np.unique(self.pieces, return_counts=True)[1]
        return shuffled(seed, number, tuple(counts.tolist()), self.window.size)

    def to(self, device: torch.device) -> "Streamed":
        """With batches on a device."""
        return Streamed(self.window, self.pieces, self.places, self.y.to(device), device)
