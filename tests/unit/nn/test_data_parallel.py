"""The layers under DistributedDataParallel: two processes with half a batch each have the gradient of the whole."""

import gc

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ffattn.nn import AttentionPooling, FeedForwardAttention, GatedPooling, MultiHeadPooling, StatisticsPooling

LENGTHS = torch.tensor([600, 3, 41, 1])
WORLD = 2


class Mean(torch.nn.Module):
    """A loss behind all layers, as data-parallel training has one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = FeedForwardAttention(3, 11)
        poolings = AttentionPooling(3), MultiHeadPooling(3, 2), GatedPooling(3, 4), StatisticsPooling(3)
        self.poolings = torch.nn.ModuleList(poolings)

    def forward(self, x, lengths):
        contexts = [self.attention(x, lengths), *(pooling(x, lengths)[0].flatten(1) for pooling in self.poolings)]
        return torch.cat(contexts, dim=1).square().sum(dim=1).mean()


def make_batch():
    torch.manual_seed(1)
    return torch.randn(len(LENGTHS), 600, 3)


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    module = DistributedDataParallel(Mean())
    module(make_batch()[rank::WORLD], LENGTHS[rank::WORLD]).backward()
    torch.save(gradients(module), f"{folder}/{rank}")
    del module
    gc.collect()  # what refers to the group: it has threads, which must have ended before Python does
    distributed.destroy_process_group()


def test_gradients_are_those_of_the_whole_batch(tmp_path):
    multiprocessing.spawn(work, (tmp_path,), nprocs=WORLD)
    whole = Mean()
    whole(make_batch(), LENGTHS).backward()
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(WORLD))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, gradients(whole))
