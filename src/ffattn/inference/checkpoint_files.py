"""Where checkpoints are, without what is needed to read them."""

from pathlib import Path

from ffattn.errors import CheckpointError

KEY = "ffattn"  # where a checkpoint holds the settings, and the place of the run
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"  # the last but one, should the last be damaged


def checkpoints_of(folder: Path) -> Path:
    """Return the folder of a run's checkpoints."""
    return folder / "checkpoints"


def require_file(path: str | Path) -> None:
    """Refuse a checkpoint that is not there.

    Args:
        path: The file.

    Raises:
        CheckpointError: There is none.
    """
    if Path(path).is_dir():
        raise CheckpointError(f"{path}: is a folder, not a checkpoint file")
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: there is no such file")
