"""A sweep: every job is composed and checked once, before the first starts, and taken along to where it runs."""

import pickle
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, configure_log
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.compose import Loader, select, without_hydra
from ffattn.config.errors import ConfigError, DamagedError, DiskError, disk_errors, wants_traceback
from ffattn.config.jobs import BusyError, Command, Finished, Place, Sweep, job_directory, locked
from ffattn.config.sweep_signals import as_worker, handing_on
from ffattn.errors import FFAttnError
from ffattn.system import signals


class Job(NamedTuple):
    """One job of a sweep.

    Attributes:
        folder: Its run directory.
        config: The root node, Hydra's own included.
        prepared: What the command's `prepare` returned; None if that found a damaged file, which is this job's failure.
    """

    folder: Path
    config: DictConfig
    prepared: Any


class _Parcel(str):
    """A job's overrides, with the configuration that they make, pickled."""

    contents: bytes


class _Courier(Loader):
    """Gives a worker the configuration that came with its job."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of a job.

        Args:
            master_config: Of the sweep.
            sweep_overrides: Of the job.
        """
        if sweep_overrides and isinstance(sweep_overrides[0], _Parcel):
            config: DictConfig = pickle.loads(sweep_overrides[0].contents)
            return config
        return master_config  # Hydra's sweeper asks whether the job can be composed: it has been


@dataclass
class Plan:
    """What a sweep will do.

    Attributes:
        command: What each job does.
        overrides: Of the command line.
        config_dir: A further folder of YAML files.
        jobs: Those that have been checked, by their overrides.

    Raises:
        ConfigError: The sweep itself is wrong; a job that is wrong is told by `job`.
    """

    command: Command
    overrides: list[str]
    config_dir: str | None = None
    jobs: dict[tuple[str, ...], Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loader = _Courier(self.command.name, self.config_dir)
        parsed = self.loader.parse(self.overrides)
        _refuse_contradictions(parsed)
        is_told = any(override.key_or_group == "hydra.mode" for override in parsed)
        self.master = self.loader.compose([*self.overrides, *([] if is_told else ["hydra.mode=MULTIRUN"])], True)
        self.root = Path(select(self.master, "hydra.sweep.dir")).absolute()
        self.master.hydra.sweep.dir = str(self.root)
        hydra = OmegaConf.to_container(self.master.hydra, resolve=False)
        self.base: str = hydra["sweep"]["subdir"]  # type: ignore[call-overload,index]
        self.has_own_names = any(override.key_or_group == "hydra.sweep.subdir" for override in parsed)
        self.is_grid = hydra["sweeper"]["_target_"].endswith(".BasicSweeper")  # type: ignore[call-overload,index]
        asked = [override for override in parsed if not override.is_hydra_override()]
        params = self._without({override.get_key_element() for override in asked})
        self.swept = [*self.loader.parse([f"{key}={value}" for key, value in params.items()]), *asked]

    def _without(self, keys: set[str]) -> dict[str, Any]:
        """What a file of settings sweeps over, but for some keys, which the command line gives; the sweeper is told."""
        params = dict(self.master.hydra.sweeper.get("params") or {})
        self.named, left = list(params), {key: value for key, value in params.items() if key not in keys}
        if left != params:
            self.master.hydra.sweeper.params = left
        return left

    def grid(self) -> Iterator[list[str]]:
        """The overrides of every job; of a search, whose jobs are not known beforehand, of one that it might try."""
        if self.is_grid:
            yield from (list(job) for batch in BasicSweeper.split_arguments(self.swept, None) for job in batch)
        else:
            yield [f"{override.get_key_element()}={_some_value(override)}" for override in self.swept]

    def job(self, overrides: Sequence[str], number: int) -> Job:
        """Compose and check a job.

        Args:
            overrides: Its own.
            number: Which one it is, from 0.

        Raises:
            ConfigError: It cannot work, or would be written where another is.
        """
        common = OmegaConf.to_container(self.master.hydra.overrides.hydra)
        config = self.loader.compose([*common, *overrides])
        OmegaConf.copy_cache(self.master, config)
        with open_dict(config.hydra):  # what Hydra copies a dozen times for each job
            del config.hydra.help, config.hydra.hydra_help
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        keys = dict.fromkeys(self.named)  # even if the command line gives one of them a single value
        keys |= {str(override.key_or_group): None for override in self.swept if override.is_sweep_override()}
        base = self.base if self.has_own_names else job_directory(self.base, keys, config)
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(self.root), base
        folder = self.root / select(config, "hydra.sweep.subdir")
        config.hydra.sweep.subdir = str(Path(select(config, "hydra.sweep.subdir")))
        try:
            prepared = self.command.prepare(without_hydra(config.copy()), folder, True)
        except DamagedError:
            prepared = None
        return Job(folder, config, prepared)

    def check(self) -> None:
        """Compose and check every job, before the first starts.

        Raises:
            ConfigError: One of them cannot work, or two would be written to the same place.
        """
        folders = set()
        for number, overrides in enumerate(self.grid()):
            job = self.job(overrides, number)
            if job.folder in folders:
                raise ConfigError(f"{job.folder}: two jobs of the sweep would be written here")
            folders.add(job.folder)
            if self.is_grid:
                self.jobs[tuple(overrides)] = job

    def parcel(self, overrides: Sequence[str], number: int) -> str:
        """A job as it is sent to a worker; `job` has the arguments and errors."""
        key = tuple(overrides)
        if key not in self.jobs:  # a search has just thought of it
            self.jobs[key] = self.job(overrides, number)
        parcel = _Parcel(" ".join(overrides))
        parcel.contents = pickle.dumps(self.jobs[key].config)
        return parcel


def _refuse_contradictions(overrides: list[Override]) -> None:
    """Of a key that is given twice the last one counts, which is no surprise unless the first was several values."""
    swept: dict[str, str] = {}
    for override in overrides:
        key, line = override.get_key_element(), str(override.input_line)
        if key in swept:
            raise ConfigError(f"{line}: {swept[key]} is given too; leave out one of them")
        if override.is_sweep_override():
            swept[key] = line


def _some_value(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.get_value_element_as_str())
    if override.is_interval_sweep():
        return str(override.value().start)  # type: ignore[union-attr]
    return str(next(iter(override.sweep_string_iterator())))


@cache
def _keep_plugins() -> None:
    """Hydra's joblib launcher forgets the plugins before each job, and would import all of them again."""
    found = Plugins.instance()
    Plugins._initialize = lambda new: vars(new).update(vars(found))  # type: ignore[method-assign,assignment]


@dataclass(frozen=True)
class _Task:
    """What Hydra calls for each job, where the job runs."""

    command: Command
    sweep: Sweep
    total: int

    def __call__(self, config: DictConfig) -> float:
        _keep_plugins()
        hydra = HydraConfig.get()
        place = Place(Path(hydra.runtime.output_dir), hydra.sweep.subdir, hydra.job.num + 1, self.total)
        try:
            with as_worker(), locked(place.folder):
                return self.sweep.run_job(lambda: self.command.work(config, place.folder, in_sweep=True), place)
        except BusyError:
            print(place.line("running in another process"), file=sys.stderr, flush=True)
            return float("inf")


class _Callbacks(Callbacks):
    """Hydra's, and jobs send no configuration back: they came with it."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tell the callbacks, then leave only what the job returned.

        Args:
            config: Of the job.
            job_return: What is sent back.
            kwargs: Passed on.
        """
        super().on_job_end(config, job_return, **kwargs)
        job_return.cfg = job_return.hydra_cfg = None


@dataclass
class _Dispatch:
    """Stands before a launcher: checks jobs that a search has thought of, and sends each with its configuration."""

    launcher: Launcher
    plan: Plan

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, as `hydra.plugins.launcher.Launcher` says."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        parcels = [[self.plan.parcel(*job)] for job in zip(job_overrides, numbers, strict=True)]
        store = ConfigStore.instance()
        files, store.repo = store.repo, {}  # launchers send them with each job, which has been composed already
        try:
            return self.launcher.launch(parcels, initial_job_idx)
        finally:
            store.repo = files


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
    plan, status = Plan(command, overrides, config_dir), 0
    plan.check()
    sweep = command.sweep()

    def finish() -> int:
        jobs = plan.jobs.values()
        return sweep.finish(plan.root, {job.folder: _finished(job) for job in jobs})

    try:
        with disk_errors(plan.root), handing_on(lambda: [job.folder for job in plan.jobs.values()], finish):
            _launch(plan, sweep)
    except (KeyboardInterrupt, SystemExit) as stop:
        status = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 128 + signal.SIGINT
        signals.say("interrupted")
    except DiskError as error:  # Hydra's own files of a job
        status = 1
        print(error, file=sys.stderr)
    except (FFAttnError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # a launcher's: a process of its own was killed; what is left is seen by the table
        if wants_traceback():
            raise
        status = 1
        print(f"{type(error).__name__}: {error}".partition("\n")[0], file=sys.stderr)
    return max(status, finish())


def _finished(job: Job) -> Finished | None:
    return job.prepared if isinstance(job.prepared, Finished) else None


def _launch(plan: Plan, sweep: Sweep) -> None:
    """What Hydra does for -m, with jobs that are composed already."""
    master, name = plan.master, plan.command.name
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    callbacks = _Callbacks(master)
    callbacks.on_multirun_start(config=master, config_name=name)
    total = len(plan.jobs) or int(master.hydra.sweeper.get("n_trials", 0))
    sweeper = Plugins.instance().instantiate_sweeper(
        config=master,
        hydra_context=HydraContext(config_loader=plan.loader, callbacks=callbacks),
        task_function=_Task(plan.command, sweep, total),
    )
    inner: Any = getattr(sweeper, "sweeper", sweeper)  # Optuna's sweeper holds the one that works
    inner.launcher = _Dispatch(inner.launcher, plan)
    sweeper.sweep(arguments=list(master.hydra.overrides.task))
    callbacks.on_multirun_end(config=master, config_name=name)
