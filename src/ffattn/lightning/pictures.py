"""Pictures of attention in TensorBoard, made between training and training."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ffattn.pictures import draw_all, look
from ffattn.streams import Split, Stream

_STEPS = 2**21  # (sequence, step) pairs that are looked at, at most
_SEQUENCES = 200


class Pictures(Callback):
    """Draw what the network does with sequences of the validation set.

    Args:
        every: Validations between pictures; the last validation has some in any case.
        seed: Of the sequences.
    """

    def __init__(self, every: int, seed: int) -> None:
        self.every, self.stream, self.validations = every, Stream(seed, Split.VAL), 0

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw, if it is time."""
        self.validations += 1
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not boards or (self.validations % self.every and not trainer.should_stop):
            return
        task, network = pl_module.task, pl_module.network
        sequences = max(1, min(_SEQUENCES, _STEPS // task.length.longest))
        for name, figure in draw_all(network, look(network, task, self.stream, sequences)).items():
            for board in boards:
                board.experiment.add_figure(f"pictures/{name}", figure, trainer.global_step, close=False)
