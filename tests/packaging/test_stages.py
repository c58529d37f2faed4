"""What a command imports until it gets to each stage: a process goes through them, from the cheapest on."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, importlib, io, json, os, sys
from ffattn.system.quick_start import start_quickly

def status_of(module, *words):
    sys.argv = [f"ffattn-{module}", *words]
    os.environ.pop("HYDRA_FULL_ERROR", None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(f"ffattn.{module}").main()
    except SystemExit as left:
        return left.code
    return 0

start_quickly()  # as a process of a command does
for line in sys.stdin:
    print(json.dumps([status_of(*line.split()), sorted(sys.modules)]))

import torchmetrics, torchmetrics.functional  # as a model of the user's might
import torch, numba, numpy
metric = torchmetrics.MeanSquaredError()
metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
figure, _ = metric.plot()
product = numba.njit(lambda a: numpy.dot(a, a))(numpy.full((2, 2), 3.0))
found = [metric.compute().item(), len(figure.axes), callable(torchmetrics.functional.accuracy), product.sum()]
print(json.dumps([found, sorted(sys.modules)]))
"""
TINY = "T=12 updates=1 batch_size=2 model.hidden=2 trainer.sequences=2 trainer.validate_every=1 accelerator=cpu"
STAGES = {
    "trained": f"train {TINY} logger=none trainer.progress=none hydra.run.dir=run",
    "evaluated": "evaluate checkpoint=run/checkpoints/best.ckpt T=12 sequences=2 hydra.run.dir=evaluated",
}
NEVER = {"scipy", "matplotlib", "pandas", "sklearn", "pyarrow", "onnx", "optuna", "tensorboard", "torchmetrics.audio"}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The modules that the process has after each stage."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(STAGES.values()),
        cwd=tmp_path_factory.mktemp("stages"),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    *stages, (found, after) = [json.loads(line) for line in done.stdout.splitlines()]
    assert [status for status, _ in stages] == [0 for _ in STAGES], done.stderr
    assert found == [2.0, 1, True, 72.0]
    return {name: set(modules) for name, (_, modules) in zip(STAGES, stages, strict=True)} | {"afterwards": set(after)}


def test_a_synthetic_task_needs_nothing_of_files_pictures_and_logs(imported):
    assert {"lightning", "torchmetrics", "ffattn.runs.evaluating"} <= imported["evaluated"]
    assert not NEVER & imported["evaluated"]


def test_what_was_left_out_is_there_when_it_is_asked_for(imported):
    """Metrics that need scipy, plots of them, and Numba's linear algebra."""
    assert {"scipy", "matplotlib", "torchmetrics.functional.audio"} <= imported["afterwards"]
