"""How a checkpoint is written: whole or not at all, whenever the process ends."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ffattn.errors import TrainingError, reason_of
from ffattn.inference.checkpoint_files import LAST, PREVIOUS
from ffattn.system.atomic_files import sync


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, sync, rename: a file of that name is always whole, and the last but one is kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Tensors and plain values.
            path: The file, replaced if it exists.
            storage_options: Not used.

        Raises:
            TrainingError: The disk is full, or the folder cannot be written to; what was there before is untouched.
        """
        target = Path(path)
        part = target.with_suffix(".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(checkpoint, part)
        except (OSError, RuntimeError) as error:  # torch's writer has errors of its own, behind which is the system's
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise TrainingError(
                f"{target}: cannot be written: {reason_of(error)}; what was saved before is whole"
            ) from error
        if target.name == LAST and target.exists():
            target.replace(target.with_name(PREVIOUS))
        part.replace(target)
        sync(target.parent)


def _write_synced(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(checkpoint, file)
    sync(path)
