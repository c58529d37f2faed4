"""Many results in one table: a row for each cell, which is what differs between runs besides learning rate and seed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ffattn.reports.paper import published
from ffattn.runs.result import RESULT, read_result

COLUMNS = (
    *("folder", "task", "model", "T", "variant", "lr", "seed", "stopped_because", "updates", "epochs", "val_solved"),
    *("test_solved", "test_error", "floor", "seconds", "updates_per_second", "peak_memory_mb", "device", "commit"),
)
_HEAD = (
    *("task", "model", "T", "variant", "solved", "epochs", "paper", "accuracy", "floor", "best rates", "updates"),
    *("updates, all rates", "seconds", "seconds, all rates"),
)
_NO_MATTER = "accelerator", "logger", "resume", "seed", "updates", "T"  # they do not make another cell
_NO_MATTER_OF_TRAINER = "race", "progress", "log_every", "profiler", "detect_anomaly", "on_oom"


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Where its result lies.
        result: What `result.json` holds.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def rate(self) -> float:
        """Its learning rate."""
        return float(self.result["settings"]["optim"]["lr"])

    @property
    def epochs(self) -> float:
        """Updates until it was solved, in the paper's epochs of 1000, whatever its own validations were."""
        return self.updates / 1000

    @property
    def updates(self) -> int:
        """Updates until a validation solved everything, or all if none has."""
        solved = self.result["updates_to_solve"]
        return int(self.result["updates"] if solved is None else solved)

    @property
    def is_solved(self) -> bool:
        """Whether a validation solved every sequence."""
        return bool(self.result["solved"])

    def settings(self) -> dict[str, Any]:
        """What makes a cell, flat: every setting but the learning rate, the seed, and what no result depends on."""
        plain = {key: value for key, value in self.result["settings"].items() if key not in _NO_MATTER}
        plain["trainer"] = {k: v for k, v in plain["trainer"].items() if k not in _NO_MATTER_OF_TRAINER}
        plain["optim"] = {key: value for key, value in plain["optim"].items() if key != "lr"}
        return dict(_leaves(plain))


def _leaves(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        elif value is not None:  # where nothing is set, results of older versions have no such setting
            yield f"{path}{name}", str(value)


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Every training run below some directories.

    Args:
        folders: They hold `result.json` at any depth.

    Raises:
        DamagedError: A result cannot be read.
    """
    found = sorted({path.parent for folder in folders for path in folder.rglob(RESULT)})
    runs = [Run(folder, result) for folder in found if (result := read_result(folder)) is not None]
    return [run for run in runs if "stopped_because" in run.result]


@dataclass(frozen=True)
class Cell:
    """Runs that differ in learning rate and seed alone.

    Attributes:
        runs: All of them.
        variant: How it differs from other cells of the same task and model, as overrides.
    """

    runs: tuple[Run, ...]
    variant: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What it is called: task, model, T and variant."""
        first = self.runs[0].result
        return first["task"], first["model"], first["T"], self.variant

    def winners(self) -> list[Run]:
        """For each seed the run with the best learning rate: the fewest updates to solve it, else the most solved."""
        by_seed = defaultdict(list)
        for run in self.runs:
            by_seed[run.result["seed"]].append(run)
        return [max(by_seed[seed], key=_merit) for seed in sorted(by_seed)]

    def row(self) -> dict[str, str]:
        """The cell as a row of the table, by the names of its columns."""
        best, floor = self.winners(), self.runs[0].result["test"]["baseline"]["accuracy"]
        solved = [run for run in best if run.is_solved]
        unsolved = [run.result["test"]["accuracy"] for run in best if not run.is_solved]
        task, model, T, variant = self.key
        return {
            "task": task,
            "model": model,
            "T": f"{T:,}",
            "variant": variant,
            "solved": f"{len(solved)} of {len(best)}",
            "epochs": _spread([run.epochs for run in solved], "{:g}"),
            "paper": _published_words(published(self.runs[0].result)),
            "accuracy": _spread(unsolved, "{:.1%}"),
            "floor": f"{floor:.1%}",
            "best rates": _rates({run.rate for run in best}),
            "updates": _spread([run.updates for run in best], "{:,.0f}"),
            "updates, all rates": f"{sum(run.result['updates'] for run in self.runs):,}",
            "seconds": _spread([run.result["seconds"] for run in best], "{:,.0f}"),
            "seconds, all rates": f"{sum(run.result['seconds'] for run in self.runs):,.0f}",
        }

    def command(self) -> str:
        """The part of its sweep that makes this cell; nothing if its results do not name a command."""
        task, model, T, variant = self.key
        own = [f"task={task}", f"model={model}", f"T={T}", *variant.split()]
        keys = {word.partition("=")[0] for word in own}
        words = [word for word in _words(self.runs[0]) if word.partition("=")[0] not in keys | {"seed", "optim.lr"}]
        return " ".join([*words, *own]) if words else ""

    def gaps(self) -> str:
        """Which rates some seeds lack that others have tried: a cell whose sweep has not ended; or nothing."""
        tried = defaultdict(set)
        for run in self.runs:
            tried[run.result["seed"]].add(run.rate)
        everything = set().union(*tried.values())
        lacking = {seed: everything - rates for seed, rates in sorted(tried.items()) if rates != everything}
        return "; ".join(f"seed {seed} lacks {_rates(rates)}" for seed, rates in lacking.items())


def _rates(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates))


def _merit(run: Run) -> tuple[bool, float, float]:
    """A larger one is better; a tie goes to the smaller error."""
    validation = run.result["val"]
    main = float(-run.updates if run.is_solved else validation["accuracy"])
    return run.is_solved, main, -validation["error"]


def _spread(values: Sequence[int | float], form: str) -> str:
    """Median, and smallest and largest where they differ; nothing of nothing."""
    if not values:
        return ""
    middle, low, high = (form.format(value) for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def _published_words(value: int | float | None) -> str:
    return "" if value is None else f"{value:.1%}" if isinstance(value, float) else str(value)


def cells_of(runs: Sequence[Run]) -> list[Cell]:
    """Group runs into cells, and name what differs between cells of the same task and model.

    Args:
        runs: All of them.
    """
    groups: dict[tuple[str, str, int, frozenset[str]], list[Run]] = defaultdict(list)
    for run in runs:
        words = frozenset(f"{key}={value}" for key, value in run.settings().items() if key != "task.length.T")
        groups[run.result["task"], run.result["model"], run.result["T"], words].append(run)
    beside = defaultdict(list)
    for task, model, _, words in groups:
        beside[task, model].append(words)
    common = {name: frozenset.intersection(*words) for name, words in beside.items()}
    cells = []
    for (task, model, _, words), group in groups.items():
        cells.append(Cell(tuple(group), " ".join(sorted(words - common[task, model]))))
    return sorted(cells, key=lambda cell: cell.key)


def markdown(cells: Sequence[Cell]) -> str:
    """The table, with what is missing and where it comes from below it.

    Args:
        cells: Its rows.
    """
    rows = [cell.row() for cell in cells]
    head = [name for name in _HEAD if any(row[name] for row in rows)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row[name] for name in head)} |" for row in rows]
    gaps = [(" ".join(str(part) for part in cell.key if part), cell.gaps()) for cell in cells]
    lines += ["", *(f"- {name}: {gap}." for name, gap in gaps if gap)]
    return "\n".join([*lines, *_sources(cells)]) + "\n"


def _sources(cells: Sequence[Cell]) -> Iterator[str]:
    runs = [run for cell in cells for run in cell.runs]
    raced = sum(run.result["stopped_because"] == "raced" for run in runs)
    yield f"\n{len(runs)} runs, of which {raced} were stopped since another learning rate was better."
    for name in ("device", "commit"):
        found = sorted({str(run.result.get(name)) for run in runs})
        yield f"{name.capitalize()}: {', '.join(found)}."
    commands = sorted({_command(run) for run in runs if run.result.get("command")})
    yield "\nMade by\n"
    yield from (f"    {command}" for command in commands)


def _command(run: Run) -> str:
    return " ".join(_words(run))


def _words(run: Run) -> list[str]:
    """A command without what is a matter of the machine: where it was written, and how many jobs ran at a time."""
    machine = "hydra.", "hydra/launcher", "trainer.progress", "logger"
    return [word for word in run.result.get("command") or [] if not word.startswith(machine)]


def table_rows(cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """One row for each run, by the names in `COLUMNS`: everything that the table is made of.

    Args:
        cells: Of all the runs.
    """
    for cell in cells:
        for run in sorted(cell.runs, key=lambda run: (run.result["seed"], run.rate)):
            result = run.result
            values = {"folder": run.folder.as_posix(), "variant": cell.variant, "lr": run.rate}
            values |= {
                "epochs": run.epochs,
                "val_solved": result["val"]["accuracy"],
                "floor": result["test"]["baseline"]["accuracy"],
            }
            values |= {"test_solved": result["test"]["accuracy"], "test_error": result["test"]["error"]}
            yield {name: values.get(name, result.get(name, "")) for name in COLUMNS}
