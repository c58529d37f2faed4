"""A race of learning rates: where one has solved the task, the others need no more updates than it made."""

from pathlib import Path
from typing import Any

from ffattn.config.errors import DamagedError
from ffattn.config.schema import Train
from ffattn.runs.differences import decisive_differences
from ffattn.runs.result import RESULT, read_result
from ffattn.settings import to_plain


def updates_to_beat(settings: Train, folder: Path) -> int | None:
    """Find the fewest updates in which another learning rate has solved the task; None if none has.

    Args:
        settings: The run.
        folder: Its directory; others are looked for beside it.
    """
    now = to_plain(settings)
    folder = folder.absolute()
    beside = (_result_or_none(path.parent) for path in folder.parent.glob(f"*/{RESULT}") if path.parent != folder)
    solved = [result for result in beside if result is not None and result.get("stopped_because") == "solved"]
    return min((result["updates"] for result in solved if _is_rival(now, result["settings"])), default=None)


def _result_or_none(folder: Path) -> dict[str, Any] | None:
    try:
        return read_result(folder)
    except DamagedError:  # is told by the run itself
        return None


def _is_rival(now: dict[str, Any], other: dict[str, Any]) -> bool:
    return [difference.key for difference in decisive_differences(now, other)] == ["optim.lr"]
