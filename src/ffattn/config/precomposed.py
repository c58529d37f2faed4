"""How the jobs of a sweep get to where they run: each with its configuration, which was composed and checked before."""

import pickle
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.plugins.config_source import ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig

from ffattn.config.hydra_access import keep_plugins
from ffattn.config.jobs import Command, Place, Sweep
from ffattn.config.lock import BusyError, locked
from ffattn.config.sweep_plan import Plan, SweepJob
from ffattn.config.sweep_signals import as_worker


class _ComposedOverrides(str):
    """A job's overrides, with the configuration that they make, pickled."""

    config: bytes


def _with_config(overrides: Sequence[str], job: SweepJob) -> _ComposedOverrides:
    composed = _ComposedOverrides(" ".join(overrides))
    composed.config = pickle.dumps(job.config)
    return composed


class PrecomposedLoader(ConfigLoader):
    """Gives sweepers and launchers the configurations that came with their jobs; asks another loader for the rest.

    Args:
        loader: Hydra's own; a worker has none, and needs none.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of a job.

        Args:
            master_config: Of the sweep.
            sweep_overrides: Of the job.
        """
        if sweep_overrides and isinstance(sweep_overrides[0], _ComposedOverrides):
            config: DictConfig = pickle.loads(sweep_overrides[0].config)
            return config
        return master_config  # Hydra's sweeper asks whether the job can be composed: it has been

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a configuration, as Hydra does."""
        return self.loader.load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    def get_search_path(self) -> ConfigSearchPath:
        """Return the folders that Hydra searches."""
        return self.loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        """Return what reads these folders."""
        return self.loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """Return the groups of a group."""
        return self.loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Return the choices of a group."""
        return self.loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        """Return the files that make a configuration."""
        return self.loader.compute_defaults_list(config_name, overrides, run_mode)


@dataclass(frozen=True)
class JobRunner:
    """What Hydra calls for each job, where the job runs.

    Attributes:
        command: What is done.
        sweep: What is done around it.
        total: How many jobs there are.
    """

    command: Command
    sweep: Sweep
    total: int

    def __call__(self, config: DictConfig) -> float:
        """Do a job under the lock of its directory.

        Args:
            config: Without Hydra's node.

        Returns:
            What a search minimises.
        """
        keep_plugins()
        hydra = HydraConfig.get()
        place = Place(Path(hydra.runtime.output_dir), hydra.sweep.subdir, hydra.job.num + 1, self.total)
        try:
            with as_worker(), locked(place.folder):
                return self.sweep.run_job(lambda: self.command.work(config, place.folder, in_sweep=True), place)
        except BusyError:
            print(place.line("running in another process"), file=sys.stderr, flush=True)
            return float("inf")


class JobCallbacks(Callback):
    """Tells the callbacks of the settings, as Hydra does; and jobs send no configuration back: they came with it.

    Args:
        config: Of the sweep, or of the job that runs alone.
    """

    def __init__(self, config: DictConfig) -> None:
        self.callbacks = [instantiate(settings) for settings in config.hydra.callbacks.values()]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell all that a job starts which runs alone."""
        _notify(self.callbacks, "on_run_start", config=config, **kwargs)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell all that it has ended, the last one first."""
        _notify(reversed(self.callbacks), "on_run_end", config=config, **kwargs)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell all that the sweep starts."""
        _notify(self.callbacks, "on_multirun_start", config=config, **kwargs)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell all that the sweep has ended, the last one first."""
        _notify(reversed(self.callbacks), "on_multirun_end", config=config, **kwargs)

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Tell all that a job starts."""
        _notify(self.callbacks, "on_job_start", config=config, task_function=task_function, **kwargs)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tell all that a job has ended, the last one first, then leave only what the job returned."""
        _notify(reversed(self.callbacks), "on_job_end", config=config, job_return=job_return, **kwargs)
        job_return.cfg = None
        job_return.hydra_cfg = None


def _notify(callbacks: Iterable[Any], event: str, **arguments: Any) -> None:
    """Tell callbacks of an event; one that fails is a warning, and keeps none of the others from hearing of it."""
    for callback in callbacks:
        try:
            getattr(callback, event)(**arguments)
        except Exception as error:
            problem = f"Callback {type(callback).__name__}.{event} raised {type(error).__name__}: {error}"
            warnings.warn(problem, stacklevel=2)


@dataclass
class CheckingLauncher:
    """Stands before a launcher: checks jobs that a search has thought of, and sends each with its configuration.

    Attributes:
        launcher: Runs the jobs.
        plan: Has the jobs that have been checked.
    """

    launcher: Launcher
    plan: Plan

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, as `hydra.plugins.launcher.Launcher` says."""
        jobs = enumerate(job_overrides, start=initial_job_idx)
        composed = [[_with_config(overrides, self.plan.checked(overrides, number))] for number, overrides in jobs]
        store = ConfigStore.instance()
        files = store.repo
        store.repo = {}  # launchers send them with each job, which has been composed already
        try:
            return self.launcher.launch(composed, initial_job_idx)
        finally:
            store.repo = files
