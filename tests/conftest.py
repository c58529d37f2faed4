"""Fixtures that every test gets."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    """Weights and inputs are the same in every run and in any order of the tests."""
    torch.manual_seed(0)
