"""Several processes from the command line: one command, torchrun on two machines, a killed process, and a sweep."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch

from ffattn.config.lock import locked

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
                    if Path("wait").exists():
                        Path("waiting").touch()
                        time.sleep(60)
                    if not Path("died").exists():
                        Path("died").touch()
                        os.kill(os.getpid(), signal.SIGKILL)

            network.attention.register_forward_pre_hook(count)
            return network
"""


def start(*arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


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


def test_two_machines_share_a_run(train, tmp_path):
    """Two of torchrun's nodes, with one process each."""
    alone = train("logger=csv", "trainer.log_every=1", "updates=4")
    assert alone.status == 0
    port = free_port()
    two = [
        start(
            *("torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"),
            *("--master-addr=127.0.0.1", f"--master-port={port}"),
            *("-m", "ffattn.train", *RUN, "accelerator.num_nodes=2", "accelerator.devices=1", "hydra.run.dir=two"),
            cwd=tmp_path,
        )
        for rank in (0, 1)
    ]
    printed = [node.communicate(timeout=120) for node in two]
    assert [node.returncode for node in two] == [0, 0], printed
    assert "2 processes" in printed[0][0]
    assert printed[1][0] == ""
    own = [line for line in printed[1][1].splitlines() if line.startswith(("update ", "ffattn", "Traceback"))]
    assert own == []  # the rest is torchrun's, which may mourn the first node
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "run"), rel=1e-5)
    assert json.loads((tmp_path / "two" / "result.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_torchrun_starts_a_run_again_after_a_process_was_killed(dying, train, tmp_path):
    options = ["hydra.run.dir=again", "resume=last"]
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "ffattn.train"]
    started = start(*run, *dying, *RUN, *options, cwd=tmp_path)
    _, errors = started.communicate(timeout=120)
    assert started.returncode == 0, errors
    assert (tmp_path / "died").exists()
    assert train("logger=csv", "trainer.log_every=1", "updates=4").status == 0
    assert losses(tmp_path / "again")[-2:] == pytest.approx(losses(tmp_path / "run")[-2:], rel=1e-5)


def test_a_signal_ends_all_processes_with_one_line(dying, tmp_path):
    (tmp_path / "wait").touch()
    started = start("ffattn.train", *dying, *RUN, "hydra.run.dir=run", cwd=tmp_path)
    for _ in range(300):
        if (tmp_path / "waiting").exists():
            break
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 143
    lines = [line for line in errors.splitlines() if not line.startswith(("update ", "ffattn: compiling"))]
    assert lines == [f"interrupted; continue with hydra.run.dir={tmp_path / 'run'} resume=last"]
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


LONG = ["updates=100000", "trainer.validate_every=100000", "trainer.log_every=1", "logger=csv"]


def signal_when_curves_are_there(started, number, folders):
    """The curves are written after a hundred updates; what is printed after that."""
    for _ in range(600):
        if all((folder / "metrics.csv").exists() for folder in folders):
            break
        time.sleep(0.1)
    started.send_signal(number)
    printed = started.communicate(timeout=60)
    assert started.returncode == 128 + number, printed
    for folder in folders:  # long before the first validation
        assert 100 <= last(folder)["global_step"] < 100000
    return printed


@pytest.mark.parametrize("accelerator", ["ddp_cpu", "fsdp"])
def test_after_a_signal_processes_save_where_they_are(train, tmp_path, accelerator):
    run = tmp_path / "run"
    options = [*RUN[:-1], f"accelerator={accelerator}", *LONG, f"hydra.run.dir={run}"]
    started = start("ffattn.train", *options, cwd=tmp_path)
    _, errors = signal_when_curves_are_there(started, signal.SIGUSR1, [run])
    assert f"interrupted; continue with hydra.run.dir={run} resume=last" in errors
    saved = last(run)
    updates = saved["global_step"]
    assert train(f"updates={updates}", f"trainer.validate_every={updates}", "hydra.run.dir=alone").status == 0
    alone = last(tmp_path / "alone")
    torch.testing.assert_close(saved["state_dict"], alone["state_dict"], rtol=1e-3, atol=1e-5)


def test_no_process_outlives_the_one_that_started_it(tmp_path):
    """Which was killed, and holds the lock: another run could go on there."""
    run = tmp_path / "run"
    started = start("ffattn.train", *RUN, *LONG, f"hydra.run.dir={run}", cwd=tmp_path)
    for _ in range(600):
        if (run / "metrics.csv").exists():
            break
        time.sleep(0.1)
    children = psutil.Process(started.pid).children(recursive=True)
    ranks = [child for child in children if child.environ().get("RANK")] or children
    started.kill()
    started.communicate(timeout=60)  # until nobody holds the other ends of its pipes
    assert len(ranks) >= 2
    _, alive = psutil.wait_procs(ranks, timeout=20)
    assert alive == []


def test_a_signal_reaches_the_jobs_of_a_sweep_wherever_they_run(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    jobs = ["-m", "seed=0,1", "accelerator=cpu", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    started = start("ffattn.train", *RUN, *LONG, *jobs, f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path)
    folders = [tmp_path / "sweep" / "add_ffattn" / "T12" / f"seed{seed}" for seed in range(2)]
    printed, _ = signal_when_curves_are_there(started, signal.SIGTERM, folders)
    assert "2 jobs, 0 failed, 2 cut off" in printed
    with locked(folders[0]), locked(folders[1]):  # nobody has been left behind
        pass


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
