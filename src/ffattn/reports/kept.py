"""Finished runs on disk: in run directories, and in files of kept results, which hold many without their checkpoints.

A file of kept results is JSON Lines: a run a line, sorted by folder. A line is what `result.json` holds, and before it
`folder`: where the run was below the directory that the file stands for. `table1.jsonl` stands for `table1`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ffattn.runs.cells import FinishedRun
from ffattn.runs.result import RESULT, is_training_run, parse_result, read_result
from ffattn.system.atomic_files import atomic_write

SUFFIX = ".jsonl"
_FOLDER = "folder"
_START = f'{{"{_FOLDER}":'.encode()


def directory_of(path: Path) -> Path:
    """Return the directory of runs that a file of kept results stands for; a directory stands for itself.

    Args:
        path: A file or a directory.
    """
    return path.with_suffix("") if path.suffix == SUFFIX else path


def read_runs(paths: Iterable[Path]) -> list[FinishedRun]:
    """Return the training runs that some directories and files hold, sorted by folder.

    Args:
        paths: Directories, in which `result.json` and files of kept results lie at any depth; and such files. A run
            that is in both is read from its directory.

    Raises:
        DamagedError: A result cannot be read.
        OSError: A file cannot be read.
    """
    paths = list(paths)
    found = {run.folder: run for path in paths for file in _kept_files(path) for run in read_kept(file)}
    for folder in sorted({file.parent for path in paths for file in path.rglob(RESULT)}):
        if (result := read_result(folder)) is not None:
            found[folder] = FinishedRun(folder, result)
    return [found[folder] for folder in sorted(found) if is_training_run(found[folder].result)]


def _kept_files(path: Path) -> Iterator[Path]:
    """Yield the files of kept results that a path names: itself, or those below it among others of that suffix."""
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob(f"*{SUFFIX}")):
        with file.open("rb") as opened:
            if opened.read(len(_START)) == _START:
                yield file


def read_kept(path: Path) -> list[FinishedRun]:
    """Return the runs that a file of kept results holds.

    Args:
        path: The file.

    Raises:
        DamagedError: A line is not a run.
        OSError: The file cannot be read.
    """
    return [_parse_line(path, number, line) for number, line in enumerate(path.read_bytes().splitlines(), start=1)]


def _parse_line(path: Path, number: int, line: bytes) -> FinishedRun:
    result = parse_result(line, f"{path}, line {number}")
    return FinishedRun(directory_of(path) / str(result.pop(_FOLDER, "")), result)


def write_kept(path: Path, runs: Sequence[FinishedRun]) -> None:
    """Write a file of kept results, whole or not at all.

    Args:
        path: The file, in a folder that exists.
        runs: Their folders are below the path without its suffix.

    Raises:
        OSError: It cannot be written.
    """
    lines = [_format_line(path, run) for run in sorted(runs, key=lambda run: run.folder)]
    with atomic_write(path) as part:
        part.write_text("".join(lines))


def _format_line(path: Path, run: FinishedRun) -> str:
    folder = run.folder.relative_to(directory_of(path)).as_posix()
    return json.dumps({_FOLDER: folder, **run.result}, separators=(",", ":")) + "\n"
