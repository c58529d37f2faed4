"""The Triton kernels compile for GPUs that need not be there: what the interpreter accepts, a compiler may not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
_RANDOM = {"_fill_words_kernel", "_fill_inputs_kernel"}
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_every_form_compiles_and_spills_next_to_nothing(capability, tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "scripts.benchmarks.gpu_kernels", "--capability", str(capability)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w+) \|.*\| (\d+) \| (\d+) \| \d+ \|$", done.stdout, flags=re.MULTILINE)
    kernels = {"forward_kernel", "merge_kernel", "backward_kernel", "sum_kernel"}
    assert {name for name, _, _ in rows} == kernels | _RANDOM
    assert len(rows) > 50
    assert all(int(registers) < 256 and int(stack) <= 64 for _, registers, stack in rows)
