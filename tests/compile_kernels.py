"""Compile the CPU's kernels for the types that most tests use, in two processes: `python -m tests.compile_kernels`.

Compiled code is kept on disk. Without this, each worker of the tests would compile what the other is compiling.
"""

from concurrent.futures import ProcessPoolExecutor

import torch

from ffattn.ops import attention_pooling
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Paper

KINDS = "contiguous", "bfloat16", "strided", "random"  # those that take longest first


def compile_for(kind):
    """Call what is compiled for one kind of inputs, forwards and backwards."""
    if kind == "random":
        Add(length=Paper(T=20)).training_batch(Stream(0, Split.TRAIN), 0, torch.arange(3))
        return
    x = torch.randn(2, 6, 3).to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    x = x[:, ::2] if kind == "strided" else x
    pooled, _ = attention_pooling(x.requires_grad_(), torch.tensor([3, 1]), torch.randn(3), torch.randn(1))
    pooled.context.sum().backward()


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as processes:
        list(processes.map(compile_for, KINDS))
