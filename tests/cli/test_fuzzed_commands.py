"""Commands with input that nobody would write: each ends in a run or in lines, and leaves nothing that counts as one.

As in `tests/fuzz`, every case is a function of its number; here it goes the whole way from the command line to its end.
"""

import random
import subprocess
import sys

import pytest
import torch
from cli_files import TINY

from tests.odd_words import EXTRA_KEYS, PREFIXES, WORDS

ENDLESS = "updates", "trainer.sequences", "trainer.validate_every", "hydra.run.dir"  # numbers that would be waited for
LARGE = "2147483647", "9" * 40


def flat(plain, path=""):
    for name, value in plain.items():
        yield from flat(value, f"{path}{name}.") if isinstance(value, dict) else [f"{path}{name}"]


@pytest.fixture(scope="module")
def keys(finished_run):
    contents = torch.load(finished_run.checkpoint, weights_only=True)
    return [key for key in [*flat(contents["ffattn"]["settings"]), *EXTRA_KEYS] if key not in ENDLESS]


def odd_arguments(numbers, keys):
    words = [word for word in WORDS if word not in LARGE]
    count = numbers.choice([1, 1, 2])
    return [f"{numbers.choice(PREFIXES)}{numbers.choice(keys)}={numbers.choice(words)}" for _ in range(count)]


def check(status, err, case, folder):
    """A run that has ended, or lines and no result."""
    assert "Traceback" not in err, (case, err)
    if status:
        assert err.strip(), case
        assert not (folder / "result.json").exists(), case
    elif "--" not in " ".join(case):
        assert (folder / "result.json").exists(), (case, err)


def run_case(case, name, command, workplace):
    done = command("train", *TINY, f"hydra.run.dir={name}", *case)
    assert done.status in {0, 1, 2}, case
    check(done.status, done.err, case, workplace / name)


@pytest.mark.parametrize("part", range(2))
def test_training(part, keys, command, workplace):
    numbers = random.Random(part)
    for number in range(10):
        run_case(odd_arguments(numbers, keys), f"run{number}", command, workplace)


ALONE = range(1000, 1020)


def test_training_of_what_also_runs_in_processes(keys, command, workplace):
    for number in ALONE:
        run_case(odd_arguments(random.Random(number), keys), f"run{number}", command, workplace)


@pytest.mark.parametrize("number", [*ALONE[:2], *(pytest.param(n, marks=pytest.mark.slow) for n in ALONE[2:])])
def test_training_in_a_process_of_its_own(number, keys, tmp_path):
    case = odd_arguments(random.Random(number), keys)
    words = [sys.executable, "-m", "ffattn.train", *TINY, "hydra.run.dir=run", *case]
    done = subprocess.run(words, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode in {0, 1, 2}, (case, done.stderr)
    check(done.returncode, done.stderr, case, tmp_path / "run")
