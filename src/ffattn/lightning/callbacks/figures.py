"""Pictures of attention while it is trained: in TensorBoard, and as files beside the run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from PIL import Image

from ffattn.figures.attention import draw_all
from ffattn.figures.html import page, paragraph, slides
from ffattn.figures.record import record_attention
from ffattn.lightning.loggers.tensorboard import boards_of
from ffattn.models import FeedForwardNetwork
from ffattn.rng.streams import Split, Stream
from ffattn.system.atomic_files import atomic_write
from ffattn.tasks import Task

_STEPS = 2**21  # (sequence, step) pairs that are looked at, at most
_SEQUENCES = 200
_FRAME = 500  # milliseconds of an animation


class Pictures(Callback):
    """Draw what the network does with sequences of the validation set.

    Writes `NAME_UPDATE.png` at every time, and at the end `index.html`, in which the times can be gone through, and
    `NAME.gif`. A run that is resumed goes on with the files that are there.

    Args:
        every: Validations between pictures; the last validation has some in any case.
        seed: Of the sequences.
        folder: Where the files go.
    """

    def __init__(self, every: int, seed: int, folder: Path) -> None:
        self.every = every
        self.stream = Stream(seed, Split.VAL)
        self.folder = folder
        self.drawn: int | None = None  # the update of the last pictures

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw, if it is time."""
        if -(-trainer.global_step // trainer.num_training_batches) % self.every == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last state, and put everything together."""
        if self.drawn != trainer.global_step:
            self._draw(trainer, pl_module)
        _write_page(self.folder, pl_module.task.summary())
        if isinstance(pl_module.network, FeedForwardNetwork):
            contexts = _contexts(pl_module.network, pl_module.task, self.stream)
            for board in boards_of(trainer.loggers):
                board.add_embedding(*contexts, global_step=trainer.global_step, tag="context")

    def _draw(self, trainer: Trainer, pl_module: Any) -> None:
        task = pl_module.task
        network = pl_module.network
        was_training = network.training
        self.drawn = trainer.global_step
        with _averaged(trainer, pl_module):
            figures = draw_all(network, record_attention(network.eval(), task, self.stream, _num_sequences(task)))
        network.train(was_training)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            with atomic_write(self.folder / f"{name}_{self.drawn:09d}.png") as part:
                figure.savefig(part)
            for board in boards_of(trainer.loggers):
                board.add_figure(f"pictures/{name}", figure, self.drawn, close=False)


@contextmanager
def _averaged(trainer: Trainer, module: Any) -> Iterator[None]:
    """Put averaged weights, where there are any, in their places, as for a validation: scores are of these."""
    averaging = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    for callback in averaging:
        callback.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for callback in averaging:
            callback.on_validation_epoch_end(trainer, module)


def _num_sequences(task: Task) -> int:
    return max(1, min(_SEQUENCES, _STEPS // task.length.longest))


@torch.inference_mode()
def _contexts(network: FeedForwardNetwork, task: Task, stream: Stream) -> tuple[torch.Tensor, list[str]]:
    """Return what attention makes of some sequences, (batch, hidden), and their targets in words."""
    parameter = next(network.parameters())
    total = min(_num_sequences(task), task.size(stream.split) or _STEPS)
    batch = task.evaluation_batch(stream, total, torch.arange(total, device=parameter.device))
    contexts = network.attention(network.position(batch.x.to(parameter.dtype), batch.lengths), batch.lengths)
    return contexts.float().cpu(), [f"{float(y):.3g}" for y in batch.y.reshape(total, -1)[:, 0]]


def _write_page(folder: Path, title: str) -> None:
    """Write the pictures of all times, as one page and as animations."""
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.png")):
        if found := re.fullmatch(r"([a-z_]+)_\d+", path.stem):
            by_name.setdefault(found[1], []).append(path)
    parts = [paragraph("Choose an update: a click, or an arrow key after one.")]
    for name, paths in by_name.items():
        labels = {f"{int(path.stem.rpartition('_')[2]):,}": path.read_bytes() for path in paths}
        parts.append(slides(name.replace("_", " "), labels))
        first, *others = (Image.open(path) for path in paths)
        with atomic_write(folder / f"{name}.gif") as part:
            first.save(part, save_all=True, append_images=others, duration=_FRAME, loop=0)
    with atomic_write(folder / "index.html") as part:
        part.write_text(page(f"{title}, while it was trained", parts))
