"""The temporal order problems: which symbols came, and in which order."""

from dataclasses import dataclass
from typing import ClassVar

from ffattn.rng.streams import BatchWindow
from ffattn.system.lazy import Int, Tensor, torch
from ffattn.tasks.base import Classification
from ffattn.tasks.batch import Batch

_SYMBOLS = ("X", "Y", "a", "b", "c", "d", "B", "E")
_ALL_DISTRACTORS = range(_SYMBOLS.index("a"), _SYMBOLS.index("d") + 1)
_END = _SYMBOLS.index("B")
_BEGIN = _SYMBOLS.index("E")
_DISTRACTORS = 0  # a field of the stream
_RELEVANT_STEPS = 10  # the first of such fields, one for each window
_CHOICES = 20  # likewise


@dataclass
class TemporalOrder(Classification):
    """One-hot symbols: E, distractors a-d, and B at the end, with an X or a Y somewhere in each of a few windows.

    The class is the sequence of X (0) and Y (1), read as a binary number, the first symbol leading: XX, XY, YX, YY.
    A window from p to q per cent is the steps p T // 100 .. q T // 100, both included, for nominal length T.

    Source:
        Hochreiter & Schmidhuber 1997, experiment 6, whose windows are given for lengths of 100-110.
    """

    feature_names: ClassVar[tuple[str, ...]] = _SYMBOLS
    windows: ClassVar[tuple[tuple[int, int], ...]]
    min_length: ClassVar[int] = 10

    def sample(self, window: BatchWindow) -> Batch:
        """Make sequences (see `Task.sample`)."""
        relevant = self._relevant_steps(window)
        choices = self._choices(window)
        x = window.symbols(_DISTRACTORS, _ALL_DISTRACTORS, len(_SYMBOLS))
        first = torch.zeros_like(window.lengths)
        last = window.lengths - 1
        begin, end = (torch.full_like(first, symbol) for symbol in (_BEGIN, _END))
        symbols = torch.nn.functional.one_hot(torch.column_stack((begin, end, choices)), len(_SYMBOLS))
        window.set_steps(x, torch.column_stack((first, last, relevant)), symbols)
        weights = 2 ** torch.arange(len(self.windows) - 1, -1, -1, device=choices.device)
        return Batch(x, window.lengths, (choices * weights).sum(dim=1), relevant)

    def _relevant_steps(self, window: BatchWindow) -> Int[Tensor, "batch relevant"]:
        bounds = [(window.nominal * low // 100, window.nominal * high // 100) for low, high in self.windows]
        steps = [window.integers(_RELEVANT_STEPS + i, low, high) for i, (low, high) in enumerate(bounds)]
        return torch.stack(steps, dim=1)

    def _choices(self, window: BatchWindow) -> Int[Tensor, "batch relevant"]:
        return torch.stack([window.integers(_CHOICES + i, 0, 1) for i in range(len(self.windows))], dim=1)


@dataclass
class TemporalOrder2(TemporalOrder):
    """Two symbols, four classes: windows of 10-20 and 50-60 per cent (experiment 6a)."""

    windows: ClassVar[tuple[tuple[int, int], ...]] = ((10, 20), (50, 60))
    num_outputs: ClassVar[int] = 4


@dataclass
class TemporalOrder3(TemporalOrder):
    """Three symbols, eight classes: windows of 10-20, 33-43 and 66-76 per cent (experiment 6b)."""

    windows: ClassVar[tuple[tuple[int, int], ...]] = ((10, 20), (33, 43), (66, 76))
    num_outputs: ClassVar[int] = 8
