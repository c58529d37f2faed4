"""Fixtures of the tests that train."""

import pytest
import torch

pytest.register_assert_rewrite("tiny_runs")


@pytest.fixture(autouse=True)
def _one_thread():
    """The tensors are small: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run that no test may change: six updates, validated after every second one."""
    from tiny_runs import fit

    return fit(tmp_path_factory.mktemp("finished") / "run", updates=6, logger="csv", optim__lr=0.05)
