"""Training runs that differ in learning rate and seed alone, and what they come to over the seeds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ffattn.runs.result import accuracy_of, baseline_of, is_solved, percent, updates_to_solve_of

# settings that make no other cell
_IRRELEVANT = "accelerator", "logger", "resume", "seed", "updates", "T"
_IRRELEVANT_OF_TRAINER = "race", "progress", "log_every", "profiler", "detect_anomaly", "on_oom"


class Spread(NamedTuple):
    """A number over several seeds.

    Attributes:
        median: The median.
        low: The smallest.
        high: The largest.
        seeds: How many have it.
    """

    median: float
    low: float
    high: float
    seeds: int

    def text(self, write: Callable[[float], str], with_seeds: bool = False) -> str:
        """Return the median, with the smallest and the largest where they differ from it.

        Args:
            write: Returns a number as text.
            with_seeds: Whether to add how many seeds have it.
        """
        middle, low, high = (write(value) for value in self[:3])
        beside = [f"{low}-{high}"] if low != high else []
        if with_seeds:
            beside.append(f"n={self.seeds}")
        return f"{middle} ({', '.join(beside)})" if beside else middle


def spread_of(values: Sequence[int | float]) -> Spread:
    """Return the median, the smallest and the largest of some numbers: all that is ever said of several seeds.

    Args:
        values: One for each seed, at least one.
    """
    return Spread(float(median(values)), float(min(values)), float(max(values)), len(values))


@dataclass(frozen=True)
class FinishedRun:
    """A training run that has ended.

    Attributes:
        folder: Its run directory.
        result: What `result.json` holds.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def rate(self) -> float:
        """Its learning rate."""
        return float(self.result["settings"]["optim"]["lr"])

    def settings(self) -> dict[str, Any]:
        """Return what makes a cell, flat: all settings but learning rate, seed, and those that no result depends on."""
        kept = {name: value for name, value in self.result["settings"].items() if name not in _IRRELEVANT}
        kept["trainer"] = {
            name: kept["trainer"][name] for name in kept["trainer"] if name not in _IRRELEVANT_OF_TRAINER
        }
        kept["optim"] = {name: value for name, value in kept["optim"].items() if name != "lr"}
        return dict(_leaves(kept))


def _leaves(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        elif value is not None:  # where nothing is set, results of older versions have no such setting
            yield f"{path}{name}", str(value)


@dataclass(frozen=True)
class Cell:
    """Runs that differ in learning rate and seed alone: a row of a table.

    Attributes:
        runs: All of them.
        variant: How it differs from other cells of the same task and model, as overrides.
    """

    runs: tuple[FinishedRun, ...]
    variant: str

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.runs[0].result["task"])

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.runs[0].result["model"])

    @property
    def length(self) -> int:
        """T of the task."""
        return int(self.runs[0].result["T"])

    @property
    def baseline(self) -> float:
        """Test accuracy (0..1) of the best constant answer."""
        return baseline_of(self.runs[0].result)

    def best_runs(self) -> list[FinishedRun]:
        """Return for each seed the run with the best learning rate.

        That has the fewest updates to solve the task or, if none has, the best validation.
        """
        by_seed = defaultdict(list)
        for run in self.runs:
            by_seed[run.result["seed"]].append(run)
        return [max(by_seed[seed], key=_merit) for seed in sorted(by_seed)]

    def solved_runs(self) -> list[FinishedRun]:
        """Return those of the best runs that solved the task."""
        return [run for run in self.best_runs() if is_solved(run.result)]

    def accuracy(self) -> Spread:
        """Return the test accuracy (0..1) over all seeds, solved or not."""
        return spread_of([accuracy_of(run.result) for run in self.best_runs()])

    def updates_to_solve(self) -> Spread | None:
        """Return the updates to solve the task over the seeds that did, or None if none did."""
        known = (updates_to_solve_of(run.result) for run in self.best_runs())
        updates = [count for count in known if count is not None]
        return spread_of(updates) if updates else None

    def row(self) -> dict[str, str]:
        """Return the cell as a row of a table, by the names of the columns."""
        best = self.best_runs()
        to_solve = self.updates_to_solve()
        return {
            "task": self.task,
            "model": self.model,
            "T": f"{self.length:,}",
            "variant": self.variant,
            "accuracy": self.accuracy().text(percent),
            "seeds solved": f"{len(self.solved_runs())}/{len(best)}",
            "updates to solve": to_solve.text(whole_number, with_seeds=True) if to_solve else "",
            "baseline": percent(self.baseline),
            "best rates": rates_text(run.rate for run in best),
            "updates": spread_of([run.result["updates"] for run in best]).text(whole_number),
            "updates, all rates": whole_number(sum(run.result["updates"] for run in self.runs)),
            "seconds": spread_of([run.result["seconds"] for run in best]).text(whole_number),
            "seconds, all rates": whole_number(sum(run.result["seconds"] for run in self.runs)),
        }

    def gaps(self) -> str:
        """Return which rates some seeds lack that others have tried: a cell whose sweep has not ended; or nothing."""
        tried = defaultdict(set)
        for run in self.runs:
            tried[run.result["seed"]].add(run.rate)
        everything = set().union(*tried.values())
        lacking = {seed: everything - rates for seed, rates in sorted(tried.items()) if rates != everything}
        return "; ".join(f"seed {seed} lacks {rates_text(rates)}" for seed, rates in lacking.items())


def _merit(run: FinishedRun) -> tuple[bool, float, float]:
    """Return what is larger for a better run; a tie goes to the smaller error."""
    updates = updates_to_solve_of(run.result)
    validation = run.result["val"]
    main = float(validation["accuracy"] if updates is None else -updates)
    return updates is not None, main, -validation["error"]


def rates_text(rates: Iterable[float]) -> str:
    """Return learning rates as a list, the smallest first, each once.

    Args:
        rates: In any order.
    """
    return ", ".join(f"{rate:g}" for rate in sorted(set(rates)))


def whole_number(value: int | float) -> str:
    """Return a number without decimals.

    Args:
        value: Of updates or seconds.
    """
    return f"{value:,.0f}"


def cells_of(runs: Iterable[FinishedRun]) -> list[Cell]:
    """Group runs into cells, and name what differs between cells of the same task and model.

    Args:
        runs: All of them.

    Returns:
        The cells by task, model, T and variant.
    """
    groups: dict[tuple[str, str, int, frozenset[str]], list[FinishedRun]] = defaultdict(list)
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
    return sorted(cells, key=lambda cell: (cell.task, cell.model, cell.length, cell.variant))
