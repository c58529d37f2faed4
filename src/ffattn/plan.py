"""`python -m ffattn.plan`: the jobs of a sweep, and the time and memory that they would take, from measured updates.

python -m ffattn.plan -m task=add,multiply T=100,10000 seed=0,1 hydra/launcher=joblib hydra.launcher.n_jobs=2

Takes what `python -m ffattn.train` takes, and writes nothing.
"""

import json
import os
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ffattn.config.command import read_arguments, short_errors
from ffattn.config.jobs import Finished
from ffattn.config.sweep_plan import Plan, SweepJob
from ffattn.train import COMMAND

if TYPE_CHECKING:
    from ffattn.config.schema import Train

_SIZE = "task", "model", "batch_size", "precision", "accelerator"  # what the time of an update depends on


class Row(NamedTuple):
    """The jobs of one size.

    Attributes:
        settings: Of one of them.
        updates: How many each has left to do, at most.
    """

    settings: "Train"
    updates: list[int]


def rows_of(jobs: list[SweepJob]) -> list[Row]:
    """Put together the jobs of which an update takes equally long, the cheapest first.

    Args:
        jobs: Of a sweep; those that have finished are left out.
    """
    from ffattn.settings import to_plain

    sizes: dict[str, Row] = {}
    updates: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        if job.prepared is None or isinstance(job.prepared, Finished):
            continue
        settings, start = job.prepared
        plain: dict[str, Any] = to_plain(settings)
        key = json.dumps([*(plain[name] for name in _SIZE), settings.trainer.accumulate])
        updates[key].append(max(0, settings.updates - start.update))
        sizes[key] = Row(settings, updates[key])
    return sorted(sizes.values(), key=lambda row: row.settings.batch_size * row.settings.task.length.T)


def jobs_of(plan: Plan) -> list[SweepJob]:
    """All jobs of a sweep; of a search, as many of one that it might try as it has trials.

    Args:
        plan: Has been checked.
    """
    if plan.is_grid:
        return list(plan.jobs.values())
    return [plan.job(next(plan.grid()), 0)] * int(plan.master.hydra.sweeper.n_trials)


def workers_of(launcher: Any, jobs: int) -> int:
    """How many jobs a launcher runs at a time: joblib `n_jobs`, submitit as many as it may, others one.

    Args:
        launcher: Hydra's node.
        jobs: How many there are.
    """
    if "submitit" in launcher._target_:
        return max(1, min(jobs, int(launcher.get("array_parallelism", jobs))))
    count = int(launcher.get("n_jobs", None) or 1)
    return count if count > 0 else os.cpu_count() or 1


def report(plan: Plan) -> None:
    """Measure an update of every size, and print a table.

    Args:
        plan: Has been checked.
    """
    from rich.console import Console
    from rich.table import Table

    from ffattn.runs.cost import measure

    jobs = jobs_of(plan)
    workers = workers_of(plan.master.hydra.launcher, len(jobs))
    rows, table = rows_of(jobs), Table()
    for name in ("task", "model", "T", "jobs", "updates, at most", "ms an update", "time, at most", "MB"):
        table.add_column(name)
    total, memory = 0.0, 0.0
    for row in rows:
        cost, settings = measure(row.settings, max(1, (os.cpu_count() or 1) // workers)), row.settings
        seconds, memory = cost.seconds * sum(row.updates), max(memory, cost.memory_mb)
        total += seconds
        count, most, milliseconds = len(row.updates), sum(row.updates), f"{1000 * cost.seconds:.3g}"
        names = settings.task.name, settings.model.name, settings.task.length.T
        cells = *names, count, f"{most:,}", milliseconds, _clock_time(seconds), f"{cost.memory_mb:.0f}"
        table.add_row(*map(str, cells))
    Console().print(table)
    left = sum(len(row.updates) for row in rows)
    print(f"{len(jobs)} job{'s' * (len(jobs) != 1)}, {len(jobs) - left} finished or damaged; {_where(workers)}")
    print(f"at most {_clock_time(total / workers)} of training and {memory * workers:.0f} MB; solved runs stop sooner")


def _where(workers: int) -> str:
    return "one at a time" if workers == 1 else f"{workers} at a time"


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def main() -> None:
    """The command line."""
    arguments = read_arguments()
    if arguments.help:
        print(__doc__)
        return
    with short_errors():
        plan = Plan(COMMAND, arguments.overrides, arguments.config_dir)
        plan.check()
        report(plan)


if __name__ == "__main__":
    main()
