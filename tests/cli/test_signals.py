"""A signal at any moment ends a command in one line, with its own status, and leaves no process behind.

Stages are what can be named: they are the same on any machine. Moments are spread evenly over the time until training
has begun, which finds what has no name.
"""

import os
import signal
import time
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from tests.waiting import wait_for

pytestmark = [pytest.mark.cli, pytest.mark.signals]

PATH = os.pathsep.join([str(Path(__file__).parent / "stages"), os.environ.get("PYTHONPATH", "")])
TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
RUN = ["T=12", "batch_size=4", "model.hidden=4", "trainer.sequences=10", "logger=csv", "trainer.log_every=1"]
LONG = [*RUN, "updates=1000000", "trainer.validate_every=1000000"]
SHORT = [*RUN, "updates=2", "trainer.validate_every=2"]
NOTHING = "interrupted; nothing was written"
SWEEP = ["-m", "seed=0,1", "accelerator=cpu", "hydra.sweep.dir=sweep"]
KINDS = {
    "one": ["accelerator=cpu", "hydra.run.dir=run"],
    "two": ["accelerator=ddp_cpu", "accelerator.devices=2", "hydra.run.dir=run"],
    "sweep": [*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}
MOMENTS = 20
STUCK = """
    import os, threading
    from dataclasses import dataclass
    from pathlib import Path
    from ffattn.models import FFAttention

    @dataclass
    class Stuck(FFAttention):
        def build(self, sizes):
            network, calls = super().build(sizes), []

            def hang(module, inputs):
                calls.append(module.training)
                if sum(calls) == 3 and os.environ.get("RANK", "1") == "1":
                    Path("stuck").touch()
                    threading.Event().wait()

            network.attention.register_forward_pre_hook(hang)
            return network
"""


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def line_of(kind):
    """What is said once something has been written."""
    run = f"interrupted; continue with hydra.run.dir={Path.cwd() / 'run'} resume=last"
    return "interrupted" if kind == "sweep" else run


@pytest.fixture
def end_at(start, workplace):
    """How a command ends that gets a signal at a stage."""

    def run(kind, stage, number):
        told = workplace / "told"
        told.mkdir()
        at = {"SIGNAL_AT": stage, "SIGNAL": str(int(number)), "SIGNAL_FOLDER": str(told), "PYTHONPATH": PATH}
        ended = start("ffattn.train", *SHORT, *KINDS[kind], **at).ended()
        assert (told / "sent").exists(), ended
        return ended

    return run


@pytest.fixture
def assert_usable(command, workplace):
    """What was interrupted can be done, in the same directory."""

    def do(kind, run=LONG):
        options = SWEEP if kind == "sweep" else ["accelerator=cpu", "hydra.run.dir=run", "resume=last"]
        saved = [torch.load(path, weights_only=True)["global_step"] for path in workplace.glob("**/last.ckpt")]
        done = command("train", *run, *options, f"updates={max(saved, default=0) + 2}", "trainer.progress=none")
        assert done.status == 0, done.err
        assert len(list(workplace.glob("**/result.json"))) == (2 if kind == "sweep" else 1)
        assert not list(workplace.glob("**/part.*"))

    return do


@pytest.mark.parametrize(
    ("kind", "stage", "number"),
    [
        slow("one", "command import omegaconf", TERM),
        ("one", "command import hydra", INT),
        slow("one", "command import numpy", USR1),
        slow("one", "command import torch", TERM),
        slow("two", "command import torch", USR1),
        slow("sweep", "command import torch", INT),
    ],
)
def test_before_anything_is_written(kind, stage, number, end_at, assert_usable):
    ended = end_at(kind, stage, number)
    assert (ended.status, ended.out, ended.lines) == (128 + number, "", [NOTHING])
    assert [path.name for path in Path.cwd().iterdir()] == ["told"]
    assert_usable(kind, SHORT)


@pytest.mark.parametrize(
    ("kind", "stage", "number"),
    [
        ("one", "command import lightning", TERM),
        slow("one", "command import numba", INT),
        slow("one", "command write metrics.csv", USR1),
        slow("one", "command write result.json", TERM),
        slow("two", "command import lightning", USR1),
        slow("two", "agent import lightning", TERM),
        slow("two", "agent import torch", INT),
        slow("two", "agent import torch", USR1),
        slow("two", "agent fork", INT),
        slow("two", "agent fork", TERM),
        slow("two", "rank write metrics.csv", TERM),
        slow("two", "rank write metrics.csv", USR1),
        slow("two", "rank write result.json", INT),
        slow("sweep", "command import joblib", INT),
        slow("sweep", "command import joblib", TERM),
        slow("sweep", "worker import omegaconf", USR1),
        slow("sweep", "worker import torch", INT),
        slow("sweep", "worker import lightning", TERM),
        slow("sweep", "worker write metrics.csv", USR1),
        slow("sweep", "worker write result.json", TERM),
    ],
)
def test_while_a_run_begins_or_ends(kind, stage, number, end_at, assert_usable):
    ended = end_at(kind, stage, number)
    assert (ended.status, ended.lines) == (128 + number, [line_of(kind)])
    if kind == "sweep":
        assert "2 jobs, 0 failed" in " ".join(ended.out.split())
    assert_usable(kind, SHORT)


@pytest.mark.slow
def test_while_hydra_makes_the_directory(end_at, assert_usable):
    """Whose name may have the time in it: it is not known yet."""
    ended = end_at("one", "command write .hydra/config.yaml", INT)
    assert (ended.status, ended.lines) == (130, ["interrupted"])
    assert_usable("one", SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [TERM, INT, USR1])
def test_when_all_is_done_it_is_done(number, end_at):
    """What is left is Python's own end, which no handler of ours is there for: the signal is ignored."""
    ended = end_at("one", "command exit", number)
    assert (ended.status, ended.lines) == (0, [])
    assert Path("run/result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "two"])
def test_while_kernels_are_compiled(kind, start, assert_usable, workplace):
    """The update is finished first."""
    started = start("ffattn.train", *LONG, *KINDS[kind], NUMBA_CACHE_DIR=str(workplace / "compiled"))
    wait_for(lambda: (workplace / "compiled").exists() or not started.is_running(), "compiling begins")
    started.send(TERM)
    ended = started.ended()
    assert (ended.status, ended.lines) == (143, [line_of(kind)])
    assert_usable(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two", "sweep"])
def test_more_ctrl_c_ends_at_once(kind, start, stuck, workplace):
    """Though a process hangs, which is waited for after the first one."""
    started = start("ffattn.train", *stuck, *LONG, *KINDS[kind])
    wait_for((workplace / "stuck").exists, "a process hangs")
    wait_for(lambda: not started.is_running() or started.send(INT), "the command ends")
    ended = started.ended()
    assert (ended.status, ended.lines[0]) == (130, line_of(kind))
    assert "Traceback" not in ended.err


@pytest.fixture
def stuck(tmp_path):
    """A model that hangs in an update, in the second process where there are two."""
    folder = tmp_path / "mine" / "conf" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "mine" / "stuck.py").write_text(dedent(STUCK))
    (folder / "stuck.yaml").write_text("_target_: stuck.Stuck\nhidden: 4\n")
    return ["--config-dir", "mine/conf", "model=stuck"]


@pytest.fixture(scope="module")
def beginning(tmp_path_factory):
    """How long a command of a kind takes until it trains, on this machine at this time."""
    found = {}

    def measure(kind, start):
        if kind not in found:
            folder = tmp_path_factory.mktemp("beginning")
            begun = time.monotonic()
            started = start("ffattn.train", *LONG, *KINDS[kind], cwd=folder)
            wait_for(lambda: list(folder.glob("**/metrics.csv")), "training begins")
            found[kind] = time.monotonic() - begun
            started.kill()
        return found[kind]

    return measure


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("kind", KINDS)
def test_at_a_moment(kind, moment, beginning, start, assert_usable):
    """Of which those before the first line of ours is run are Python's own: see docs/reliability.md."""
    number = (TERM, INT, USR1)[moment % 3]
    delay = beginning(kind, start) * (moment + 1) / MOMENTS
    started = start("ffattn.train", *LONG, *KINDS[kind])
    time.sleep(delay)  # the moment is what is tested
    started.send(number)
    ended = started.ended()
    assert ended.status == 128 + number, ended
    assert ended.lines in ([NOTHING], ["interrupted"], [line_of(kind)]), ended
    assert_usable(kind)
