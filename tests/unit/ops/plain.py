"""The operators as their formulas have them, a sequence at a time, in float64 and by autograd: nothing shared with src.

Both return (maximum, total, context, scores), as the operators do.
"""

import torch
from torch.nn.functional import pad


def feed_forward_attention(  # noqa: PLR0917
    x, lengths, weight, bias, query=None, query_bias=None, *, slope, **options
):
    z = x.double() @ weight.double().T + bias.double()
    return attention_pooling(torch.where(z > 0, z, slope * z), lengths, query, query_bias, **options)


def attention_pooling(sequence, lengths, query=None, query_bias=None, *, shift=None, scale=None, score, normalizer):
    scales = [1.0] * len(lengths) if scale is None else scale.tolist()
    results = []
    for states, length, factor in zip(sequence.double(), lengths.tolist(), scales, strict=True):
        h = states[:length]
        e = h.new_zeros(length) if query is None else raw_scores(h, query.double(), query_bias.double(), score)
        s = (e + (0.0 if shift is None else shift.item())) * factor
        maximum = largest(s) if normalizer == "softmax" else h.new_zeros(())
        w = {"softmax": torch.exp(s - maximum), "relu2": s.clamp(min=0) ** 2, "mean": torch.ones_like(s)}[normalizer]
        context = w @ h / w.sum() if w.sum() else w @ h
        results.append((maximum, w.sum(), context, pad(e, (0, len(states) - length))))
    maximum, total, context, scores = (torch.stack(column) for column in zip(*results, strict=True))
    return maximum, total, context, scores[:, :0] if query is None else scores


def raw_scores(h, query, query_bias, score):
    inner = h.tanh() if score == "tanh_states" else h
    e = inner @ query + query_bias
    return e.tanh() if score == "tanh" else e


def largest(scores):
    """A constant for the gradient; minus infinity where there is none."""
    return scores.detach().max() if len(scores) else scores.new_full((), -torch.inf)
