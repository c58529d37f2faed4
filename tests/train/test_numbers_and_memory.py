"""Numbers that are not finite, and memory that does not suffice, end a run with a line that says what to do."""

import numpy as np
import pytest
import torch
from tiny_runs import about, before_each_step, fit

from ffattn.errors import TrainingError
from ffattn.models import FFAttention
from ffattn.system.out_of_memory import is_out_of_memory


class _Spoiled(torch.autograd.Function):
    @staticmethod
    def forward(context, weight):
        return weight.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * float("nan")


def test_the_step_the_tensor_and_the_rate_are_named_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch):
    """A loss that is finite, with a gradient that is not: the next loss tells."""

    def spoil(module, batch):
        if module.global_step == 4:
            module.network.output.register_forward_hook(lambda layer, given, answer: _Spoiled.apply(answer))
        return batch

    before_each_step(monkeypatch, spoil)
    with pytest.raises(TrainingError) as caught:
        fit(tmp_path / "run", updates=9, trainer__validate_every=3)
    message = str(caught.value)
    assert message.startswith("the loss of update 6 is not finite (optim.lr=0.003), nor is ")
    assert "\n" not in message
    assert about(tmp_path / "run")["update"] == 3
    assert all(
        weight.isfinite().all()
        for weight in torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)[
            "state_dict"
        ].values()
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 745. GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 8000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_needed_how_much_and_what_helps_is_one_line(tmp_path, monkeypatch, error):
    def fail(module, batch):
        if module.global_step == 2:
            raise error
        return batch

    before_each_step(monkeypatch, fail)
    with pytest.raises(
        TrainingError,
        match=r"^out of memory: [A-Z].*llocate.*; batch_size=2 trainer\.accumulate=2 .*; trainer\.on_oom=acc",
    ):
        fit(tmp_path / "run", updates=4)
    assert about(tmp_path / "run")["update"] == 2


def test_real_allocations_that_fail_are_known():
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**50)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**50)
    assert all(is_out_of_memory(caught.value) for caught in (of_numpy, of_torch))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_another_error_stays_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(FFAttention, "build", lambda self, sizes: (_ for _ in ()).throw(RuntimeError("of my own")))
    with pytest.raises(RuntimeError, match="of my own"):
        fit(tmp_path / "run")
