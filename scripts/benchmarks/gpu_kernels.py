"""Compile the Triton kernels for a GPU that need not be there, and print what each one uses.

python -m scripts.benchmarks.gpu_kernels                      # for compute capability 9.0 (H100)
python -m scripts.benchmarks.gpu_kernels --capability 8.0     # A100; or 80

The operators are called as in training, with every option that makes a kernel of its own; nothing is launched.
"""

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import KernelInterface

from ffattn.choices import NORMALIZERS, SCORES, TANH_STATES
from ffattn.ops import triton as ops
from ffattn.rng import Address, Choice
from ffattn.rng import triton as rng

SIZES = {"paper": (2, 100), "many features": (19, 64), "wide": (2, 1030)}  # features and hidden units
CAPABILITIES = 75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121  # times ten; LLVM ends the process for others
TIMES = 70, 10_000  # sequences in one piece, and in several
_CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"

Compiled = list[tuple[str, Any]]


def record_instead_of_launching(capability: int) -> Compiled:
    """Let every launch compile for a target, and note (kernel's name, compiled kernel) in the list that is returned."""
    target = GPUTarget("cuda", capability, 32)
    compiled = []
    driver.set_active(
        SimpleNamespace(
            get_current_device=lambda: 0, get_current_stream=lambda device: 0, get_current_target=lambda: target
        )
    )

    def launcher(kernel: Any, grid: Any) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            compiled.append((kernel.__name__, kernel.run(*arguments, grid=grid, warmup=True, **options)))

        return launch

    KernelInterface.__getitem__ = launcher
    return compiled


def capability(text: str) -> int:
    """A compute capability, times ten, from `8.0` or `80`."""
    number = text.replace(".", "") if re.fullmatch(r"\d+\.\d", text) else text
    if number not in map(str, CAPABILITIES):
        allowed = ", ".join(str(known / 10) for known in CAPABILITIES)
        raise argparse.ArgumentTypeError(f"{text}: must be one of {allowed}")
    return int(number)


def _parameters(form: tuple[str, str], shape: tuple[int, ...] | None, hidden: int) -> list[torch.Tensor | None]:
    weights = [] if shape is None else [torch.zeros(shape), torch.zeros(hidden)]
    return [*weights, *([None, None] if form[1] == "mean" else [torch.zeros(hidden), torch.zeros(1)])]


def call_operators(time: int, features: int, hidden: int, dtype: torch.dtype) -> Iterator[str]:
    """Forward and backward of both operators in every form; yields what is called, before it is called."""
    batch = 3
    extras = {"plain": (None, None), "jitter and scale": (torch.zeros(()), torch.ones(batch))}
    lengths = torch.full((batch,), time)
    x = torch.zeros(batch, time, features, dtype=dtype)
    states = torch.zeros(batch, time, hidden, dtype=dtype)
    outer = torch.zeros(batch, hidden)
    for form, (name, extra) in itertools.product(itertools.product(SCORES, NORMALIZERS), extras.items()):
        for needs_x in (False, True):
            yield f"{'-'.join(form)}, {name}, T={time}, {features} features, {hidden} hidden, {dtype}"
            inputs = x, lengths, *_parameters(form, (hidden, features), hidden), *extra
            kept = ops.feed_forward_attention_forward(*inputs, 0.01, *form)
            ops.feed_forward_attention_backward(None, outer, None, *inputs, *kept, 0.01, *form, needs_x)
    for form, needs_states in itertools.product(itertools.product((*SCORES, TANH_STATES), NORMALIZERS), (False, True)):
        if form[1] == "mean" and not needs_states:
            continue  # nothing else could want a gradient
        yield f"pooling, {'-'.join(form)}, T={time}, {hidden} hidden, {dtype}"
        inputs = states, lengths, *_parameters(form, None, hidden), None, None
        kept = ops.attention_pooling_forward(*inputs, *form)
        given = torch.zeros(batch), outer, torch.zeros_like(kept[3])
        ops.attention_pooling_backward(*given, *inputs, *kept, *form, needs_states)


def call_philox() -> Iterator[str]:
    """Random numbers."""
    address = Address(torch.arange(3), torch.zeros(3, dtype=torch.int64), 1, 2)
    yield "words"
    rng.fill_words(torch.zeros(3, 70, dtype=torch.int64), address)
    for features in (2, 8):
        yield f"inputs, {features} features"
        rng.fill_inputs(torch.zeros(3, 70, features), torch.full((3,), 60), address, Choice(4, 0, 0.0, 1.0))


def usage(compiled: Any) -> dict[str, int]:
    """Registers, stack (which holds spilled registers) and shared memory, in bytes, as cuobjdump reports them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [_CUOBJDUMP, "-res-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: int(re.search(rf"{name}:(\d+)", text).group(1)) for name in ("REG", "STACK", "SHARED")}


def calls(every: bool) -> Iterator[str]:
    """All the calls to compile for; only those of the paper's sizes, unless every one is asked for."""
    sizes = SIZES.values() if every else [SIZES["paper"]]
    dtypes = (torch.float32, torch.bfloat16) if every else (torch.float32,)
    for time, size, dtype in itertools.product(TIMES, sizes, dtypes):
        yield from call_operators(time, *size, dtype)
    yield from call_philox()


def main() -> None:
    """Print a Markdown table, and fail if a kernel does not compile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=capability, default=90, help="of the GPU: 9.0, or 90")
    parser.add_argument("--every", action="store_true", help="all sizes and types, not the paper's alone")
    arguments = parser.parse_args()
    compiled = record_instead_of_launching(arguments.capability)
    seen = set()
    print(f"# GPU kernels for compute capability {arguments.capability / 10}, by Triton {triton.__version__}\n")
    print("Made by `python -m scripts.benchmarks.gpu_kernels`, which needs no GPU; nothing here is a measurement.")
    print("A thread may have 255 registers; what does not fit goes to its stack.\n")
    print("| kernel | called for | registers | stack, bytes | shared, bytes |\n|---|---|---:|---:|---:|")
    what = ""
    for following in itertools.chain(calls(arguments.every), [""]):
        for name, kernel in compiled:
            if kernel.hash not in seen:
                used = usage(kernel)
                print(f"| {name} | {what} | {used['REG']} | {used['STACK']} | {used['SHARED']} |", flush=True)
                seen.add(kernel.hash)
        compiled.clear()
        what = following
    print(f"\n{len(seen)} kernels compiled", file=sys.stderr)


if __name__ == "__main__":
    main()
