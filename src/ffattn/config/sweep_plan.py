"""The jobs of a sweep: each is composed and checked once, before the first starts."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict

from ffattn.config.compose import Loader, resolve_value, without_hydra
from ffattn.config.errors import ConfigError, DamagedError
from ffattn.config.hydra_access import builtin_plugin
from ffattn.config.jobs import Command, job_directory


class SweepJob(NamedTuple):
    """One job of a sweep.

    Attributes:
        folder: Its run directory.
        config: The root node, Hydra's own included.
        prepared: What the command's `prepare` returned; None if that found a damaged file, which is this job's failure.
    """

    folder: Path
    config: DictConfig
    prepared: Any


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
    jobs: dict[tuple[str, ...], SweepJob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loader = Loader(self.command.name, self.config_dir)
        parsed = self.loader.parse(self.overrides)
        _refuse_contradictions(parsed)
        has_mode = any(override.key_or_group == "hydra.mode" for override in parsed)
        self.master = self.loader.compose([*self.overrides, *([] if has_mode else ["hydra.mode=MULTIRUN"])], True)
        self.root = Path(resolve_value(self.master, "hydra.sweep.dir")).absolute()
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
        self.named = list(params)
        left = {key: value for key, value in params.items() if key not in keys}
        if left != params:
            self.master.hydra.sweeper.params = left
        return left

    def grid(self) -> Iterator[list[str]]:
        """Return the overrides of every job; of a search, whose jobs it invents, of one that it might try."""
        if self.is_grid:
            batches = builtin_plugin(Sweeper, "BasicSweeper").split_arguments(self.swept, None)
            yield from map(list, itertools.chain.from_iterable(batches))
        else:
            yield [f"{override.get_key_element()}={_some_value(override)}" for override in self.swept]

    def job(self, overrides: Sequence[str], number: int) -> SweepJob:
        """Compose and check a job.

        Args:
            overrides: Its own.
            number: Which one it is, from 0.

        Raises:
            ConfigError: It cannot work, or would be written where another is.
        """
        config = self._compose(overrides, number)
        folder = self._place(config)
        try:
            prepared = self.command.prepare(without_hydra(config.copy()), folder, True)
        except DamagedError:
            prepared = None
        return SweepJob(folder, config, prepared)

    def _compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        common = OmegaConf.to_container(self.master.hydra.overrides.hydra)
        config = self.loader.compose([*common, *overrides])
        OmegaConf.copy_cache(self.master, config)
        with open_dict(config.hydra):  # what Hydra copies a dozen times for each job
            del config.hydra.help
            del config.hydra.hydra_help
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        return config

    def _place(self, config: DictConfig) -> Path:
        """Write into a job's configuration where it is kept, and return that."""
        keys = dict.fromkeys(self.named)  # even if the command line gives one of them a single value
        keys |= {str(override.key_or_group): None for override in self.swept if override.is_sweep_override()}
        config.hydra.sweep.dir = str(self.root)
        config.hydra.sweep.subdir = self.base if self.has_own_names else job_directory(self.base, keys, config)
        subdir = resolve_value(config, "hydra.sweep.subdir")
        config.hydra.sweep.subdir = str(Path(subdir))
        return self.root / subdir

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

    def checked(self, overrides: Sequence[str], number: int) -> SweepJob:
        """Return a job that has been checked, or that is now: a search has just thought of it.

        Args:
            overrides: Its own.
            number: Which one it is, from 0.

        Raises:
            ConfigError: As in `job`.
        """
        key = tuple(overrides)
        if key not in self.jobs:
            self.jobs[key] = self.job(overrides, number)
        return self.jobs[key]


def _refuse_contradictions(overrides: list[Override]) -> None:
    """Of a key that is given twice the last one counts, which is no surprise unless the first was several values."""
    swept: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element()
        line = str(override.input_line)
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
