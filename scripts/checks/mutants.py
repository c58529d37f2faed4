"""Change the operators and the settings in small ways, and list the changes that no test notices.

make mutants                           # an hour, two at a time
make mutants ARGS="--minutes 10 --only src/ffattn/settings.py --save docs/mutants.md"

Cosmic Ray makes the changes: another operator, another number, a condition negated. Each is tried in a copy of the
checkout by the tests that belong to its module; a test that fails, or takes far too long, has noticed it. There are
more changes than an hour has time for, so they are drawn at random, from all modules in turn.
"""

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome

ROOT = Path(__file__).parents[2]
OPERATORS = (
    "tests/unit/ops/test_reference.py tests/unit/ops/test_operator_arguments.py tests/unit/ops/test_operators.py"
)
CPU = "tests/unit/ops/test_cpu.py tests/unit/ops/test_operators.py"
SETTINGS = "tests/unit/test_settings.py tests/config"
SWEEPS = "tests/cli/test_sweeps.py tests/config/test_bad_overrides.py"
TESTS = {  # of each module
    "src/ffattn/ops/operators.py": f"{OPERATORS} tests/unit/ops/test_operators_in_graphs.py",
    "src/ffattn/ops/reference.py": OPERATORS,
    **{str(path.relative_to(ROOT)): CPU for path in sorted((ROOT / "src/ffattn/ops/cpu").glob("*.py"))},
    "src/ffattn/settings.py": SETTINGS,
    "src/ffattn/config/command.py": f"{SETTINGS} tests/cli/test_train_command.py",
    "src/ffattn/config/compose.py": SETTINGS,
    "src/ffattn/config/convert.py": SETTINGS,
    "src/ffattn/config/explain.py": SETTINGS,
    "src/ffattn/config/hydra_access.py": SETTINGS,
    "src/ffattn/config/jobs.py": SWEEPS,
    "src/ffattn/config/lock.py": SWEEPS,
    "src/ffattn/config/precomposed.py": f"{SWEEPS} tests/config/test_precomposed.py",
    "src/ffattn/config/schema.py": SETTINGS,
    "src/ffattn/config/sweep_plan.py": SWEEPS,
    "src/ffattn/config/sweep_signals.py": SWEEPS,
    "src/ffattn/config/sweeps.py": SWEEPS,
    "src/ffattn/config/trained_schema.py": SETTINGS,
}
IGNORED = "BitOr", "RemoveDecorator"  # `int | None` is an annotation; a kernel without a decorator is still a function
PATIENCE = 240.0  # seconds that tests may take


class Mutant(NamedTuple):
    """A change that was tried.

    Attributes:
        module: The file.
        line: Where.
        diff: The lines that it changes, with - and +.
        is_noticed: Whether a test failed.
    """

    module: str
    line: int
    diff: list[str]
    is_noticed: bool


def mutations(modules: Iterable[str], seed: int) -> dict[str, list[Any]]:
    """All changes to some modules, in random order.

    Args:
        modules: Files.
        seed: Of the order.
    """
    database = WorkDB(":memory:", WorkDB.Mode.create)
    init([Path(module) for module in modules], database, {})
    found = defaultdict(list)
    for item in database.work_items:
        if not any(name in item.mutations[0].operator_name for name in IGNORED):
            found[str(item.mutations[0].module_path)].append(item.mutations)
    for items in found.values():
        items.sort(key=str)
        random.Random(seed).shuffle(items)
    return found


def _in_turn(groups: Iterable[list[Any]]) -> Iterator[Any]:
    """The first of each, then the second of each, ..."""
    for row in itertools.zip_longest(*groups):
        yield from (item for item in row if item is not None)


def _copy_checkout(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


def _enter(folder: Path) -> None:
    """Work in a copy of one's own, with one thread."""
    copy = folder / str(os.getpid())
    _copy_checkout(copy)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}


def _try(mutation: Any, python: str, end: float) -> Mutant | None:
    if time.time() > end:
        return None
    module = str(mutation[0].module_path)
    tests = f"{python} -m pytest -x -q {TESTS[module]}"
    result = mutate_and_test(mutation, tests, PATIENCE)
    lines = (result.diff or "").splitlines()
    diff = [line for line in lines if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}]
    return Mutant(module, mutation[0].start_pos[0], diff, result.test_outcome != TestOutcome.SURVIVED)


def report(tried: list[Mutant], found: dict[str, list[Any]], about: str) -> Iterator[str]:
    """A page in Markdown.

    Args:
        tried: The changes.
        found: All changes that there are, of each module.
        about: When and how.
    """
    yield "# Changes that no test notices\n"
    yield about
    yield "\n| module | possible changes | tried | noticed |\n|---|---:|---:|---:|"
    for module, items in found.items():
        own = [mutant.is_noticed for mutant in tried if mutant.module == module]
        yield f"| `{module.removeprefix('src/ffattn/')}` | {len(items)} | {len(own)} | {sum(own)} |"
    for module in found:
        survivors = sorted({(m.line, *m.diff) for m in tried if m.module == module and not m.is_noticed})
        if survivors:
            yield f"\n## `{module.removeprefix('src/ffattn/')}`\n\n```diff"
            for line, *diff in survivors:
                yield f"@@ {line} @@"
                yield from diff
            yield "```"


def main() -> None:
    """Try, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=TESTS, help="a module; may be repeated")
    parser.add_argument("--python", default=sys.executable, help="whose tests are run")
    parser.add_argument("--save", help="a Markdown file to write")
    options = parser.parse_args()
    os.chdir(ROOT)
    found = mutations(options.only or TESTS, options.seed)
    folder = ROOT / "build" / "mutants"
    end = time.time() + 60 * options.minutes
    python = str(Path(options.python).absolute())
    with ProcessPoolExecutor(options.processes, initializer=_enter, initargs=(folder,)) as pool:
        jobs = [pool.submit(_try, mutation, python, end) for mutation in _in_turn(found.values())]
        tried = [mutant for job in jobs if (mutant := job.result()) is not None]
    shutil.rmtree(folder)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout
    course = f"in {options.minutes:g} minutes, {options.processes} at a time, seed {options.seed}"
    about = f"Made by `make mutants` {course}, at commit {commit.strip()}."
    text = "\n".join(report(tried, found, about)) + "\n"
    if options.save:
        Path(options.save).write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
