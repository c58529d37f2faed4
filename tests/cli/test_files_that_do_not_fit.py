"""What a command cannot write is one line that names the file, and what was there before stays."""

import resource
import shutil
import sys
from contextlib import contextmanager

import pytest
from cli_files import TINY

SWEEP = ["-m", *TINY, "seed=0,1", "logger=csv", "hydra.sweep.dir=sweep"]


@contextmanager
def files_of_at_most(size):
    """The system refuses what is larger, as it does where a disk is full.

    Python keeps no bytecode meanwhile: it would cut off that of a package which is imported here for the first time,
    for every later process.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    wrote_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = wrote_no_bytecode


@pytest.fixture
def copied(finished_run, workplace):
    """A finished run in the directory `run`."""
    return shutil.copytree(finished_run.folder, workplace / "run")


@pytest.mark.parametrize(
    ("size", "words", "file"),
    [
        (1_000, "export checkpoint=run/checkpoints/best.ckpt output=model.onnx", "model.onnx"),
        (1_000, "export checkpoint=run/checkpoints/best.ckpt output=model.pt2", "model.pt2"),
        (1_000, "export checkpoint=run/checkpoints/best.ckpt output=model.safetensors", "model.safetensors"),
        (20_000, "inspect checkpoint=run/checkpoints/best.ckpt hydra.run.dir=looked", "looked/sequence.png"),
        (20_000, "report run --output=table", "table_lengths.png"),
        (100, "report run --output=table", "table.md"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(copied, command, size, words, file):
    workplace = copied.parent
    (workplace / file).parent.mkdir(exist_ok=True)
    (workplace / file).write_text("before")
    with files_of_at_most(size):
        done = command(*words.split())
    assert done.status == 1
    assert done.err in {f"{file}: File too large\n", f"{workplace / file}: File too large\n"}
    assert (workplace / file).read_text() == "before"
    assert not list(workplace.rglob("part.*"))


@pytest.mark.slow
def test_a_sweep_whose_curves_do_not_fit_says_so_of_each_job(command, workplace):
    with files_of_at_most(20_000):
        done = command("train", *SWEEP, "trainer.log_every=1", "updates=2000", "trainer.validate_every=2000")
    assert done.status == 1
    assert [line.partition(": ")[2].partition("; ")[0] for line in done.err.splitlines()] == [
        f"failed: {workplace}/sweep/add_ffattn/T12/seed{seed}: logger=csv cannot write curves: File too large"
        for seed in (0, 1)
    ]
    assert (workplace / "sweep" / "sweep.csv").read_text().count("failed") == 2


def test_a_sweep_that_cannot_write_anything_still_prints_its_table(command, workplace):
    with files_of_at_most(10):
        done = command("train", *SWEEP)
    assert done.status == 1
    assert done.err == f"{workplace / 'sweep'}: File too large\n"
    assert f"2 jobs, 0 failed, 2 not started; {workplace}/sweep/sweep.csv: File too large" in done.out
