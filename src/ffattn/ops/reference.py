"""Attention over time in plain PyTorch, on any device and in any precision: the twin of the fused kernels.

A sequence is reduced in pieces of time. Each piece leaves (maximum score, sum of weights, weighted sum of states), and
pieces are merged as in an online softmax; in the backward pass the states of each piece are computed
again. So no tensor of size batch x time x hidden exists.

All implementations offer the four functions at the end of this file.

Source:
    Raffel & Ellis, equations 1-4; Milakov & Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

from ffattn.choices import MEAN, RELU2, SOFTMAX, TANH, TANH_STATES

Results = tuple[Tensor, Tensor, Tensor, Tensor]  # maximum, total, context, scores
Outer = tuple[Tensor | None, Tensor | None, Tensor | None]  # gradients of total, context and scores
PIECE = 16_384  # (sequence, step) pairs in a piece: 6.5 MB of states at 100 hidden units; measured best of 2^11..2^15


def full_precision(x: Tensor) -> Tensor:
    """Return the tensor in at least float32."""
    return x if x.element_size() >= 4 else x.float()


def valid_steps(lengths: Tensor, time: int) -> Tensor:
    """Tell which steps, (batch, time), are real: those before each sequence's length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def scale_scores(scores: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    """Return (score + shift) * scale: scores as the normalizer sees them.

    Args:
        scores: Raw scores, (batch, time).
        shift: Score jitter: one number, added to every score; or None.
        scale: One factor for each sequence, (batch,); or None.
    """
    if shift is not None:
        scores = scores + shift
    return scores if scale is None else scores * scale.to(scores.dtype)[:, None]


def unnormalised_weights(scores: Tensor, valid: Tensor, maximum: Tensor, normalizer: str) -> Tensor:
    """Return weights before division by their sum.

    Args:
        scores: As the normalizer sees them, (batch, time).
        valid: Steps that count, (batch, time); the others get weight zero.
        maximum: What a softmax is shifted by, (batch,).
        normalizer: `softmax`: exp(score - maximum); `relu2`: max(score, 0)^2; `mean`: 1.
    """
    if normalizer == SOFTMAX:
        weights = torch.exp(scores - maximum[:, None])
    else:
        weights = scores.relu().square() if normalizer == RELU2 else torch.ones_like(scores)
    return weights.where(valid, 0.0)


def largest_score(scores: Tensor, valid: Tensor, normalizer: str) -> Tensor:
    """Return the largest score of each sequence, (batch,), -inf where it has no step; zero where weights need none."""
    if normalizer != SOFTMAX:
        return scores.new_zeros(scores.shape[0])  # len() would fix it in an exported graph
    if not scores.shape[1]:
        return scores.new_full((len(scores),), -torch.inf)
    return scores.detach().masked_fill(~valid, -torch.inf).amax(dim=1)


class _Problem(NamedTuple):
    """What does not change from piece to piece; see the functions below for the arguments."""

    weight: Tensor | None
    bias: Tensor | None
    query: Tensor | None
    query_bias: Tensor | None
    shift: Tensor | None
    scale: Tensor | None
    slope: float
    score: str
    normalizer: str

    def states(self, x: Tensor) -> Tensor:
        """Return h_t = LReLU(W x_t + b), or the inputs themselves, in full precision."""
        x = full_precision(x)
        if self.weight is None or self.bias is None:
            return x
        return leaky_relu(linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype)), self.slope)

    def scores(self, states: Tensor) -> Tensor:
        """Return raw scores: tanh(q . h_t + b), q . h_t + b, or q . tanh(h_t) + b."""
        if self.query is None or self.query_bias is None:
            return states.new_zeros(states.shape[:2])
        inner = states.tanh() if self.score == TANH_STATES else states
        query = self.query.to(states.dtype).view(1, -1)
        scores = linear(inner, query, self.query_bias.to(states.dtype)).squeeze(-1)
        return scores.tanh() if self.score == TANH else scores

    def reduce(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return maximum, sum of weights, sum of weighted states, and raw scores of a piece."""
        x = x.masked_fill(~valid[..., None], 0.0)
        states = self.states(x)
        raw = self.scores(states)
        scores = scale_scores(raw, self.shift, self.scale)
        maximum = largest_score(scores, valid, self.normalizer)
        shift = maximum.masked_fill(maximum == -torch.inf, 0.0)  # a sequence without a step here
        weights = unnormalised_weights(scores, valid, shift, self.normalizer)
        return maximum, weights.sum(dim=1), torch.einsum("bt,bth->bh", weights, states), raw


def _pieces(x: Tensor) -> Iterator[slice]:
    """Return stretches of time of about `PIECE` (sequence, step) pairs; at least one, which may be empty."""
    width = max(1, PIECE // max(1, len(x)))
    return (slice(start, start + width) for start in range(0, max(1, x.shape[1]), width))


def divisor(total: Tensor) -> Tensor:
    """Return what weights and states are divided by, (batch, 1): a sum of zero (relu2, or no step) becomes one."""
    return total.where(total != 0, 1.0)[:, None]


def _division_backward(outer: Outer, total: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients of total and state, where context = state / total, from those of total and context."""
    g_total = torch.zeros_like(total) if outer[0] is None else outer[0]
    if outer[1] is None:
        return g_total, torch.zeros_like(context)
    g_state = outer[1] / divisor(total)
    return g_total - (g_state * context).sum(dim=1), g_state


def merge_sums(
    left: tuple[Tensor, Tensor, Tensor], right: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return maximum, total and state over two disjoint sets of steps, from those of each, in any order."""
    maximum = torch.maximum(left[0], right[0])
    shift = maximum.masked_fill(maximum == -torch.inf, 0.0)
    a = torch.exp(left[0] - shift)
    b = torch.exp(right[0] - shift)
    return maximum, left[1] * a + right[1] * b, left[2] * a[:, None] + right[2] * b[:, None]


@torch.no_grad()
def _forward(x: Tensor, lengths: Tensor, problem: _Problem) -> Results:
    """Return maximum, total, context and raw scores."""
    valid = valid_steps(lengths, x.shape[1])
    sums: tuple[Tensor, Tensor, Tensor] | None = None
    scores = []
    with torch.autocast(x.device.type, enabled=False):
        for piece in _pieces(x):
            *new, raw = problem.reduce(x[:, piece], valid[:, piece])
            sums = (new[0], new[1], new[2]) if sums is None else merge_sums(sums, (new[0], new[1], new[2]))
            scores.append(raw.where(valid[:, piece], 0.0))
    assert sums is not None
    maximum, total, state = sums
    kept = torch.cat(scores, dim=1) if problem.normalizer != MEAN else total.new_zeros(len(x), 0)
    return maximum, total, state / divisor(total), kept


def _differentiate(
    x: Tensor,
    valid: Tensor,
    raw: Tensor,
    outer: tuple[Tensor, Tensor, Tensor | None],
    maximum: Tensor,
    problem: _Problem,
    needs_x: bool,
) -> tuple[Tensor | None, tuple[Tensor | None, ...]]:
    """Return gradients of a piece's inputs and of the four parameters, from its raw scores and the outer gradients."""
    x = full_precision(x.masked_fill(~valid[..., None], 0.0))
    states = problem.states(x)
    scores = scale_scores(raw, problem.shift, problem.scale)
    weights = unnormalised_weights(scores, valid, maximum, problem.normalizer)
    g_total, g_state, g_scores = outer
    g_query = g_query_bias = g_linear = inner = None
    if problem.query is not None:
        g_weights = torch.einsum("bth,bh->bt", states, g_state) + g_total[:, None]
        slope = 2 * scores.relu().where(valid, 0.0) if problem.normalizer == RELU2 else weights
        g_raw = scale_scores(slope * g_weights, None, problem.scale)
        g_raw = g_raw if g_scores is None else g_raw + g_scores.where(valid, 0.0)
        g_linear = g_raw * (1 - raw.square()) if problem.score == TANH else g_raw
        inner = states.tanh() if problem.score == TANH_STATES else states
        g_query = torch.einsum("bt,bth->h", g_linear, inner).view(problem.query.shape)
        g_query_bias = g_linear.sum()[None]
    if problem.weight is None and not needs_x:
        return None, (None, None, g_query, g_query_bias)
    g_states = weights[..., None] * g_state[:, None]
    if problem.query is not None and g_linear is not None and inner is not None:
        g_inner = g_linear[..., None] * problem.query.to(states.dtype).flatten()
        g_states = g_states + (g_inner * (1 - inner.square()) if problem.score == TANH_STATES else g_inner)
    if problem.weight is None:
        return g_states, (None, None, g_query, g_query_bias)
    g_linear = g_states.where(states > 0, problem.slope * g_states)
    g_weight = torch.einsum("bth,btf->hf", g_linear, x)
    g_bias = g_linear.sum(dim=(0, 1))
    g_x = g_linear @ problem.weight.to(x.dtype) if needs_x else None
    return g_x, (g_weight, g_bias, g_query, g_query_bias)


@torch.no_grad()
def _backward(
    outer: Outer, x: Tensor, lengths: Tensor, kept: Results, problem: _Problem, needs_x: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return gradients of the inputs (empty, unless needed) and of the four parameters (empty, where there is none)."""
    maximum, total, context, scores = kept
    valid = valid_steps(lengths, x.shape[1])
    g_total, g_state = _division_backward(outer, total, context)
    maximum = maximum.masked_fill(maximum == -torch.inf, 0.0)
    pieces = []
    sums = [None if p is None else torch.zeros_like(full_precision(p)) for p in problem[:4]]
    with torch.autocast(x.device.type, enabled=False):
        for piece in _pieces(x):
            raw = scores[:, piece] if problem.query is not None else maximum.new_zeros(valid[:, piece].shape)
            g_scores = None if outer[2] is None else outer[2][:, piece]
            incoming = g_total, g_state, g_scores
            g_x, new = _differentiate(x[:, piece], valid[:, piece], raw, incoming, maximum, problem, needs_x)
            pieces += [] if g_x is None else [g_x.to(x.dtype)]
            sums = [None if s is None or n is None else s + n for s, n in zip(sums, new, strict=True)]
    pairs = zip(sums, problem[:4], strict=True)
    parameters = [x.new_empty(0) if s is None or p is None else s.to(p.dtype) for s, p in pairs]
    return torch.cat(pieces, dim=1) if needs_x else x.new_empty(0), parameters


def feed_forward_attention_forward(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    slope: float,
    score: str,
    normalizer: str,
) -> Results:
    """Embed each step, score it, and average.

    h_t = LReLU(W x_t + b); e_t = tanh(q . h_t + c) or q . h_t + c; s_t = (e_t + shift) * scale;
    w_t = exp(s_t - max s), max(s_t, 0)^2 or 1.

    Args:
        x: Inputs, (batch, time, feature). What lies beyond a sequence's length is not read.
        lengths: How many steps of each sequence are real, (batch,), int64, 0..time.
        weight: W, (hidden, feature).
        bias: b, (hidden,).
        query: q, (hidden,) or (1, hidden), or None for `mean`.
        query_bias: c, (1,), or None for `mean`.
        shift: Score jitter, one number; a constant for the gradient.
        scale: Factors of the scores, (batch,), not negative; a constant for the gradient.
        slope: Slope of the leaky ReLU for negative inputs, 0..1.
        score: `tanh` or `linear`.
        normalizer: `softmax`, `relu2` or `mean`.

    Returns:
        Maximum of s, (batch,) (zero but for softmax; -inf without steps); total = sum_t w_t, (batch,); context =
        sum_t w_t h_t / total, (batch, hidden), zero where the total is; raw scores e, (batch, time), zero beyond the
        length; (batch, 0) for `mean`. All in at least float32.
    """
    return _forward(x, lengths, _Problem(weight, bias, query, query_bias, shift, scale, slope, score, normalizer))


def feed_forward_attention_backward(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    slope: float,
    score: str,
    normalizer: str,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for `feed_forward_attention_forward`.

    Args:
        grad_total: Gradient of the total, (batch,), or None for zeros.
        grad_context: Gradient of the context, (batch, hidden), or None.
        grad_scores: Gradient of the raw scores, (batch, time), or None.
        x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer: As in the forward pass.
        maximum, total, context, scores: As the forward pass returned them.
        needs_x: Whether the gradient of the inputs is wanted.

    Returns:
        Gradients of x (empty, unless wanted), weight, bias, query and query_bias (empty, where there is none).
    """
    problem = _Problem(weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    outer = grad_total, grad_context, grad_scores
    kept = maximum, total, context, scores
    grad_x, parameters = _backward(outer, x, lengths, kept, problem, needs_x)
    return grad_x, parameters[0], parameters[1], parameters[2], parameters[3]


def attention_pooling_forward(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    score: str,
    normalizer: str,
) -> Results:
    """Score and average states that have been computed already (see `feed_forward_attention_forward`).

    Args:
        sequence: States, (batch, time, hidden).
        lengths, query, query_bias, shift, scale, normalizer: As there.
        score: `tanh`, `linear`, or `tanh_states`: e_t = q . tanh(h_t) + c.

    Returns:
        Maximum, total, context and raw scores, as there.
    """
    return _forward(sequence, lengths, _Problem(None, None, query, query_bias, shift, scale, 0.0, score, normalizer))


def attention_pooling_backward(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    score: str,
    normalizer: str,
    needs_sequence: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients for `attention_pooling_forward`: of sequence (empty, unless wanted), query and query_bias."""
    problem = _Problem(None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    outer = grad_total, grad_context, grad_scores
    kept = maximum, total, context, scores
    grad_sequence, parameters = _backward(outer, sequence, lengths, kept, problem, needs_sequence)
    return grad_sequence, parameters[2], parameters[3]
