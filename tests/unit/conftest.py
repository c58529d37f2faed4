"""Fixtures of the unit tests; pytest also puts this directory on the import path, for `helpers` and `philox_twin`."""

import jaxtyping
import pytest
import torch

torch.set_num_threads(1)  # the tensors are small: more threads would only wait for each other


@pytest.fixture
def without_shape_checks(monkeypatch):
    """What a user has: the package's own errors instead of the shape checks that the tests install."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
