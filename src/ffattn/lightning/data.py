"""Batches made on the spot, on the device that needs them; each a pure function of its number."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ffattn.rng.streams import Split, Stream, split_range
from ffattn.tasks import Task
from ffattn.tasks.batch import Batch

# (sequence, step) pairs: small batches are made several at a time, since a call has a fixed cost
_MADE_AT_ONCE = {"cpu": 2**18, "cuda": 2**24}


class BatchLoader:
    """A sized iterable over batch numbers.

    Args:
        make: Makes the batches with some numbers.
        numbers: The numbers to go through, asked for anew by every iteration.
        size: What Lightning takes for the length: batches between two validations, even where a resumed run has fewer
            left.
        group: How many batches are made at a time.
    """

    def __init__(
        self, make: Callable[[range], list[Batch]], numbers: Callable[[], range], size: int, group: int = 1
    ) -> None:
        self.make = make
        self.numbers = numbers
        self.size = size
        self.group = group

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Batch]:
        numbers = self.numbers()
        for first in range(0, len(numbers), self.group):
            yield from self.make(numbers[first : first + self.group])

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the place in the stream is the optimiser's step, which Lightning keeps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is nothing to restore."""


class SequenceData(LightningDataModule):
    """Streams a task's batches: training without end, and fixed validation and test sets.

    Under several processes, each makes its own part of every batch, of the sequences or of their time, so that a run
    has the same data whatever their number.

    Args:
        task: Makes the sequences.
        seed: Of all of them.
        batch_size: Sequences in a batch, over all processes.
        sequences: Sequences in the validation set, and in the test set, unless the task has its own.
        validate_every: Updates between two validations.
        distinct_batches: Train on the first so many batches again and again, and validate on them; or None. So does the
            Trainer's `overfit_batches`.
        divides_time: Whether processes divide the time of all sequences, rather than the sequences.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int = 0,
        batch_size: int = 100,
        sequences: int = 1000,
        validate_every: int = 1000,
        distinct_batches: int | None = None,
        divides_time: bool = False,
    ) -> None:
        super().__init__()
        self.task = task
        self.seed = seed
        self.batch_size = batch_size
        self.sequences = sequences
        self.validate_every = validate_every
        self.distinct_batches = distinct_batches
        self.divides_time = divides_time

    def train_dataloader(self) -> BatchLoader:
        """Return batches from the optimiser's step on, to the next validation."""
        return BatchLoader(self.training_batches, self._until_validation, self._epoch, self._group())

    def val_dataloader(self) -> BatchLoader:
        """Return the validation set; under `distinct_batches` the training batches."""
        count = self._distinct
        if count is None:
            return self._evaluation(Split.VAL)
        return BatchLoader(self.training_batches, lambda: range(count), count)

    def test_dataloader(self) -> BatchLoader:
        """Return the test set."""
        return self._evaluation(Split.TEST)

    def predict_dataloader(self) -> BatchLoader:
        """Return the test set, for `Trainer.predict`."""
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Return the batch: it was made on the device."""
        return batch

    def training_batches(self, numbers: range) -> list[Batch]:
        """Make the training batches with some numbers, or this process's parts of them.

        Args:
            numbers: Only one where a length depends on the batch.
        """
        distinct = self._distinct
        real = [number % distinct if distinct else number for number in numbers]
        parts = [self._own_sequences(number * self.batch_size, (number + 1) * self.batch_size) for number in real]
        stream = Stream(self.seed, Split.TRAIN)
        together = self.task.training_batch(stream, real[0], torch.cat(parts), self._window)
        columns = (column.split(len(parts[0])) for column in together)
        return [Batch(*columns) for columns in zip(*columns, strict=True)]

    def _group(self) -> int:
        pairs = self.batch_size * self.task.length.longest
        return 1 if self.task.length.depends_on_batch else max(1, _MADE_AT_ONCE.get(self._device.type, 0) // pairs)

    def _evaluation(self, split: Split) -> BatchLoader:
        total = self.task.size(split) or self.sequences
        count = -(-total // self.batch_size)
        return BatchLoader(partial(self._evaluation_batches, split, total), lambda: range(count), count)

    def _evaluation_batches(self, split: Split, total: int, numbers: range) -> list[Batch]:
        first = numbers[0] * self.batch_size
        sequences = self._own_sequences(first, min(first + self.batch_size, total))
        if not len(sequences):  # of the last few
            return []
        return [self.task.evaluation_batch(Stream(self.seed, split), total, sequences, self._window)]

    def _until_validation(self) -> range:
        update = self.trainer.global_step if self.trainer else 0
        is_cut = self.trainer is not None and self.trainer.limit_train_batches != 1.0  # then Lightning ends an epoch
        end = (update if is_cut else update // self.validate_every * self.validate_every) + self.validate_every
        return range(update * self._batches, end * self._batches)

    @property
    def _batches(self) -> int:
        """How many batches are in an update, which the Trainer knows."""
        return self.trainer.accumulate_grad_batches if self.trainer else 1

    @property
    def _epoch(self) -> int:
        """How many batches are between two validations."""
        return self.validate_every * self._batches

    @property
    def _distinct(self) -> int | None:
        """How many batches are trained on again and again: as is set here, or by the Trainer's `overfit_batches`."""
        asked = self.trainer.overfit_batches if self.trainer else 0  # type: ignore[attr-defined]
        if not asked:
            return self.distinct_batches
        return asked if isinstance(asked, int) else max(1, int(asked * self._epoch))

    def _own_sequences(self, first: int, stop: int) -> Tensor:
        """Return the sequence numbers of this process's part, on its device."""
        low, high = (0, stop - first) if self.divides_time else split_range(stop - first, *self._part)
        return torch.arange(first + low, first + high, device=self._device)

    @property
    def _window(self) -> tuple[int, int]:
        """Which part of how many of the time of all sequences is made."""
        return self._part if self.divides_time else (0, 1)

    @property
    def _part(self) -> tuple[int, int]:
        """Which part of how many is this process's."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
