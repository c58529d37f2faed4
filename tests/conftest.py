"""Fixtures that every test gets, and how Triton is imported."""

import os

import pytest
import torch

from tests.commands import Started

# Read when Triton is imported, which Lightning does: so it stands before any test module. Kernels run on CPU tensors.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _seed():
    """Weights and inputs are the same in every run and in any order of the tests."""
    torch.manual_seed(0)


@pytest.fixture
def start(tmp_path):
    """Start `python -m` something in a process of its own; what is left of it is killed after the test."""
    all_started = []

    def run(*arguments, cwd=tmp_path, **environment):
        all_started.append(Started(*arguments, cwd=cwd, **environment))
        return all_started[-1]

    yield run
    for started in all_started:
        started.kill()
