"""Many results in one table, beside the paper's numbers: Markdown, and a row for each run."""

from collections.abc import Iterator, Sequence
from typing import Any

from ffattn.reports.paper import published
from ffattn.runs.cells import Cell, FinishedRun, Spread
from ffattn.runs.result import accuracy_of, baseline_of, is_solved, percent, updates_to_solve_of

UPDATES_PER_EPOCH = 1000  # of the paper, whatever `validate_every` is
RUN_COLUMNS = (
    "folder",
    "task",
    "model",
    "T",
    "variant",
    "lr",
    "seed",
    "stopped_because",
    "test_accuracy",
    "baseline",
    "solved",
    "updates_to_solve",
    "updates",
    "val_accuracy",
    "test_error",
    "seconds",
    "updates_per_second",
    "peak_memory_mb",
    "device",
    "commit",
)
_AFTER = "updates to solve"  # the column that the paper's follow


def cell_rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return a row for each cell, without columns that are empty throughout.

    Args:
        cells: Of any tasks, models and lengths.
    """
    rows = [_with_paper(cell) for cell in cells]
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in names} for row in rows]


def _with_paper(cell: Cell) -> dict[str, str]:
    row: dict[str, str] = {}
    for name, text in cell.row().items():
        row[name] = text
        if name == _AFTER:
            row |= _paper_columns(cell)
    return row


def _paper_columns(cell: Cell) -> dict[str, str]:
    """Return the paper's number, and beside epochs the cell's own: the only place that has any."""
    paper = published(cell.runs[0].result)
    epochs = None if paper.epochs is None else cell.updates_to_solve()
    return {
        "epochs": _epochs(epochs) if epochs else "",
        "paper (epochs)": "" if paper.epochs is None else str(paper.epochs),
        "paper (accuracy)": "" if paper.accuracy is None else percent(paper.accuracy),
    }


def _epochs(updates: Spread) -> str:
    return updates.text(lambda value: f"{value / UPDATES_PER_EPOCH:g}")


def markdown(cells: Sequence[Cell]) -> str:
    """Return the table, with what is missing and where it comes from below it.

    Args:
        cells: Its rows, at least one.
    """
    rows = cell_rows(cells)
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    lines += [f"| {' | '.join(row.values())} |" for row in rows]
    lines += ["", *_gaps(cells)]
    return "\n".join([*lines, *_sources(cells)]) + "\n"


def _gaps(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        if gaps := cell.gaps():
            name = " ".join(str(part) for part in (cell.task, cell.model, cell.length, cell.variant) if part)
            yield f"- {name}: {gaps}."


def _sources(cells: Sequence[Cell]) -> Iterator[str]:
    runs = [run for cell in cells for run in cell.runs]
    raced = sum(run.result["stopped_because"] == "raced" for run in runs)
    yield f"\n{len(runs)} runs, of which {raced} were stopped since another learning rate was better."
    for name in ("device", "commit"):
        found = sorted({str(run.result.get(name)) for run in runs})
        yield f"{name.capitalize()}: {', '.join(found)}."
    commands = sorted({" ".join(_command_words(run)) for run in runs if run.result.get("command")})
    yield "\nMade by\n"
    yield from (f"    {command}" for command in commands)


def _command_words(run: FinishedRun) -> list[str]:
    """Return a command without what is a matter of the machine: where it wrote, and how many jobs ran at a time."""
    machine = "hydra.", "hydra/launcher", "trainer.progress", "logger"
    return [word for word in run.result.get("command") or [] if not word.startswith(machine)]


def command_of(cell: Cell) -> str:
    """Return the part of its sweep that makes a cell; nothing if its results do not name a command.

    Args:
        cell: Of whose runs the first is asked.
    """
    own = [f"task={cell.task}", f"model={cell.model}", f"T={cell.length}", *cell.variant.split()]
    keys = {word.partition("=")[0] for word in own} | {"seed", "optim.lr"}
    words = [word for word in _command_words(cell.runs[0]) if word.partition("=")[0] not in keys]
    return " ".join([*words, *own]) if words else ""


def run_rows(cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """Yield a row for each run, by the names in `RUN_COLUMNS`: everything that the table is made of.

    Args:
        cells: Of all the runs.
    """
    for cell in cells:
        for run in sorted(cell.runs, key=lambda run: (run.result["seed"], run.rate)):
            yield _run_row(run, cell.variant)


def _run_row(run: FinishedRun, variant: str) -> dict[str, Any]:
    result = run.result
    to_solve = updates_to_solve_of(result)
    values = {
        "folder": run.folder.as_posix(),
        "variant": variant,
        "lr": run.rate,
        "test_accuracy": accuracy_of(result),
        "baseline": baseline_of(result),
        "solved": "yes" if is_solved(result) else "no",
        "updates_to_solve": "" if to_solve is None else to_solve,
        "val_accuracy": result["val"]["accuracy"],
        "test_error": result["test"]["error"],
    }
    return {name: values.get(name, result.get(name, "")) for name in RUN_COLUMNS}
