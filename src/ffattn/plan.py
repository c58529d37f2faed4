"""`python -m ffattn.plan`: list the jobs of a sweep, with the time and memory that they take by measured updates.

python -m ffattn.plan -m task=add,multiply T=100,10000 seed=0,1 hydra/launcher=joblib hydra.launcher.n_jobs=2

Takes what `python -m ffattn.train` takes, and writes nothing.
"""

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ffattn.config.command import read_arguments, short_errors
from ffattn.config.jobs import Finished
from ffattn.config.sweep_plan import Plan, SweepJob
from ffattn.train import COMMAND

if TYPE_CHECKING:
    from ffattn.config.schema import Train
    from ffattn.runs.cost import Cost

_SIZE = ("task", "model", "batch_size", "precision", "accelerator")  # what the time of an update depends on
_COLUMNS = ("task", "model", "T", "jobs", "updates, at most", "ms an update", "time, at most", "MB")


class JobGroup(NamedTuple):
    """The jobs of one size.

    Attributes:
        settings: Of one of them.
        updates: How many each has left to do, at most.
    """

    settings: "Train"
    updates: list[int]


def group_jobs(jobs: list[SweepJob]) -> list[JobGroup]:
    """Put together the jobs of which an update takes equally long, the cheapest first.

    Args:
        jobs: Of a sweep; those that have finished are left out.
    """
    from ffattn.settings import to_plain

    groups: dict[str, JobGroup] = {}
    for job in jobs:
        if job.prepared is None or isinstance(job.prepared, Finished):
            continue
        settings, start = job.prepared
        plain: dict[str, Any] = to_plain(settings)
        key = json.dumps([*(plain[name] for name in _SIZE), settings.trainer.accumulate])
        group = groups.setdefault(key, JobGroup(settings, []))
        group.updates.append(max(0, settings.updates - start.update))
    return sorted(groups.values(), key=lambda group: group.settings.batch_size * group.settings.task.length.T)


def jobs_of(plan: Plan) -> list[SweepJob]:
    """All jobs of a sweep; of a search, as many of one that it might try as it has trials.

    Args:
        plan: Has been checked.
    """
    if plan.is_grid:
        return list(plan.jobs.values())
    return [plan.job(next(plan.grid()), 0)] * int(plan.master.hydra.sweeper.n_trials)


def workers_of(launcher: Any, jobs: int) -> int:
    """Return how many jobs a launcher runs at a time: joblib `n_jobs`, submitit as many as it may, others one.

    Args:
        launcher: Hydra's node.
        jobs: How many there are.
    """
    if "submitit" in launcher._target_:
        return max(1, min(jobs, int(launcher.get("array_parallelism", jobs))))
    count = int(launcher.get("n_jobs", None) or 1)
    return count if count > 0 else os.cpu_count() or 1


def print_plan(plan: Plan) -> None:
    """Measure an update of every size, and print a table.

    Args:
        plan: Has been checked.
    """
    from rich.console import Console
    from rich.table import Table

    from ffattn.runs.cost import measure

    jobs = jobs_of(plan)
    workers = workers_of(plan.master.hydra.launcher, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // workers)
    groups = group_jobs(jobs)
    table = Table(*_COLUMNS)
    total = 0.0
    memory = 0.0
    for group in groups:
        cost = measure(group.settings, threads)
        seconds = cost.seconds * sum(group.updates)
        total += seconds
        memory = max(memory, cost.memory_mb)
        table.add_row(*_cells(group, cost, seconds))
    Console().print(table)
    left = sum(len(group.updates) for group in groups)
    at_a_time = "one at a time" if workers == 1 else f"{workers} at a time"
    print(f"{len(jobs)} job{'s' * (len(jobs) != 1)}, {len(jobs) - left} finished or damaged; {at_a_time}")
    print(f"at most {_clock_time(total / workers)} of training and {memory * workers:.0f} MB; solved runs stop sooner")


def _cells(group: JobGroup, cost: "Cost", seconds: float) -> list[str]:
    settings = group.settings
    names = [settings.task.name, settings.model.name, str(settings.task.length.T)]
    counts = [str(len(group.updates)), f"{sum(group.updates):,}"]
    return [*names, *counts, f"{1000 * cost.seconds:.3g}", _clock_time(seconds), f"{cost.memory_mb:.0f}"]


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
        print_plan(plan)


if __name__ == "__main__":
    main()
