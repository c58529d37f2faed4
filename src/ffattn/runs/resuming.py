"""What a run directory holds, and where a run that is to be written there starts."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ffattn.config.errors import ConfigError, DamagedError
from ffattn.config.schema import Train
from ffattn.errors import CheckpointError
from ffattn.files.fingerprint import changes
from ffattn.inference.checkpoint import read
from ffattn.inference.checkpoint_files import BEST, KEY, LAST, PREVIOUS, checkpoints_of
from ffattn.runs.differences import decisive_differences
from ffattn.runs.result import RESULT, read_result
from ffattn.runs.starting_weights import check_init_from
from ffattn.settings import to_plain
from ffattn.tasks import GivenTask

# what a checkpoint must have of Lightning's to be continued
_KINDS = {"epoch": int, "global_step": int, "loops": dict, "optimizer_states": list, "lr_schedulers": list}
# what it must have of ours
_OWN_KINDS = {"seconds": float, "best": dict, "stopped_because": str | None}


class Start(NamedTuple):
    """Where a run starts.

    Attributes:
        checkpoint: The checkpoint to continue, or None for a fresh start.
        best: The best checkpoint so far, to be brought along from another directory; or None.
        is_trained: Whether training has ended, so that only the test is missing.
        result: The result, if the run has finished altogether.
        update: How many updates have been made.
        note: In what the run will differ from one that was never stopped, if it will.
    """

    checkpoint: Path | None = None
    best: Path | None = None
    is_trained: bool = False
    result: dict[str, Any] | None = None
    update: int = 0
    note: str = ""

    @property
    def source(self) -> Path:
        """The directory of the run that is continued."""
        assert self.checkpoint is not None
        return self.checkpoint.parent.parent


FRESH = Start()


def find_start(settings: Train, folder: Path | None) -> Start:
    """Find where a run starts, and refuse what would lose or mix up another one.

    Args:
        settings: The run.
        folder: Where it is to be written; None while that is not known, which leaves out what depends on it.

    Returns:
        The start.

    Raises:
        ConfigError: The directory cannot be made or holds a run that is not to be continued, or a file named is no
            checkpoint, or one that was trained with other settings.
        DamagedError: A file of the run in the directory cannot be read.
    """
    check_init_from(settings)
    if folder is not None:
        _require_folder(folder)
    if settings.resume not in (None, "last"):
        return _continue(settings, folder, Path(settings.resume))
    if folder is None:
        return FRESH
    if settings.resume == "last":
        last = _last_whole(checkpoints_of(folder))
        return _kept(settings, folder) if last is None else _continue(settings, folder, last)
    if _holds_run(folder):
        raise ConfigError(f"{folder}: holds a run already; continue it with resume=last, or choose another directory")
    return FRESH


def interrupted(folder: Path) -> str:
    """Return what is said of a run that a signal has ended.

    Args:
        folder: The run directory.
    """
    return f"interrupted; continue with hydra.run.dir={folder} resume=last"


def _holds_run(folder: Path) -> bool:
    return any((checkpoints_of(folder) / name).exists() for name in (LAST, PREVIOUS)) or (folder / RESULT).exists()


def _last_whole(folder: Path) -> Path | None:
    """Return the last checkpoint, or the one before if that is damaged, which is said, or was just being replaced."""
    last = folder / LAST
    previous = folder / PREVIOUS
    if not previous.exists():
        return last if last.exists() else None
    try:
        read(last)
    except CheckpointError as error:
        if last.exists():
            print(f"{error}; going on from {previous.name}, the one before it", file=sys.stderr)
        return previous
    return last


def _require_folder(folder: Path) -> None:
    """Check that the directory can be made, without making it."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"{folder}: cannot be a run directory, since {existing} is a file")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{folder}: cannot be a run directory, since {existing} cannot be written to")


def _lacking(found: dict[str, Any], kinds: dict[str, Any]) -> list[str]:
    return [name for name, kind in kinds.items() if not isinstance(found.get(name), kind)]


def settle(start: Start) -> Start:
    """Put the checkpoint before the last one in its place, if that is where a run starts.

    Args:
        start: What `find_start` returned.

    Returns:
        The same start from `last.ckpt`.
    """
    if start.checkpoint is None or start.checkpoint.name != PREVIOUS:
        return start
    return start._replace(checkpoint=start.checkpoint.replace(start.checkpoint.with_name(LAST)))


def _about(checkpoint: Path, is_named: bool) -> dict[str, Any]:
    try:
        contents = read(checkpoint)
        lacking = [*_lacking(contents, _KINDS), *_lacking(contents[KEY], _OWN_KINDS)]
        if lacking:
            raise CheckpointError(f"{checkpoint}: cannot be continued, since it has no proper {lacking[0]}")
        return dict(contents[KEY])
    except CheckpointError as error:
        if is_named:
            raise ConfigError(f"resume={error}") from error
        raise DamagedError(f"{error}; remove {checkpoint.parent}, and the run starts anew") from error


def _continue(settings: Train, folder: Path | None, checkpoint: Path) -> Start:
    about = _about(checkpoint, settings.resume != "last")
    checkpoint = checkpoint.absolute()
    try:
        _refuse_changes(settings, about["settings"], checkpoint)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"resume={checkpoint}: a damaged checkpoint, without proper settings") from error
    _refuse_other_data(settings, about, checkpoint)
    is_own = folder is not None and checkpoint.parent.resolve() == checkpoints_of(folder).resolve()
    if folder is not None and not is_own and _holds_run(folder):
        raise ConfigError(f"{folder}: holds another run than resume={checkpoint}; choose another directory")
    if _has_ended(settings, about["settings"], about["stopped_because"], about["update"]):
        return _start_of_ended(checkpoint, about, is_own)
    best = None if is_own else _best_beside(checkpoint, about)
    return Start(checkpoint, best, update=about["update"], note=_moved_horizon(settings, about))


def _moved_horizon(settings: Train, about: dict[str, Any]) -> str:
    """Say that the schedule is another than before, if it is: weights are then not those of an undisturbed run."""
    before = about["settings"].get("updates", settings.updates)
    optim = settings.optim
    if optim.schedule == "constant" or optim.horizon is not None or settings.updates == before:
        return ""
    return (
        f"optim.schedule={optim.schedule} now ends at update {settings.updates}, and ended at {before} until update "
        f"{about['update']}: the weights will not be those of an undisturbed run; a run that is to be made longer "
        f"needs optim.horizon={settings.updates} from its start"
    )


def _kept(settings: Train, folder: Path) -> Start:
    """Take a finished run of which only the result has been kept for done, if it was the same one."""
    result = read_result(folder)
    if result is None:
        return FRESH
    if changed := decisive_differences(to_plain(settings), result["settings"]):
        lines = [difference.line("the result") for difference in changed]
        raise ConfigError("\n".join([f"{folder}: holds the result of a run with other settings", *lines]))
    if not _has_ended(settings, result["settings"], result["stopped_because"], result["updates"]):
        raise ConfigError(f"{folder}: its checkpoints are gone, so that it cannot go on; choose another directory")
    return Start(checkpoints_of(folder) / LAST, is_trained=True, result=result, update=result["updates"])


def _has_ended(settings: Train, before: dict[str, Any], reason: str | None, updates: int) -> bool:
    """Return whether nothing is left to train after so many updates."""
    options = settings.trainer
    is_over = (reason == "solved" and options.stop_when_solved) or (reason == "raced" and options.race)
    is_too_early = (
        before["trainer"].get("min_updates", 0) < options.min_updates > updates
    )  # earlier versions had no least
    is_over |= reason == "patience" and options.patience == before["trainer"]["patience"] and not is_too_early
    return is_over or updates >= settings.updates


def _start_of_ended(checkpoint: Path, about: dict[str, Any], is_own: bool) -> Start:
    start = Start(checkpoint, is_trained=True, update=about["update"])
    result = read_result(start.source)
    if result is not None and result.get("updates") == about["update"]:  # else it is of a shorter run, before a resume
        return start._replace(result=result)
    if not is_own:
        raise ConfigError(
            f"resume={checkpoint}: has made its {about['update']} updates; give more, or finish it in its own directory"
        )
    return start


def _best_beside(checkpoint: Path, about: dict[str, Any]) -> Path | None:
    """Find the best checkpoint of a run that is continued elsewhere, which could otherwise end with none."""
    best = checkpoint.with_name(BEST)
    if not about["best"]:  # it was interrupted before its first validation
        return None
    if about["best"]["update"] == about["update"]:
        return checkpoint
    if not best.exists() or _about(best, True)["update"] != about["best"]["update"]:
        update = about["best"]["update"]
        raise ConfigError(f"resume={checkpoint}: {BEST} of update {update}, its best so far, must lie beside it")
    return best


def _refuse_other_data(settings: Train, about: dict[str, Any], checkpoint: Path) -> None:
    other = f"resume={checkpoint}: was trained on other data than what is read now"
    before = about.get("fingerprint")  # checkpoints have had one since 0.1.0
    if before and isinstance(settings.task, GivenTask) and (found := changes(settings.task.fingerprint(), before)):
        raise ConfigError(f"{other}: {found}; train anew, from its weights with init_from={checkpoint} if you like")
    state = settings.task.state()
    kept = about.get("data", {})
    if bool(kept) != bool(state) or state | kept != state:  # what it lacks was not kept when it was written
        raise ConfigError(other)


def _refuse_changes(settings: Train, before: dict[str, Any], checkpoint: Path) -> None:
    now = to_plain(settings)
    if settings.resume != "last":  # which cannot be combined with init_from
        now["init_from"] = before["init_from"]
    changed = [difference.line("the checkpoint") for difference in decisive_differences(now, before)]
    if changed:
        raise ConfigError("\n".join([f"resume={checkpoint}: was trained with other settings", *changed]))
