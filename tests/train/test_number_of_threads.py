"""One thread updates the parameters; all of them do the rest, before and after."""

import pytest
import torch
from tiny_runs import fit
from torch.optim.optimizer import register_optimizer_step_post_hook

from ffattn.tasks import Add


@pytest.mark.parametrize("options", [{}, {"trainer__accumulate": 2}, {"optim": "sgd"}], ids=str)
def test_one_thread_makes_updates(tmp_path, monkeypatch, options):
    before = torch.get_num_threads()
    updating = set()
    computing = set()
    error = Add.error

    def note_and_compute(task, prediction, y):
        computing.add(torch.get_num_threads())
        return error(task, prediction, y)

    monkeypatch.setattr(Add, "error", note_and_compute)
    handle = register_optimizer_step_post_hook(lambda *_: updating.add(torch.get_num_threads()))
    try:
        fit(tmp_path / "run", accelerator__num_threads=2, **options)
    finally:
        handle.remove()
    assert (updating, computing) == ({1}, {2})
    assert torch.get_num_threads() == before
