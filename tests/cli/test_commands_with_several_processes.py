"""Several processes from the command line: one command, torchrun on two machines, a killed process, and a sweep."""

import json
import signal
import socket

import pytest
import torch

from ffattn.config.lock import locked
from tests.pairwise import few
from tests.waiting import wait_for

pytestmark = pytest.mark.cli

RUN = ["T=12", "batch_size=4", "model.hidden=4", "updates=4", "trainer.validate_every=2", "trainer.sequences=10"]
RUN += ["logger=csv", "trainer.log_every=1", "accelerator=ddp_cpu"]
MODEL = """
    import os, signal, time
    from dataclasses import dataclass
    from pathlib import Path
    from ffattn.models import FFAttention

    @dataclass
    class Dying(FFAttention):
        def build(self, sizes):
            network, calls = super().build(sizes), []

            def count(module, inputs):
                calls.append(module.training)
                if sum(calls) == 3 and os.environ.get("RANK") == "1":
                    if not Path("died").exists():
                        Path("died").touch()
                        os.kill(os.getpid(), signal.SIGKILL)

            network.attention.register_forward_pre_hook(count)
            return network
"""


def losses(folder):
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    return [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.fixture
def dying(tmp_path):
    """A model whose second process dies once, at the third update."""
    folder = tmp_path / "mine" / "conf" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "mine" / "dying.py").write_text("\n".join(line[4:] for line in MODEL.splitlines()))
    (folder / "dying.yaml").write_text("_target_: dying.Dying\nhidden: 4\n")
    return ["--config-dir", "mine/conf", "model=dying"]


@pytest.mark.slow
def test_two_machines_share_a_run(start, train, tmp_path):
    """Two of torchrun's nodes, with one process each."""
    alone = train("logger=csv", "trainer.log_every=1", "updates=4")
    assert alone.status == 0
    port = free_port()
    two = [
        start(
            *("torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"),
            *("--master-addr=127.0.0.1", f"--master-port={port}"),
            *("-m", "ffattn.train", *RUN, "accelerator.num_nodes=2", "accelerator.devices=1", "hydra.run.dir=two"),
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
        )
        for rank in (0, 1)
    ]
    ended = [node.ended() for node in two]
    assert [node.status for node in ended] == [0, 0], ended
    assert "2 processes" in ended[0].out
    assert ended[1].out == ""
    own = [line for line in ended[1].err.splitlines() if line.startswith(("update ", "ffattn", "Traceback"))]
    assert own == []  # the rest is torchrun's, which may mourn the first node
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "run"), rel=1e-5)
    assert json.loads((tmp_path / "two" / "result.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_torchrun_starts_a_run_again_after_a_process_was_killed(dying, start, train, tmp_path):
    options = ["hydra.run.dir=again", "resume=last"]
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "ffattn.train"]
    ended = start(*run, *dying, *RUN, *options).ended()
    assert ended.status == 0, ended
    assert (tmp_path / "died").exists()
    assert train("logger=csv", "trainer.log_every=1", "updates=4").status == 0
    assert losses(tmp_path / "again")[-2:] == pytest.approx(losses(tmp_path / "run")[-2:], rel=1e-5)


LONG = ["updates=100000", "trainer.validate_every=100000", "trainer.log_every=1", "logger=csv"]


def interrupt_when_training(started, number, folders):
    """The curves are written after a hundred updates; what is printed after that."""
    wait_for(lambda: all((folder / "metrics.csv").exists() for folder in folders), "all train")
    started.send(number)
    ended = started.ended()
    assert ended.status == 128 + number, ended
    for folder in folders:  # long before the first validation
        assert 100 <= last(folder)["global_step"] < 100000
    return ended


@pytest.mark.signals
@pytest.mark.parametrize(("accelerator", "number"), few([("fsdp", signal.SIGUSR1), ("ddp_cpu", signal.SIGINT)]))
def test_after_a_signal_processes_save_where_they_are(start, train, tmp_path, accelerator, number):
    run = tmp_path / "run"
    started = start("ffattn.train", *RUN[:-1], f"accelerator={accelerator}", *LONG, f"hydra.run.dir={run}")
    ended = interrupt_when_training(started, number, [run])
    assert ended.lines == [f"interrupted; continue with hydra.run.dir={run} resume=last"]
    saved = last(run)
    updates = saved["global_step"]
    assert train(f"updates={updates}", f"trainer.validate_every={updates}", "hydra.run.dir=alone").status == 0
    alone = last(tmp_path / "alone")
    torch.testing.assert_close(saved["state_dict"], alone["state_dict"], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.signals
def test_no_process_outlives_the_one_that_started_it(start, tmp_path):
    """Which was killed, and holds the lock: another run could go on there."""
    run = tmp_path / "run"
    started = start("ffattn.train", *RUN, *LONG, f"hydra.run.dir={run}")
    wait_for((run / "metrics.csv").exists, "training begins")
    assert len(started.processes()) >= 4  # the command, the agent and two ranks
    started.process.kill()
    started.ended()


@pytest.mark.slow
@pytest.mark.signals
def test_a_signal_reaches_the_jobs_of_a_sweep_wherever_they_run(start, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    jobs = ["-m", "seed=0,1", "accelerator=cpu", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    started = start("ffattn.train", *RUN, *LONG, *jobs, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    folders = [tmp_path / "sweep" / "add_ffattn" / "T12" / f"seed{seed}" for seed in range(2)]
    ended = interrupt_when_training(started, signal.SIGTERM, folders)
    assert "2 jobs, 0 failed, 2 cut off" in ended.out
    assert ended.lines == ["interrupted"]
    with locked(folders[0]), locked(folders[1]):  # nobody has been left behind
        pass


@pytest.mark.slow
def test_each_job_of_a_sweep_starts_its_own_processes(command, workplace):
    done = command("train", "-m", *RUN, "seed=0,1", "hydra.sweep.dir=sweep")
    assert done.status == 0, done.err
    results = [json.loads(path.read_text()) for path in sorted(workplace.glob("sweep/*/*/*/result.json"))]
    assert [(result["seed"], result["processes"]) for result in results] == [(0, 2), (1, 2)]
    assert results[0]["val"] != results[1]["val"]


def test_a_sweep_under_torchrun_is_refused(command, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))
    done = command("train", "-m", *RUN, "seed=0,1", "hydra.sweep.dir=sweep")
    assert done.status == 1
    assert done.err == "-m: start a sweep without torchrun; each job starts its own accelerator.devices\n"
