"""What a run directory holds, and where a run that is to be written there starts."""

from pathlib import Path
from typing import Any, NamedTuple

from ffattn.checkpoint import KEY, build_network, load_weights, read
from ffattn.config.errors import ConfigError
from ffattn.config.schema import Train
from ffattn.report import RESULT, read_result
from ffattn.settings import TARGET, to_plain

_LAST = "last.ckpt"
_FIXED = ("task", "model", "optim", "seed", "batch_size", "precision")  # a resumed run must not change these
_FIXED_TRAINER = ("validate_every", "sequences", "accumulate", "gradient_clip", "ema_decay", "distinct_batches")


class Start(NamedTuple):
    """Where a run starts.

    Attributes:
        checkpoint: The checkpoint to continue, or None for a fresh start.
        is_trained: Whether training has ended; test and result may be missing still.
        result: The result, if the run has finished altogether.
    """

    checkpoint: Path | None = None
    is_trained: bool = False
    result: dict[str, Any] | None = None


FRESH = Start()


def checkpoints_of(folder: Path) -> Path:
    """The folder of a run's checkpoints."""
    return folder / "checkpoints"


def find_start(settings: Train, folder: Path) -> Start:
    """Find where a run starts, and refuse what would lose or mix up another one.

    Args:
        settings: The run.
        folder: Where it is to be written.

    Returns:
        The start.

    Raises:
        ConfigError: The directory holds a run and `resume` is not set, or the checkpoint to resume was trained with
            other settings.
        CheckpointError: A file named is no checkpoint.
    """
    last = checkpoints_of(folder) / _LAST
    if settings.init_from is not None:
        load_weights(build_network(settings.model, settings.task), read(settings.init_from), settings.init_from)
    if settings.resume is None:
        if last.exists() or (folder / RESULT).exists():
            raise ConfigError(
                f"{folder}: holds a run already; continue it with resume=last, or choose another hydra.run.dir"
            )
        return FRESH
    checkpoint = last if settings.resume == "last" else Path(settings.resume)
    if settings.resume == "last" and not last.exists():
        return FRESH
    return _continue(settings, checkpoint)


def _continue(settings: Train, checkpoint: Path) -> Start:
    about = read(checkpoint)[KEY]
    _refuse_changes(to_plain(settings), about["settings"], checkpoint)
    is_solved = about["stopped_because"] == "solved" and settings.trainer.stop_when_solved
    if not is_solved and about["update"] < settings.updates:
        return Start(checkpoint)
    return Start(checkpoint, is_trained=True, result=read_result(checkpoint.parents[1]))


def _refuse_changes(now: dict[str, Any], before: dict[str, Any], checkpoint: Path) -> None:
    pairs = [(key, now[key], before[key]) for key in _FIXED]
    pairs += [(f"trainer.{key}", now["trainer"][key], before["trainer"][key]) for key in _FIXED_TRAINER]
    changed = [line for key, new, old in pairs for line in _differences(key, new, old)]
    if changed:
        raise ConfigError("\n".join([f"resume={checkpoint}: was trained with other settings", *changed]))


def _differences(key: str, new: Any, old: Any) -> list[str]:
    if isinstance(new, dict) and isinstance(old, dict):
        if new[TARGET] != old[TARGET]:
            new, old = new[TARGET], old[TARGET]
        else:
            names = new.keys() | old.keys()
            return [line for name in names for line in _differences(f"{key}.{name}", new.get(name), old.get(name))]
    return [f"{key}={new}: the checkpoint has {old}"] if new != old else []
