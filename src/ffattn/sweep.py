"""What becomes of the jobs of a sweep: a line when each one ends, a table at the end, and `sweep.csv`."""

import csv
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ffattn.config.jobs import Place, Sweep, is_busy
from ffattn.errors import FFAttnError
from ffattn.report import read_result

FAILURE = "failure.txt"
TABLE = "sweep.csv"
DONE, SKIPPED, FAILED, RUNNING = "done", "skipped", "failed", "running"
_COLUMNS = "job", "state", "solved", "epochs", "seconds", "reason"


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        folder: Its run directory.
        state: `done`, `skipped` (had finished before the sweep started), `failed`, or `running` (in another process).
        reason: Why it failed.
        result: What `result.json` holds; None unless it is done.
    """

    folder: Path
    state: str
    reason: str = ""
    result: dict[str, Any] | None = None

    def row(self, root: Path) -> dict[str, Any]:
        """A row of the table.

        Args:
            root: The sweep's directory, which jobs are named from.
        """
        values: dict[str, Any] = {"job": os.path.relpath(self.folder, root), "state": self.state, "reason": self.reason}
        if self.result is not None:
            values |= {name: self.result[name] for name in ("epochs", "seconds") if name in self.result}
            values["solved"] = _solved(self.result)
        return {name: values.get(name, "") for name in _COLUMNS}


def _solved(result: dict[str, Any]) -> float:
    """The share of solved sequences of the test set, or of the set that an evaluation was asked for."""
    return float(result[result["settings"].get("split", "test")]["solved"])


def run_job(work: Callable[[], bool], place: Place) -> None:
    """Run one job, keep its failure from the others, and print a line when it ends.

    Args:
        work: Does it; returns whether there was anything left to do.
        place: Where it is written, and which one it is.
    """
    folder = place.folder
    (folder / FAILURE).unlink(missing_ok=True)
    reason, did_work = "", False
    try:
        did_work = work()
    except FFAttnError as error:
        reason = " ".join(str(error).splitlines())
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    if reason:
        (folder / FAILURE).write_text(f"{reason}\n")
        outcome = Outcome(folder, FAILED, reason)
    else:
        outcome = outcome_of(folder, was_done=not did_work)
    print(f"[{place.number}/{place.total}] {place.name}: {_in_words(outcome)}", file=sys.stderr, flush=True)


def _in_words(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"{outcome.state}: {outcome.reason}"
    row = outcome.row(outcome.folder)
    epochs = f"{row['epochs']:g} epoch{'s' * (row['epochs'] != 1)}, " if row["epochs"] != "" else ""
    return f"{outcome.state}: solved {row['solved']:.1%}, {epochs}{row['seconds']:.1f} s"


def outcome_of(folder: Path, was_done: bool = False) -> Outcome:
    """What became of a job, from what lies in its directory.

    Args:
        folder: Its run directory.
        was_done: Whether it had finished before.
    """
    failure = folder / FAILURE
    if failure.is_file():
        return Outcome(folder, FAILED, failure.read_text().strip())
    result = read_result(folder)
    if result is None:
        return Outcome(folder, RUNNING) if is_busy(folder) else Outcome(folder, FAILED, "was cut off")
    return Outcome(folder, SKIPPED if was_done else DONE, result=result)


def finish(root: Path, folders: Mapping[Path, bool]) -> int:
    """Print the table of a sweep, and write it as CSV.

    Args:
        root: The sweep's directory.
        folders: The run directory of every job, and whether it had finished before the sweep started.

    Returns:
        The exit status: 1 if a job failed.
    """
    outcomes = [outcome_of(folder, was_done) for folder, was_done in folders.items()]
    rows = [outcome.row(root) for outcome in outcomes]
    _write_csv(root / TABLE, rows)
    table = Table()
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name not in {"job", "reason"}, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(name, row[name])) for name in _COLUMNS))
    Console().print(table)
    failed = sum(outcome.state == FAILED for outcome in outcomes)
    print(f"{len(outcomes)} job{'s' * (len(outcomes) != 1)}, {failed} failed; the table is in {root / TABLE}")
    if failed:
        print(f"the same command with hydra.sweep.dir={root} tries these again and skips the others")
    return int(failed > 0)


def _cell(name: str, value: Any) -> str:
    if value == "" or isinstance(value, str):
        return str(value)
    return {"solved": f"{value:.1%}", "seconds": f"{value:.1f}"}.get(name, f"{value:g}")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


SWEEP = Sweep(run_job, finish)
