"""Fixtures that every test gets, and how Triton is imported."""

import os

import pytest
import torch

# Read when Triton is imported, which Lightning does: so it stands before any test module. Kernels run on CPU tensors.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _seed():
    """Weights and inputs are the same in every run and in any order of the tests."""
    torch.manual_seed(0)
