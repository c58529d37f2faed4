"""Curves in a file that any program reads."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from torch import Tensor

from ffattn.system.atomic_files import atomic_write

_FILE = "metrics.csv"
_HELD_BACK = 100  # updates of which rows may be kept in memory


class CSVFileLogger(Logger):
    """Write `metrics.csv`, a row for each call and a column for each name, and go on with the one that is there.

    Lightning's own logger starts by deleting the file, whose rows no kill may cost.

    Args:
        folder: The run directory.
        update: How many updates have been made; rows of later ones are dropped, since they will be logged again.
    """

    def __init__(self, folder: Path, update: int = 0) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / _FILE
        self.held_back: list[dict[str, Any]] = []
        self.columns: list[str] = _take_up(self.path, update) if self.path.exists() else []

    @property
    def name(self) -> str:
        """Nothing: the file lies in the run directory."""
        return ""

    @property
    def version(self) -> str:
        """Likewise."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.path.parent)

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Do nothing: the settings are in `.hydra` and in `result.json`."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics: Numbers by name, or tensors of one.
            step: The update that they belong to.
        """
        assert step is not None
        row = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.held_back.append(row | {"step": step})
        if (step + 1) % _HELD_BACK == 0:
            self.save()

    def save(self) -> None:
        """Write the rows that are held back, after a header with all names so far."""
        if not self.held_back:
            return
        columns = sorted(set(self.columns).union(*self.held_back))
        if columns != self.columns or not self.path.exists():
            _rewrite(self.path, columns)
            self.columns = columns
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, columns).writerows(self.held_back)
        self.held_back = []

    def finalize(self, status: str) -> None:
        """Write the rest.

        Args:
            status: How the run ended.
        """
        self.save()


def make_csv(folder: Path, settings: dict[str, Any], update: int) -> CSVFileLogger:
    """Make the logger of a run.

    Args:
        folder: The run directory.
        settings: Of the run; not written.
        update: How many updates have been made.
    """
    return CSVFileLogger(folder, update)


def _take_up(path: Path, update: int) -> list[str]:
    """Drop rows that will be logged again, and a torn one; return the columns."""
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    if not lines:
        path.unlink()
        return []
    columns = lines[0].strip().split(",")
    rows = (dict(zip(columns, line.strip().split(","), strict=False)) for line in lines[1:])
    kept = [line for line, row in zip(lines[1:], rows, strict=True) if _is_past(row, update)]
    with atomic_write(path) as part, part.open("w", newline="") as file:
        file.writelines([lines[0], *kept])
    return columns


def _is_past(row: dict[str, str], update: int) -> bool:
    """Return whether a row will not be written again: a test comes after the last update, and has its number."""
    step = int(row["step"])
    is_test = any(name.startswith("test/") and value for name, value in row.items())
    return step < update or (step == update and not is_test)


def _rewrite(path: Path, columns: list[str]) -> None:
    """Give a CSV file further columns, or a header, whole or not at all."""
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
