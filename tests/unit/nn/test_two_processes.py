"""Two processes with half of the steps, or half of the batch, have the gradients of the whole; one start for all."""

import gc

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ffattn.nn import AttentionPooling, FeedForwardAttention, GatedPooling, MultiHeadPooling, StatisticsPooling
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


class AllLayers(torch.nn.Module):
    """A loss behind all layers, over some of the sequences, as data-parallel training has one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = FeedForwardAttention(3, 11)
        poolings = AttentionPooling(3), MultiHeadPooling(3, 2), GatedPooling(3, 4), StatisticsPooling(3)
        self.poolings = torch.nn.ModuleList(poolings)

    def forward(self, rank, world):
        torch.manual_seed(1)
        x, lengths = torch.randn(len(LENGTHS), TIME, 3)[rank::world], LENGTHS[rank::world]
        contexts = [self.attention(x, lengths), *(pooling(x, lengths)[0].flatten(1) for pooling in self.poolings)]
        return torch.cat(contexts, dim=1).square().sum(dim=1).mean()


def result(module, rank, world):
    loss = module(rank, world)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in module.parameters())]


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    for name, options in CASES.items():
        torch.save(result(DistributedDataParallel(Head(options)), rank, WORLD), f"{folder}/{name}{rank}")
    torch.save(result(DistributedDataParallel(AllLayers()), rank, WORLD), f"{folder}/layers{rank}")
    gc.collect()  # what refers to the group: it has threads, which must have ended before Python does
    distributed.destroy_process_group()


def found(folder, name, first=0):
    """What each process has alike, from some place in its list on."""
    one, other = (torch.load(folder / f"{name}{rank}")[first:] for rank in range(WORLD))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    return one


def assert_those_of_the_whole_sequence(folder, name):
    first = found(folder, name)
    whole = result(Head(CASES[name]), 0, 1)
    size = torch.cat([part.flatten() for part in whole]).norm()  # the bias of a softmax has no gradient of its own
    for mine, other in zip(first, whole, strict=True):
        assert (mine - other).norm() <= 1e-6 * size, name


def test_gradients_of_halves_are_those_of_the_whole(tmp_path):
    """Of the sequence; and of the batch, where the loss is of each process's own half. One start serves all cases."""
    multiprocessing.spawn(work, (tmp_path,), nprocs=WORLD)
    for name in CASES:
        assert_those_of_the_whole_sequence(tmp_path, name)
    torch.testing.assert_close(found(tmp_path, "layers", first=1), result(AllLayers(), 0, 1)[1:])


def test_a_process_alone_gets_its_own_back(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    maximum = torch.tensor([0.3, -torch.inf])
    pooled = Pooled(maximum, torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    try:
        torch.testing.assert_close(merge_all(pooled), pooled)
    finally:
        distributed.destroy_process_group()
