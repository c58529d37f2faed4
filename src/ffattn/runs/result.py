"""`result.json`: what a finished run leaves behind."""

import json
from pathlib import Path
from typing import Any

from ffattn.config.errors import DamagedError
from ffattn.system.atomic_files import whole

RESULT = "result.json"


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write `result.json`, whole or not at all.

    Args:
        folder: The run directory.
        result: Plain values.
    """
    with whole(folder / RESULT) as part:
        part.write_text(json.dumps(result, indent=2, allow_nan=True) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None.

    Args:
        folder: The run directory.

    Raises:
        DamagedError: The file is not what `write_result` wrote.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text())
    except ValueError:
        result = None
    if not isinstance(result, dict) or "settings" not in result:
        raise DamagedError(f"{path}: not a result, or a damaged one; remove it, and it is computed again")
    return result
