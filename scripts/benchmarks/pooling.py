"""Attention pooling as people write it, and as it is here: time, memory, and what padding does. For docs/layers.md.

python -m scripts.benchmarks.pooling

Forward and backward of one pooling of (batch, time, feature) states whose lengths differ; medians of repetitions that
take turns. `beyond` is what autograd keeps for the backward pass beyond the states themselves. `padding` is what NaN in
padding does to the context.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ffattn.nn import AttentionPooling, GatedPooling, MultiHeadPooling, StatisticsPooling
from ffattn.system.provenance import commit, device_name

BATCH = 64
TIME = 2000
FEATURES = 128
REPETITIONS = 7
Pooling = Callable[[Tensor, Tensor], Tensor]


class MaskedSoftmax(nn.Module):
    """The usual lines: scores, -inf where padded, softmax, weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(FEATURES, 1)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The context."""
        padded = torch.arange(states.shape[1]) >= lengths[:, None]
        scores = self.query(states).squeeze(-1).tanh().masked_fill(padded, -torch.inf)
        return (scores.softmax(dim=1)[..., None] * states).sum(dim=1)


class QueryAttention(nn.Module):
    """torch's multi-head attention with a learned query."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, FEATURES))
        self.attention = nn.MultiheadAttention(FEATURES, 1, batch_first=True)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The context."""
        padded = torch.arange(states.shape[1]) >= lengths[:, None]
        query = self.query.expand(len(states), -1, -1)
        return self.attention(query, states, states, key_padding_mask=padded, need_weights=False)[0].squeeze(1)


class Mean(nn.Module):
    """The mean over everything, padding included, as it is often done."""

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The context."""
        return states.mean(dim=1)


def first(layer: nn.Module) -> Pooling:
    """A layer of this package, without its weights."""
    return lambda states, lengths: layer(states, lengths)[0]


def poolings() -> dict[str, Pooling]:
    """What is compared."""
    return {
        "mean over padding too": Mean(),
        "masked softmax, written out": MaskedSoftmax(),
        "nn.MultiheadAttention, learned query": QueryAttention(),
        "`AttentionPooling`": first(AttentionPooling(FEATURES)),
        "`MultiHeadPooling`, 4 heads": first(MultiHeadPooling(FEATURES, 4)),
        "`StatisticsPooling`": first(StatisticsPooling(FEATURES)),
        "`GatedPooling`": first(GatedPooling(FEATURES)),
    }


def once(pooling: Pooling, states: Tensor, lengths: Tensor) -> tuple[float, float]:
    """Milliseconds of forward and backward, and megabytes that autograd keeps beyond the states."""
    states.grad = None
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() != states.untyped_storage().data_ptr():
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    started = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        context = pooling(states, lengths)
    context.square().mean().backward()
    return (time.perf_counter() - started) * 1e3, sum(kept.values()) / 1e6


def padding(pooling: Pooling, states: Tensor, lengths: Tensor) -> str:
    """What NaN in padding does."""
    dirty = states.detach().clone()
    dirty[torch.arange(TIME) >= lengths[:, None]] = torch.nan
    with torch.inference_mode():
        clean = pooling(states, lengths)
        found = pooling(dirty, lengths)
    return "NaN" if found.isnan().any() else "none" if torch.equal(clean, found) else "changes it"


def main() -> None:
    """The command line."""
    torch.manual_seed(0)
    lengths = torch.randint(TIME // 4, TIME + 1, (BATCH,))
    states = torch.randn(BATCH, TIME, FEATURES, requires_grad=True)
    compared = poolings()
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for _ in range(REPETITIONS + 1):
        for name, pooling in compared.items():
            runs[name].append(once(pooling, states, lengths))
    usual = statistics.median(ms for ms, _ in runs["masked softmax, written out"][1:])
    print("| pooling | ms | against masked softmax | beyond, MB | padding |\n|---|---|---|---|---|")
    for name, found in runs.items():
        ms = statistics.median(ms for ms, _ in found[1:])
        line = f"| {name} | {ms:.1f} | {usual / ms:.1f}x | {found[-1][1]:.0f} |"
        print(f"{line} {padding(compared[name], states, lengths)} |")
    where = f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads"
    print(f"\nBatch {BATCH}, {TIME} steps, {FEATURES} features; {where}; commit {commit()}.")


if __name__ == "__main__":
    main()
