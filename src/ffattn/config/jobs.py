"""What a command and a job are, and where each job of a sweep is written."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

_LONGEST = 100  # characters of a directory's name


class Finished(NamedTuple):
    """What `prepare` returns when nothing is left to do.

    Attributes:
        difference: In what the run that lies there differs from the one that was asked for, if it does.
    """

    difference: str = ""


class Place(NamedTuple):
    """A job among those of its sweep.

    Attributes:
        folder: Its run directory.
        name: The directory's path below the sweep's.
        number: Which job it is, from 1.
        total: How many there are.
    """

    folder: Path
    name: str
    number: int
    total: int

    def line(self, text: str) -> str:
        """Return what is printed of the job.

        Args:
            text: What became of it.
        """
        return f"[{self.number}/{self.total}] {self.name}: {text}"


class Sweep(NamedTuple):
    """What a command does around the jobs of a sweep.

    Attributes:
        run_job: Does a job's work, which returns what had finished before if nothing was left to do, and keeps a
            failure from the other jobs; returns what a search minimises.
        finish: Called at the end with the sweep's directory and, for every job's, what had finished there before;
            returns the exit status.
    """

    run_job: Callable[[Callable[[], Finished | None], Place], float]
    finish: Callable[[Path, Mapping[Path, Finished | None]], int]


class Command(NamedTuple):
    """What a command does.

    Attributes:
        name: Its YAML file, without suffix.
        prepare: Checks a configuration for a run directory, also given whether it is one of a sweep, and returns the
            settings, or `Finished` if nothing is left to do. Raises a ValueError for a mistake.
        execute: Does the work of one job, given what was prepared, the directory, and whether it is one of a sweep.
        sweep: Imports what is done around the jobs of a sweep, which takes seconds.
        interrupted: What is said if a signal ends one job, given its directory.
    """

    name: str
    prepare: Callable[[DictConfig, Path, bool], Any]
    execute: Callable[[Any, Path, bool], None]
    sweep: Callable[[], Sweep]
    interrupted: Callable[[Path], str] = lambda folder: "interrupted"

    def work(self, config: DictConfig, folder: Path, in_sweep: bool) -> Finished | None:
        """Do one job.

        Args:
            config: Its configuration, without Hydra's node.
            folder: Its run directory, which exists.
            in_sweep: Whether it is one of a sweep.

        Returns:
            What had finished before, if nothing was left to do.
        """
        with _where_the_command_was_given():
            prepared = self.prepare(config, folder, in_sweep)
            if isinstance(prepared, Finished):
                return prepared
            self.execute(prepared, folder, in_sweep)
        return None


@contextmanager
def _where_the_command_was_given() -> Iterator[None]:
    """Leave the run directory, where `hydra.job.chdir=true` has put the job: paths are relative to the command's."""
    if not (HydraConfig.initialized() and HydraConfig.get().job.chdir):
        yield
        return
    with chdir(HydraConfig.get().runtime.cwd):
        yield


def job_directory(base: str, differing: Iterable[str], config: DictConfig) -> str:
    """Return where a job is written, below the sweep's directory: a common beginning, then what differs between jobs.

    Args:
        base: The beginning, with interpolations; what differs and is named there is not named again.
        differing: The keys that have several values in the sweep.
        config: Of the job, Hydra's node included.

    Returns:
        The beginning and a name, such as `.../T${T}/lr0.003_seed1`; in the name no value has a character that a shell
        or a file system could take for something else, and no two values look the same.
    """
    choices = config.hydra.runtime.choices
    keys = [key for key in differing if not re.search(rf"\${{(hydra\.runtime\.choices\.)?{re.escape(key)}}}", base)]
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for short, key in zip(last, keys, strict=True)]
    values = [f"-{choices[key]}" if key in choices else _text(OmegaConf.select(config, key)) for key in keys]
    own = _file_name("_".join(name + value for name, value in zip(names, values, strict=True)))
    return f"{base}/{own}" if own else base


def _text(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _file_name(text: str) -> str:
    """The text if it is short and of plain characters; else what is left of it, and a digest to tell it from others."""
    plain = re.sub(r"[^\w.+-]+", "-", text, flags=re.ASCII)
    if plain == text and len(text) <= _LONGEST:
        return text
    return f"{plain[:_LONGEST]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
