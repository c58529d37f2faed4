"""Attention over the steps of two processes is that over all steps, with its gradients; one start for all cases."""

import gc

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ffattn.nn import FeedForwardAttention
from ffattn.nn.exchange import merge_all
from ffattn.ops import Pooled

LENGTHS = torch.tensor([600, 3, 301, 1])  # the second process has no step of two of them
WORLD, TIME = 2, 600
CASES = {
    "softmax": {},
    "linear": {"score": "linear", "length_scale": True},
    "relu2": {"normalizer": "relu2"},
    "mean": {"normalizer": "mean"},
    "jitter": {"score_jitter": 2.0, "normalizer": "relu2"},
}


class Head(torch.nn.Module):
    """A loss behind the layer, over a stretch of time and what the other processes have seen."""

    def __init__(self, options):
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.output = FeedForwardAttention(3, 11, **options), torch.nn.Linear(11, 2)

    def forward(self, rank, world):
        torch.manual_seed(1)
        start, stop = TIME * rank // world, TIME * (rank + 1) // world
        x = torch.randn(len(LENGTHS), TIME, 3)[:, start:stop]
        torch.manual_seed(2)  # of the jitter
        state = self.attention.start(LENGTHS).update(x, (LENGTHS - start).clamp(0, stop - start))
        context = (state.merge_all() if world > 1 else state).finish()
        return self.output(context.tanh()).square().sum(dim=1).mean()


def result(module, rank, world):
    loss = module(rank, world)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in module.parameters())]


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    for name, options in CASES.items():
        torch.save(result(DistributedDataParallel(Head(options)), rank, WORLD), f"{folder}/{name}{rank}")
    gc.collect()  # what refers to the group: it has threads, which must have ended before Python does
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exchange")
    multiprocessing.spawn(work, (folder,), nprocs=WORLD)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_those_of_the_whole_sequence(folder, name):
    first, second = (torch.load(folder / f"{name}{rank}") for rank in range(WORLD))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    whole = result(Head(CASES[name]), 0, 1)
    size = torch.cat([part.flatten() for part in whole]).norm()  # the bias of a softmax has no gradient of its own
    for mine, other in zip(first, whole, strict=True):
        assert (mine - other).norm() <= 1e-6 * size


def test_a_process_alone_gets_its_own_back(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    maximum = torch.tensor([0.3, -torch.inf])
    pooled = Pooled(maximum, torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    try:
        torch.testing.assert_close(merge_all(pooled), pooled)
    finally:
        distributed.destroy_process_group()
