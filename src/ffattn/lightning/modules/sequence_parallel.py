"""Training with sequences that are divided over processes in time."""

from typing import Any

import torch
from torch import distributed

from ffattn.errors import TrainingError
from ffattn.lightning.modules.base import SequenceModule
from ffattn.models import Answer
from ffattn.rng.streams import split_range
from ffattn.tasks.batch import Batch


class DividedModule(SequenceModule):
    """Trains as `SequenceModule` does; every process has a stretch of time of every sequence of the batch.

    Each reduces its own steps, all exchange what these add up to (see `nn.exchange`), and each computes the rest of the
    network, the loss and the update, which are the same in all. DistributedDataParallel's mean over the processes makes
    the gradient that of one process.

    Example:
        DividedModule(task, model, seed=0)  # the arguments are those of `SequenceModule`
    """

    def _pool(self, batch: Batch) -> Any:
        """Return the state of attention over all processes' steps."""
        time = self.task.length.padded(batch.lengths)
        start, stop = split_range(time, self.trainer.global_rank, self.trainer.world_size)
        lengths = (batch.lengths - start).clamp(0, stop - start)
        network: Any = self.network
        return network.start(batch.lengths).update(batch.x, lengths, start).merge_all()

    def forward(self, batch: Batch) -> Answer:
        """Return the network's answers."""
        return Answer(self._pool(batch).finish())

    def forward_with_weights(self, batch: Batch) -> Answer:
        """Return the network's answers, and one weight for a whole sequence: zero where all of its weights are."""
        state = self._pool(batch)
        return Answer(state.finish(), (state.attention.pooled.total != 0).float()[:, None])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Check before the first batch that a task makes the same targets from every stretch of time."""
        super().on_train_batch_start(batch, batch_idx)
        if batch_idx == 0:
            others = [torch.empty_like(batch.y) for _ in range(self.trainer.world_size)]
            distributed.all_gather(others, batch.y)
            if not all(torch.equal(batch.y, other) for other in others):
                raise TrainingError(f"task={self.task.name}: its targets depend on the window of time that is made")
