"""How long a command takes to start: to help, to a mistake, to the first line of progress; docs/benchmarks/start.md.

    python -m scripts.benchmarks.start
    python -m scripts.benchmarks.start --against OTHER/src --save docs/benchmarks/start.md

Each row of the table is one command, timed in a new process, in turn with processes that only import torch or
Lightning. Times are medians in seconds, of the process and its children. In the runs without bytecode Python compiles
each module that it imports, as it does where PYTHONDONTWRITEBYTECODE is set in a new environment.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ffattn.system.provenance import commit

SOURCE = Path(__file__).parents[2] / "src"
TORCH = "import torch"
LIGHTNING = "import lightning.pytorch"
TINY = "model.hidden=8 trainer.sequences=10 trainer.validate_every=1 updates=1 accelerator=cpu"
RUN = "hydra.run.dir={folder}/run{number}"


class Start(NamedTuple):
    """What is started.

    Attributes:
        title: In the table.
        words: Of the command line, behind `python`; {folder} and {number} are filled in.
        until: What its standard error has when the clock stops; its end, if that is empty.
    """

    title: str
    words: str
    until: str = ""


STARTS = [
    Start("`import torch`", f"-c {TORCH.replace(' ', '+')}"),
    Start("`import lightning.pytorch`", f"-c {LIGHTNING.replace(' ', '+')}"),
    Start("`ffattn.train --help`", "-m ffattn.train --help"),
    Start("`ffattn.report --help`", "-m ffattn.report --help"),
    Start("`task=nosuch`", "-m ffattn.train task=nosuch"),
    Start("`trainer.patiense=3`", "-m ffattn.train trainer.patiense=3"),
    Start("`T=-1`", "-m ffattn.train T=-1"),
    Start("`optim.lr=abc`", "-m ffattn.train optim.lr=abc"),
    Start("`task=file task.val_share=2`", "-m ffattn.train task=file task.path=x.csv task.target=y task.val_share=2"),
    Start("`ffattn.evaluate`, no such checkpoint", "-m ffattn.evaluate checkpoint=nosuch.ckpt"),
    Start("`ffattn.train`, first line of progress", f"-m ffattn.train updates=1000000 {RUN}", "update "),
    Start("`ffattn.train`, one update, to the end", f"-m ffattn.train {TINY} {RUN}"),
    Start("the same in two processes", f"-m ffattn.train {TINY} accelerator=ddp_cpu accelerator.devices=2 {RUN}"),
    Start("`ffattn.evaluate`, ten sequences", "-m ffattn.evaluate checkpoint={trained} sequences=10 " + RUN),
]
COLD = ("import", "help", "nosuch", "patiense", "T=-1", "lr=abc", "val_share")  # also timed without bytecode


class Taken(NamedTuple):
    """What a process took.

    Attributes:
        wall: Seconds until it ended, or said what was waited for.
        cpu: Seconds of processors until it ended.
    """

    wall: float
    cpu: float


def measure(start: Start, folder: Path, number: int, environment: dict[str, str]) -> Taken:
    """Start a process, and end it once it has said what is waited for.

    Args:
        start: What.
        folder: Where it may write.
        number: Of this start.
        environment: Of the process.
    """
    trained = folder / "trained/checkpoints/best.ckpt"
    words = start.words.format(folder=folder, number=number, trained=trained).split()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *(word.replace("+", " ") for word in words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    if start.until:
        next(line for line in process.stderr if line.startswith(start.until))
        wall = time.perf_counter() - clock
        process.kill()
        process.communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    else:
        process.communicate()
        wall = time.perf_counter() - clock
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def environment_of(source: Path, folder: Path, has_bytecode: bool) -> dict[str, str]:
    """Return the environment of a process that imports the package from a folder.

    Args:
        source: The folder.
        folder: Where the process may write.
        has_bytecode: Whether bytecode is read and written.
    """
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
    cold = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "no_bytecode")}
    return os.environ | threads | ({} if has_bytecode else cold)


def take_turns(starts: list[Start], sources: list[Path], rounds: int, has_bytecode: bool) -> list[list[list[Taken]]]:
    """Train something, which compiles kernels and bytecode where that is missing, and then start everything in turns.

    Args:
        starts: What.
        sources: Folders of the package.
        rounds: How often.
        has_bytecode: Whether bytecode is read and written.

    Returns:
        For each source and each start, what it took in each round.
    """
    taken: list[list[list[Taken]]] = [[[] for _ in starts] for _ in sources]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = Start("", f"-m ffattn.train {TINY} hydra.run.dir={folder}/trained resume=last")
        for source in reversed(sources):
            measure(trained, folder, 0, environment_of(source, folder, True))
        for number in range(rounds):
            for place, start in enumerate(starts):
                for source, found in zip(sources, taken, strict=True):
                    environment = environment_of(source, folder, has_bytecode)
                    own = 1000 * number + 100 * sources.index(source) + place
                    found[place].append(measure(start, folder, own, environment))
    return taken


def table(starts: list[Start], taken: list[list[list[Taken]]]) -> Iterator[str]:
    """Yield the lines of a table: medians, and their ratios to Lightning's import.

    Args:
        starts: What was started.
        taken: As `take_turns` returns it.
    """
    has_other = len(taken) > 1
    yield "| process | s | of CPU | of Lightning's import |" + (
        " before: s | of CPU | now of before |" if has_other else ""
    )
    yield "|---|---:|---:|---:|" + ("---:|---:|---:|" if has_other else "")
    lightning = next(place for place, start in enumerate(starts) if LIGHTNING in start.title)
    medians = [[Taken(*map(median, zip(*rounds, strict=True))) for rounds in found] for found in taken]
    for place, start in enumerate(starts):
        now = medians[0][place]
        line = f"| {start.title} | {now.wall:.2f} | {now.cpu:.2f} | {now.cpu / medians[0][lightning].cpu:.2f} |"
        if has_other:
            before = medians[1][place]
            line += f" {before.wall:.2f} | {before.cpu:.2f} | {now.cpu / before.cpu:.2f} |"
        yield line


def lines(given: argparse.Namespace) -> Iterator[str]:
    """Yield the page.

    Args:
        given: The command line.
    """
    sources = [SOURCE, *([given.against.resolve()] if given.against else [])]
    versions = f"Python {platform.python_version()}, {os.cpu_count()} cores, one thread a process"
    yield f"Made by `python -m scripts.benchmarks.start` at commit {commit()}: {versions}."
    yield f"Seconds are medians of {given.rounds} rounds."
    yield "The last columns are ratios of CPU seconds, which other work on the machine disturbs least.\n"
    if given.only != "without":
        yield "## With bytecode\n"
        yield from table(STARTS, take_turns(STARTS, sources, given.rounds, True))
        yield ""
    if given.only != "with":
        yield "## Without bytecode\n"
        cold = [start for start in STARTS if any(part in start.words for part in COLD)]
        yield from table(cold, take_turns(cold, sources, given.rounds, False))


def main() -> None:
    """Print the tables, and save them if asked to."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m scripts.benchmarks.start", description=__doc__, formatter_class=raw)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--against", type=Path, help="the folder src of another version, which takes turns with this one"
    )
    parser.add_argument("--only", choices=("with", "without"), help="one table: with or without bytecode")
    parser.add_argument("--save", type=Path, help="a Markdown file to write")
    given = parser.parse_args()
    found = []
    for line in lines(given):
        print(line, flush=True)
        found.append(line)
    if given.save:
        given.save.write_text("# Starting a command\n\n" + "\n".join(found) + "\n")


if __name__ == "__main__":
    main()
