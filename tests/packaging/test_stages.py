"""What a command imports until it gets to each stage: two processes go through them, from the cheapest on."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
if "torch" not in sys.modules:
    sys.exit()

import torchmetrics, torchmetrics.functional  # as a model of the user's might
import torch, numba, numpy
metric = torchmetrics.MeanSquaredError()
metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
figure, _ = metric.plot()
product = numba.njit(lambda a: numpy.dot(a, a))(numpy.full((2, 2), 3.0))
found = [metric.compute().item(), len(figure.axes), callable(torchmetrics.functional.accuracy), product.sum()]
print(json.dumps([found, sorted(sys.modules)]))
"""
OLD_RUN = Path(__file__).parents[1] / "data/run_of_format_1"
TINY = "T=12 updates=1 batch_size=2 model.hidden=2 trainer.sequences=2 trainer.validate_every=1 accelerator=cpu"
QUIET = "logger=none trainer.progress=none"
HEAVY = {"torch", "numpy", "jaxtyping", "numba", "rich", "torchmetrics", "lightning", "pyarrow"}
NEVER = {"scipy", "matplotlib", "pandas", "sklearn", "pyarrow", "onnx", "optuna", "tensorboard", "torchmetrics.audio"}

# for each stage: the command line, how it ends, and what of HEAVY is there from then on
SYNTHETIC = [
    ("train task=nosuch", 1, ""),
    ("train trainer.patiense=3", 1, ""),
    ("train --help", 0, ""),
    ("plan --help", 0, ""),
    ("evaluate --help", 0, ""),
    ("train T=-1", 1, ""),
    ("train optim.lr=abc model=lstm task=xor", 1, ""),
    ("train task=temporal_order_3 length=variable task.length.min=0 model=lstm_attention model.hidden=0", 1, ""),
    ("train accelerator=ddp_cpu batch_size=3", 1, ""),
    ("plan -m T=-2,-1", 1, ""),
    (
        f"evaluate checkpoint={OLD_RUN}/checkpoints/best.ckpt accelerator=cpu sequences=2 hydra.run.dir=evaluated",
        0,
        "numpy torch jaxtyping torchmetrics numba rich",
    ),
    (f"train {TINY} {QUIET} hydra.run.dir=run", 0, "numpy torch jaxtyping torchmetrics numba rich lightning"),
]
FILES = [
    ("evaluate checkpoint=nosuch.ckpt", 1, "numpy"),
    ("inspect checkpoint=nosuch.ckpt sequences=abc", 1, "numpy"),
    ("export checkpoint=nosuch.ckpt output=x.txt", 1, "numpy"),
    ("stream checkpoint=nosuch.ckpt every=0", 1, "numpy"),
    ("predict checkpoint=nosuch.ckpt input=x.csv output=x.txt", 1, "numpy"),
    ("train task=file task.path=nosuch.csv task.target=y task.val_share=2", 1, "numpy"),
    ("report --help", 0, "numpy"),
    ("train -m task=file task.path=nosuch.csv task.target=y seed=1,2", 1, "numpy"),
]


def lines_of(stages, folder):
    """What the script prints: a status and the modules for each stage."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(line for line, *_ in stages),
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def check(stages, printed, errors):
    """Compare statuses, and what of HEAVY is there, with what the stages say."""
    found = [
        (line, status, HEAVY & set(modules)) for (line, *_), (status, modules) in zip(stages, printed, strict=True)
    ]
    assert found == [(line, status, set(names.split())) for line, status, names in stages], errors


def test_a_mistake_about_a_file_does_not_wait_for_torch(tmp_path):
    check(FILES, *lines_of(FILES, tmp_path))


def test_a_synthetic_task_imports_what_it_uses_when_it_uses_it(tmp_path):
    (*printed, (found, after)), errors = lines_of(SYNTHETIC, tmp_path)
    check(SYNTHETIC, printed, errors)
    _, trained = printed[-1]
    assert not NEVER & set(trained)
    # what was left out is there when somebody asks for it: metrics that need scipy, plots of them, linear algebra
    assert found == [2.0, 1, True, 72.0]
    assert {"scipy", "matplotlib", "torchmetrics.functional.audio"} <= set(after)
