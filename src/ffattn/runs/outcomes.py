"""What becomes of the jobs of a sweep: a line when each one ends, a table at the end, and `sweep.csv`."""

import csv
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ffattn.config.errors import disk_errors
from ffattn.config.jobs import Finished, Place, Sweep, is_busy
from ffattn.errors import FFAttnError
from ffattn.runs.result import percent, read_result
from ffattn.system.atomic_files import whole

FAILURE = "failure.txt"
TABLE = "sweep.csv"
DONE, RACED, SKIPPED, LONGER = "done", "raced", "skipped", "longer"
FAILED, STOPPED, RUNNING, PENDING = "failed", "stopped", "running", "pending"
_COLUMNS = "job", "state", "accuracy", "baseline", "updates", "seconds"
_UNFINISHED = FAILED, STOPPED, PENDING


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        folder: Its run directory.
        state: `done`, `raced` (stopped, since another learning rate was better), `skipped` (had finished before the
            sweep started), `longer` (so had a run of more updates than were asked for), `failed`, `stopped` (cut off by
            a signal, or worse), `running` (in another process) or `pending` (not started).
        reason: Why it failed, or what is different.
        result: What `result.json` holds; None unless it has finished.
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
            scores = _scores(self.result)
            values |= {name: self.result[name] for name in ("updates", "seconds") if name in self.result}
            values |= {"accuracy": scores["accuracy"], "baseline": scores["baseline"]["accuracy"]}
        return {name: values.get(name, "") for name in (*_COLUMNS, "reason")}


def _scores(result: dict[str, Any]) -> dict[str, Any]:
    """The scores of the test set, or of the set that an evaluation was asked for."""
    return dict(result[result["settings"].get("split", "test")])


def _objective(outcome: Outcome) -> float:
    """What a search minimises: the error of the best validation, or of the set that an evaluation was asked for."""
    if outcome.result is None:
        return float("inf")
    return float(outcome.result.get("val", _scores(outcome.result))["error"])


def run_job(work: Callable[[], Finished | None], place: Place) -> float:
    """Run one job, keep its failure from the others, and print a line when it ends.

    Args:
        work: Does it; returns what had finished before, if nothing was left to do.
        place: Where it is written, and which one it is.

    Returns:
        What a search minimises; infinite after a failure.
    """
    folder = place.folder
    reason, before = "", None
    try:
        with disk_errors(folder):
            (folder / FAILURE).unlink(missing_ok=True)
            before = work()
    except FFAttnError as error:
        reason = " ".join(str(error).splitlines())
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    if reason:
        with suppress(OSError):  # what cannot be written will count as cut off
            (folder / FAILURE).write_text(f"{reason}\n")
    outcome = Outcome(folder, FAILED, reason) if reason else outcome_of(folder, before)
    print(place.line(_in_words(outcome)), file=sys.stderr, flush=True)
    return _objective(outcome)


def _in_words(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"{outcome.state}: {outcome.reason}"
    row = outcome.row(outcome.folder)
    updates = f"{row['updates']:,} updates, " if row["updates"] != "" else ""
    return f"{outcome.state}: accuracy {percent(row['accuracy'])}, {updates}{row['seconds']:.1f} s"


def outcome_of(folder: Path, before: Finished | None = None) -> Outcome:
    """What became of a job, from what lies in its directory.

    Args:
        folder: Its run directory.
        before: What had finished there before, if anything.
    """
    failure = folder / FAILURE
    if failure.is_file():
        return Outcome(folder, FAILED, failure.read_text().strip())
    try:
        result = read_result(folder)
    except FFAttnError as error:
        return Outcome(folder, FAILED, str(error))
    if result is not None:
        if before is not None:
            return Outcome(folder, LONGER if before.difference else SKIPPED, before.difference, result)
        return Outcome(folder, RACED if result.get("stopped_because") == "raced" else DONE, result=result)
    if not (folder / ".hydra" / "lock").exists():
        return Outcome(folder, PENDING)
    return Outcome(folder, RUNNING) if is_busy(folder) else Outcome(folder, STOPPED, "was cut off")


def finish(root: Path, folders: Mapping[Path, Finished | None]) -> int:
    """Print the table of a sweep, and write it as CSV.

    Args:
        root: The sweep's directory.
        folders: The run directory of every job, and what had finished there before the sweep started.

    Returns:
        The exit status: 1 if a job failed, or was not started.
    """
    outcomes = [outcome_of(folder, before) for folder, before in folders.items()]
    problem = _write_csv(root / TABLE, [outcome.row(root) for outcome in (*outcomes, *_earlier(root, folders))])
    rows = [outcome.row(root) for outcome in outcomes]
    Console().print(_table(rows))
    for row in rows:
        if row["reason"]:
            print(f"{row['job']}: {row['state']}: {row['reason']}")
    counts = {state: sum(row["state"] == state for row in rows) for state in _UNFINISHED}
    counted = [f"{len(rows)} job{'s' * (len(rows) != 1)}", f"{counts[FAILED]} failed"]
    others = (STOPPED, "cut off"), (PENDING, "not started")
    counted += [f"{counts[state]} {words}" for state, words in others if counts[state]]
    print(f"{', '.join(counted)}; {problem or f'the table is in {root / TABLE}'}")
    if any(counts.values()):
        print(f"the same command with hydra.sweep.dir={root} does what is left, and skips what is done")
    return int(bool(problem) or any(counts.values()))


def _earlier(root: Path, folders: Mapping[Path, Finished | None]) -> list[Outcome]:
    """Jobs that other commands have written to the same directory."""
    if not (root / TABLE).is_file():
        return []
    with (root / TABLE).open(newline="") as file:
        found = [root / row["job"] for row in csv.DictReader(file) if row.get("job")]
    inside = [folder for folder in found if folder.resolve().is_relative_to(root.resolve())]  # the file may be anyone's
    return [outcome_of(folder) for folder in inside if folder not in folders and folder.is_dir()]


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table()
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name != "job", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(name, row[name])) for name in _COLUMNS))
    return table


def _cell(name: str, value: Any) -> str:
    if value == "" or isinstance(value, str):
        return str(value)
    if name in ("accuracy", "baseline"):
        return percent(value)
    return f"{value:.1f}" if name == "seconds" else f"{value:,}"


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write the table; returns why it cannot be written, if so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, (*_COLUMNS, "reason"))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


SWEEP = Sweep(run_job, finish)
