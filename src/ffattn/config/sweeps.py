"""A sweep from start to end: every job is checked before the first starts, then all are run and summed up."""

import signal
import sys
from collections.abc import Callable
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.errors import DiskError, disk_errors, wants_traceback
from ffattn.config.jobs import Command, Finished, Sweep
from ffattn.config.precomposed import CheckingLauncher, JobCallbacks, JobRunner, PrecomposedLoader
from ffattn.config.sweep_plan import Plan, SweepJob
from ffattn.config.sweep_signals import handing_on
from ffattn.errors import FFAttnError
from ffattn.system import signals


def run_sweep(command: Command, overrides: list[str], config_dir: str | None) -> int:
    """Check every job, run them, and sum up.

    Args:
        command: What each job does.
        overrides: Of the command line.
        config_dir: A further folder of YAML files.

    Returns:
        The exit status.

    Raises:
        ConfigError: The sweep or a job cannot work; nothing has been written.
    """
    plan = Plan(command, overrides, config_dir)
    plan.check()
    sweep = command.sweep()

    def finish() -> int:
        """Sum up, and return the status."""
        return sweep.finish(plan.root, {job.folder: _finished(job) for job in plan.jobs.values()})

    return max(_run_jobs(plan, sweep, finish), finish())


def _finished(job: SweepJob) -> Finished | None:
    return job.prepared if isinstance(job.prepared, Finished) else None


def _run_jobs(plan: Plan, sweep: Sweep, finish: Callable[[], int]) -> int:
    """Run the jobs, and return the exit status: 0 unless they were interrupted, or a launcher failed."""
    try:
        with disk_errors(plan.root), handing_on(lambda: [job.folder for job in plan.jobs.values()], finish):
            _launch(plan, sweep)
    except (KeyboardInterrupt, SystemExit) as stop:
        signals.say("interrupted")
        return stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 128 + signal.SIGINT
    except DiskError as error:  # Hydra's own files of a job
        print(error, file=sys.stderr)
        return 1
    except (FFAttnError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # a launcher's: a process of its own was killed; what is left is seen by the table
        if wants_traceback():
            raise
        print(f"{type(error).__name__}: {error}".partition("\n")[0], file=sys.stderr)
        return 1
    return 0


def _launch(plan: Plan, sweep: Sweep) -> None:
    """What Hydra does for -m, with jobs that are composed already."""
    master = plan.master
    name = plan.command.name
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    callbacks = JobCallbacks(master)
    callbacks.on_multirun_start(config=master, config_name=name)
    total = len(plan.jobs) or int(master.hydra.sweeper.get("n_trials", 0))
    loader = PrecomposedLoader(plan.loader.hydra_loader)
    sweeper = Plugins.instance().instantiate_sweeper(
        config=master,
        hydra_context=HydraContext(config_loader=loader, callbacks=callbacks),  # type: ignore[arg-type]
        task_function=JobRunner(plan.command, sweep, total),
    )
    inner: Any = getattr(sweeper, "sweeper", sweeper)  # Optuna's sweeper holds the one that works
    inner.launcher = CheckingLauncher(inner.launcher, plan)
    sweeper.sweep(arguments=list(master.hydra.overrides.task))
    callbacks.on_multirun_end(config=master, config_name=name)
