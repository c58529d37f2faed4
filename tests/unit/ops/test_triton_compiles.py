"""The Triton kernels compile for GPUs that need not be there: what the interpreter accepts, a compiler may not.

Compiling takes half a minute and is slow; what has not changed since it passed compiles as it did.
"""

import os
import re
import subprocess
import sys

import pytest
from kernel_sources import COMMAND, COMPILED, ROOT, state

_RANDOM = {"_fill_words_kernel", "_fill_inputs_kernel"}


def test_the_kernels_are_those_that_compiled():
    changed = sorted({line.split()[-1] for line in set(state()) ^ set(COMPILED.read_text().splitlines())})
    if changed:
        name = COMPILED.relative_to(ROOT)
        pytest.fail(f"changed since it compiled: {', '.join(changed)}; `{COMMAND}`, and commit {name}", pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_every_form_compiles_and_spills_next_to_nothing(capability, tmp_path):
    pytest.importorskip("triton")
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
