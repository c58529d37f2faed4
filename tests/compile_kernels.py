"""Compile what most tests need, once, in two processes: `python -m tests.compile_kernels`.

Kernels are compiled for their types, and modules to bytecode; both are kept on disk. Without this, each worker of the
tests compiles what the other is compiling.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor

import torch

import ffattn
from ffattn.ops import attention_pooling

KINDS = "contiguous", "run", "bfloat16", "strided"  # those that take longest first


def compile_for(kind):
    """A tiny run, or the operators on one kind of inputs, forwards and backwards."""
    if kind == "run":
        with tempfile.TemporaryDirectory() as folder:
            small = "T=12", "updates=1", "batch_size=2", "model=lstm", "trainer.sequences=2", "accelerator=cpu"
            ffattn.fit(*small, folder=f"{folder}/run", quiet=True)
        return
    x = torch.randn(2, 6, 3).to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    x = x[:, ::2] if kind == "strided" else x
    pooled, _ = attention_pooling(x.requires_grad_(), torch.tensor([3, 1]), torch.randn(3), torch.randn(1))
    pooled.context.sum().backward()


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as processes:
        list(processes.map(compile_for, KINDS))
