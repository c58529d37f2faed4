"""Two marked steps among many: what the addition, multiplication and XOR tasks share."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ffattn.rng.streams import BatchWindow, Grid
from ffattn.system.lazy import Float, Int, Tensor, torch
from ffattn.tasks.base import Task
from ffattn.tasks.batch import Batch

_VALUES = 0  # a field of the stream
_FIRST_MARK = 1  # likewise
_SECOND_MARK = 2  # likewise
_LAST_FIRST_MARK = 9


@dataclass
class MarkedPair(Task):
    """Feature 0 is a value, feature 1 is -1 at the first and the last step, 1 at two marks, and 0 elsewhere.

    The first mark N1 is uniform on 1..9. The second, N2, is uniform on 1 .. int(length / 2 - 1) - 1, and one more
    where it equals N1; it may come before N1. Both are drawn from the sequence's own length.

    Example:
        The addition task with eleven steps, N1 = 2 and N2 = 4 (rounded; the target is 0.5 + (0.5 - 0.3) / 4 = 0.55):

            value   .8  -.1   .5  -.6  -.3   .9  -.2   .4   .1  -.7   .3
            marker  -1    0    1    0    1    0    0    0    0    0   -1

    Class variables:
        values: The numbers that a value is one of.

    Source:
        Raffel & Ellis, section 2.2, and the authors' generators. Those draw N2 from the longest possible length, so
        that a mark could fall into padding; the two rules agree where all sequences have the same length.
    """

    feature_names: ClassVar[tuple[str, ...]] = ("value", "marker")
    num_outputs: ClassVar[int] = 1
    values: ClassVar[Grid]
    min_length: ClassVar[int] = _LAST_FIRST_MARK + 2

    @abstractmethod
    def target(self, first: Float[Tensor, " batch"], second: Float[Tensor, " batch"]) -> Tensor:
        """The answer for the values at the two marks, (batch, output) or (batch,)."""

    def sample(self, window: BatchWindow) -> Batch:
        """Make sequences (see `Task.sample`)."""
        relevant = self._relevant_steps(window)
        first, second = window.values_at(_VALUES, self.values, relevant).unbind(1)
        x = window.values(_VALUES, self.values, len(self.feature_names))
        ends = torch.stack((torch.zeros_like(window.lengths), window.lengths - 1), dim=1)
        signs = torch.cat((-torch.ones_like(ends), torch.ones_like(relevant)), dim=1)
        window.set_steps(x[..., 1:], torch.cat((ends, relevant), dim=1), signs[..., None])
        return Batch(x, window.lengths, self.target(first, second), relevant)

    def _relevant_steps(self, window: BatchWindow) -> Int[Tensor, "batch 2"]:
        first = window.integers(_FIRST_MARK, 1, _LAST_FIRST_MARK)
        second = window.integers(_SECOND_MARK, 1, window.lengths // 2 - 2)
        return torch.stack((first, second + (second == first)), dim=1)
