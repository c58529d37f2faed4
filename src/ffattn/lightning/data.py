"""Batches made on the spot, on the device that needs them; each a pure function of its number."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ffattn.batch import Batch
from ffattn.streams import Split, Stream
from ffattn.tasks import Task


class Batches:
    """A sized iterable over batch numbers.

    Args:
        make: Makes the batch with a number.
        numbers: The numbers to go through, asked for anew by every iteration.
        size: What Lightning takes for the length: of a whole epoch, even where a resumed one has fewer left.
    """

    def __init__(self, make: Callable[[int], Batch], numbers: Callable[[], range], size: int) -> None:
        self.make, self.numbers, self.size = make, numbers, size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make, self.numbers())

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the place in the stream is the optimiser's step, which Lightning keeps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class SequenceData(LightningDataModule):
    """Streams a task's batches: training without end, and fixed validation and test sets.

    Under several processes, each makes its own part of every batch, so that a run has the same sequences whatever
    their number.

    Args:
        task: Makes the sequences.
        seed: Of all of them.
        batch_size: Sequences in a batch, over all processes.
        sequences: Sequences in the validation set, and in the test set.
        epoch: Updates in an epoch.
        accumulate: Batches in an update.
        distinct_batches: Train on the first so many batches again and again, and validate on them; or None.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int = 0,
        batch_size: int = 100,
        sequences: int = 1000,
        epoch: int = 1000,
        accumulate: int = 1,
        distinct_batches: int | None = None,
    ) -> None:
        super().__init__()
        self.task, self.seed, self.batch_size, self.sequences = task, seed, batch_size, sequences
        self.epoch, self.accumulate, self.distinct_batches = epoch, accumulate, distinct_batches

    def train_dataloader(self) -> Batches:
        """Batches from the optimiser's step on, to the end of the epoch."""
        return Batches(self.training_batch, self._rest_of_epoch, self.epoch * self.accumulate)

    def val_dataloader(self) -> Batches:
        """The validation set; under `distinct_batches` the training batches."""
        if self.distinct_batches is None:
            return self._evaluation(Split.VAL)
        count = self.distinct_batches
        return Batches(self.training_batch, lambda: range(count), count)

    def test_dataloader(self) -> Batches:
        """The test set."""
        return self._evaluation(Split.TEST)

    def training_batch(self, number: int) -> Batch:
        """The training batch with a number, or this process's part of it."""
        number = number % self.distinct_batches if self.distinct_batches else number
        first = number * self.batch_size
        sequences = self._share(first, first + self.batch_size)
        return self.task.training_batch(Stream(self.seed, Split.TRAIN), number, sequences)

    def _evaluation(self, split: Split) -> Batches:
        def make(number: int) -> Batch:
            first = number * self.batch_size
            sequences = self._share(first, min(first + self.batch_size, self.sequences))
            return self.task.evaluation_batch(Stream(self.seed, split), self.sequences, sequences)

        count = -(-self.sequences // self.batch_size)
        return Batches(make, lambda: range(count), count)

    def _rest_of_epoch(self) -> range:
        update = self.trainer.global_step if self.trainer else 0
        end = (update // self.epoch + 1) * self.epoch
        return range(update * self.accumulate, end * self.accumulate)

    def _share(self, first: int, stop: int) -> Tensor:
        """Sequence numbers of this process's part, on its device."""
        if self.trainer is None:
            return torch.arange(first, stop)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        low, high = (first + (stop - first) * part // world for part in (rank, rank + 1))
        return torch.arange(low, high, device=self.trainer.strategy.root_device)
