"""What becomes of the jobs of a sweep: a line when each one ends, tables at the end, and `sweep.csv`."""

import csv
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ffattn.config.errors import disk_errors
from ffattn.config.jobs import Finished, Place, Sweep
from ffattn.config.lock import is_busy
from ffattn.errors import FFAttnError
from ffattn.runs.cells import FinishedRun, cells_of
from ffattn.runs.result import (
    accuracy_of,
    baseline_of,
    is_solved,
    is_training_run,
    metrics_of,
    percent,
    read_result,
    updates_to_solve_of,
)
from ffattn.system.atomic_files import atomic_write

FAILURE = "failure.txt"
TABLE = "sweep.csv"
_JOB_COLUMNS = (
    "job",
    "state",
    "accuracy",
    "baseline",
    "solved",
    "updates_to_solve",
    "updates",
    "seconds",
)
_SEEDS_COLUMNS = "task", "model", "T", "variant", "accuracy", "seeds solved", "updates to solve"
_FOLDED = "job", "task", "model", "variant"  # columns that give way where a screen is narrow


class State(StrEnum):
    """What has become of a job.

    Attributes:
        DONE: It has finished.
        RACED: It was stopped, since another learning rate was better.
        SKIPPED: It had finished before the sweep started.
        LONGER: So had a run of more updates than were asked for.
        FAILED: It ended with an error.
        STOPPED: It was cut off by a signal, or worse.
        RUNNING: Another process does it.
        PENDING: It was not started.
    """

    DONE = "done"
    RACED = "raced"
    SKIPPED = "skipped"
    LONGER = "longer"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"
    PENDING = "pending"


_UNFINISHED = {State.FAILED: "failed", State.STOPPED: "cut off", State.PENDING: "not started"}


class Outcome(NamedTuple):
    """A job, and what has become of it.

    Attributes:
        folder: Its run directory.
        state: In one word.
        reason: Why it failed, or what is different.
        result: What `result.json` holds; None unless it has finished.
    """

    folder: Path
    state: State
    reason: str = ""
    result: dict[str, Any] | None = None

    def row(self, root: Path) -> dict[str, Any]:
        """Return a row of the table.

        Args:
            root: The sweep's directory, which jobs are named from.
        """
        values: dict[str, Any] = {"job": os.path.relpath(self.folder, root), "state": self.state, "reason": self.reason}
        values |= {} if self.result is None else _numbers(self.result)
        return {name: values.get(name, "") for name in (*_JOB_COLUMNS, "reason")}


def _numbers(result: dict[str, Any]) -> dict[str, Any]:
    """Return what the table has of a result."""
    values = {"accuracy": accuracy_of(result), "baseline": baseline_of(result), "seconds": result.get("seconds", "")}
    if is_training_run(result):
        to_solve = updates_to_solve_of(result)
        values["solved"] = "yes" if is_solved(result) else "no"
        values["updates_to_solve"] = "" if to_solve is None else to_solve
        values["updates"] = result["updates"]
    return values


def _objective(outcome: Outcome) -> float:
    """Return what a search minimises: the error of the best validation, or of the set that was evaluated."""
    if outcome.result is None:
        return float("inf")
    return float(outcome.result.get("val", metrics_of(outcome.result))["error"])


def run_job(work: Callable[[], Finished | None], place: Place) -> float:
    """Run one job, keep its failure from the others, and print a line when it ends.

    Args:
        work: Does it; returns what had finished before, if nothing was left to do.
        place: Where it is written, and which one it is.

    Returns:
        What a search minimises; infinite after a failure.
    """
    folder = place.folder
    reason = ""
    before = None
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
    outcome = Outcome(folder, State.FAILED, reason) if reason else outcome_of(folder, before)
    print(place.line(_in_words(outcome)), file=sys.stderr, flush=True)
    return _objective(outcome)


def _in_words(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"{outcome.state}: {outcome.reason}"
    row = outcome.row(outcome.folder)
    words = [f"accuracy {percent(row['accuracy'])}"]
    if row["solved"] == "yes":
        words.append(f"solved in {row['updates_to_solve']:,} updates")
    elif row["updates"] != "":
        words.append(f"{row['updates']:,} updates")
    return f"{outcome.state}: {', '.join(words)}, {row['seconds']:.1f} s"


def outcome_of(folder: Path, before: Finished | None = None) -> Outcome:
    """Return what has become of a job, from what its directory holds.

    Args:
        folder: Its run directory.
        before: What had finished there before, if anything.
    """
    failure = folder / FAILURE
    if failure.is_file():
        return Outcome(folder, State.FAILED, failure.read_text().strip())
    try:
        result = read_result(folder)
    except FFAttnError as error:
        return Outcome(folder, State.FAILED, str(error))
    if result is not None:
        return _finished(folder, result, before)
    if not (folder / ".hydra" / "lock").exists():
        return Outcome(folder, State.PENDING)
    return Outcome(folder, State.RUNNING) if is_busy(folder) else Outcome(folder, State.STOPPED, "was cut off")


def _finished(folder: Path, result: dict[str, Any], before: Finished | None) -> Outcome:
    if before is not None:
        return Outcome(folder, State.LONGER if before.difference else State.SKIPPED, before.difference, result)
    is_raced = result.get("stopped_because") == "raced"
    return Outcome(folder, State.RACED if is_raced else State.DONE, result=result)


def finish(root: Path, folders: Mapping[Path, Finished | None]) -> int:
    """Print the tables of a sweep, and write that of its jobs as CSV.

    Args:
        root: The sweep's directory.
        folders: The run directory of every job, and what had finished there before the sweep started.

    Returns:
        The exit status: 1 if a job failed, or was not started.
    """
    outcomes = [outcome_of(folder, before) for folder, before in folders.items()]
    problem = _write_csv(root / TABLE, [outcome.row(root) for outcome in (*outcomes, *_earlier(root, folders))])
    console = Console()
    console.print(_table([outcome.row(root) for outcome in outcomes], _JOB_COLUMNS))
    if rows := _rows_over_seeds(outcomes):
        print("\nOver seeds, each with its best learning rate:")
        console.print(_table(rows, _SEEDS_COLUMNS))
    for outcome in outcomes:
        if outcome.reason:
            print(f"{os.path.relpath(outcome.folder, root)}: {outcome.state}: {outcome.reason}")
    is_over = _print_counts(outcomes, problem or f"the table is in {root / TABLE}")
    if not is_over:
        print(f"the same command with hydra.sweep.dir={root} does what is left, and skips what is done")
    return int(bool(problem) or not is_over)


def _rows_over_seeds(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """Return the rows that `ffattn.report` has of a sweep's runs; nothing if all are of one seed."""
    finished = [(outcome.folder, outcome.result) for outcome in outcomes if outcome.result is not None]
    runs = [FinishedRun(folder, result) for folder, result in finished if is_training_run(result)]
    several = len({run.result["seed"] for run in runs}) > 1
    return [cell.row() for cell in cells_of(runs)] if several else []


def _print_counts(outcomes: Sequence[Outcome], last: str) -> bool:
    """Print how many jobs there are of each kind; returns whether none is left to do."""
    counts = {state: sum(outcome.state is state for outcome in outcomes) for state in _UNFINISHED}
    words = [f"{len(outcomes)} job{'s' * (len(outcomes) != 1)}"]
    for state, word in _UNFINISHED.items():
        if counts[state] or state is State.FAILED:
            words.append(f"{counts[state]} {word}")
    print(f"{', '.join(words)}; {last}")
    return not any(counts.values())


def _earlier(root: Path, folders: Mapping[Path, Finished | None]) -> list[Outcome]:
    """Return the jobs that other commands have written to the same directory."""
    if not (root / TABLE).is_file():
        return []
    with (root / TABLE).open(newline="") as file:
        found = [root / row["job"] for row in csv.DictReader(file) if row.get("job")]
    inside = [folder for folder in found if folder.resolve().is_relative_to(root.resolve())]  # the file may be anyone's
    return [outcome_of(folder) for folder in inside if folder not in folders and folder.is_dir()]


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    """Return a table for the screen, without columns that are empty throughout."""
    shown = [name for name in columns if any(row[name] != "" for row in rows)]
    table = Table(box=SIMPLE_HEAD, padding=0, collapse_padding=True, show_edge=False)
    for name in shown:
        heading = name.replace("_", " ").replace(" ", "\n", 1)
        table.add_column(heading, no_wrap=name not in _FOLDED, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_formatted(name, row[name])) for name in shown))
    return table


def _formatted(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name in ("accuracy", "baseline"):
        return percent(value)
    return f"{value:.1f}" if name == "seconds" else f"{value:,}"


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write the table; returns why it cannot be written, if so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, (*_JOB_COLUMNS, "reason"))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


SWEEP = Sweep(run_job, finish)
