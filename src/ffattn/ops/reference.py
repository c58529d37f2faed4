"""Attention over time in plain PyTorch, on any device, without a tensor of size batch x time x hidden.

A sequence is reduced in pieces. Each piece leaves (maximum score, sum of weights, weighted sum of states), and pieces
are merged as in an online softmax. In the backward pass each piece is computed again. Scores and sums are kept in at
least float32, also under autocast: a sum of ten thousand weights is beyond the resolution of bfloat16.

Source:
    Milakov & Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu, linear
from torch.utils.checkpoint import checkpoint

SOFTMAX, RELU2, MEAN = "softmax", "relu2", "mean"
NORMALIZERS = (SOFTMAX, RELU2, MEAN)
SCORES = ("tanh", "linear")
PIECE = 16_384  # (sequence, step) pairs in a piece: 6.5 MB of states at 100 hidden units; measured best of 2^11..2^15


class Sums(NamedTuple):
    """What one piece of time contributes to the weighted mean.

    Attributes:
        maximum: Largest score so far, (batch,); a constant for the gradient. Zero where weights need none.
        weight: Sum of unnormalised weights, (batch,).
        state: Sum of states times unnormalised weights, (batch, hidden).
    """

    maximum: Float[Tensor, " batch"]
    weight: Float[Tensor, " batch"]
    state: Float[Tensor, "batch hidden"]


def full_precision(x: Tensor) -> Tensor:
    """The tensor in at least float32."""
    return x if x.element_size() >= 4 else x.float()


def valid_steps(lengths: Int[Tensor, " batch"], time: int) -> Bool[Tensor, "batch time"]:
    """Which steps are real: those before each sequence's length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def unnormalised_weights(
    scores: Float[Tensor, "batch time"], valid: Bool[Tensor, "batch time"], normalizer: str
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch time"]]:
    """Weights before division by their sum, and the maximum that a softmax was shifted by.

    Args:
        scores: One score for each step.
        valid: Steps that count; the others get weight zero.
        normalizer: `softmax`: exp(score - maximum); `relu2`: max(score, 0)^2; `mean`: 1.

    Returns:
        The maximum over valid steps ((batch,); zero but for softmax; no gradient) and the weights.
    """
    if normalizer == SOFTMAX:
        masked = scores.masked_fill(~valid, -torch.inf)
        maximum = masked.detach().amax(dim=1)
        shift = maximum.masked_fill(maximum == -torch.inf, 0.0)  # a piece in which a sequence has no step
        return maximum, torch.exp(masked - shift[:, None])
    weights = scores.relu().square() if normalizer == RELU2 else torch.ones_like(scores)
    return scores.new_zeros(len(scores)), weights.masked_fill(~valid, 0.0)


def merge(left: Sums, right: Sums) -> Sums:
    """Sums over two disjoint pieces of time, in any order."""
    maximum = torch.maximum(left.maximum, right.maximum)
    shift = maximum.masked_fill(maximum == -torch.inf, 0.0)
    a, b = torch.exp(left.maximum - shift), torch.exp(right.maximum - shift)
    weight = left.weight * a + right.weight * b
    return Sums(maximum, weight, left.state * a[:, None] + right.state * b[:, None])


def _nonzero(weight: Tensor) -> Tensor:
    """Divisors: a sum of zero, which only relu2 can have, becomes one, so that weights and context are zero."""
    return weight.where(weight > 0, 1.0)


def finish(sums: Sums) -> Float[Tensor, "batch hidden"]:
    """The context: the weighted mean of the states; zero for a sequence whose weights are all zero."""
    return sums.state / _nonzero(sums.weight)[:, None]


def attention_weights(
    scores: Float[Tensor, "batch time"], valid: Bool[Tensor, "batch time"], normalizer: str
) -> Float[Tensor, "batch time"]:
    """Weights that sum to one over the valid steps, or to zero where relu2 finds no positive score."""
    _, weights = unnormalised_weights(scores, valid, normalizer)
    return weights / _nonzero(weights.sum(dim=1))[:, None]


def scale_scores(
    scores: Float[Tensor, "batch time"],
    lengths: Int[Tensor, "batch 1"],
    normalizer: str,
    length_scale: bool,
    shift: Float[Tensor, ""] | None,
) -> Float[Tensor, "batch time"]:
    """(score + shift) * log(length).

    Args:
        scores: Raw scores.
        lengths: How many steps each sequence has.
        normalizer: relu2 is left unscaled: a common factor does not change its weights, except that log(1) = 0.
        length_scale: Whether scores are multiplied by the logarithm of the sequence's own length.
        shift: Score jitter: one number, added to every score.

    Returns:
        Scores for the normalizer.
    """
    if shift is not None:
        scores = scores + shift
    if length_scale and normalizer == SOFTMAX:
        scores = scores * lengths.to(scores.dtype).log()
    return scores


def pool(
    sequence: Float[Tensor, "batch time hidden"],
    scores: Float[Tensor, "batch time"],
    valid: Bool[Tensor, "batch time"],
    normalizer: str = SOFTMAX,
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch time"]]:
    """Weighted mean of a sequence that has been computed already.

    Args:
        sequence: States; finite, also where `valid` is false.
        scores: One score for each step.
        valid: Steps that count.
        normalizer: One of `NORMALIZERS`.

    Returns:
        Context and weights.
    """
    weights = attention_weights(full_precision(scores), valid, normalizer)
    return torch.einsum("bt,bth->bh", weights.to(sequence.dtype), sequence), weights


class Parameters(NamedTuple):
    """Parameters of the state and the score (Raffel & Ellis, equations 1 and 4).

    Attributes:
        weight: W_xh, (hidden, feature).
        bias: b_xh, (hidden,).
        query: w_hc, (hidden,), or None for the unweighted mean.
        query_bias: b_hc, one number, or None.
    """

    weight: Float[Tensor, "hidden feature"]
    bias: Float[Tensor, " hidden"]
    query: Float[Tensor, " hidden"] | None = None
    query_bias: Float[Tensor, "1"] | None = None


class Form(NamedTuple):
    """Which function of the states the context is.

    Attributes:
        slope: Slope of the leaky ReLU for negative inputs.
        score: One of `SCORES`.
        normalizer: One of `NORMALIZERS`.
        length_scale: Multiply scores by the logarithm of the sequence's length (softmax).
    """

    slope: float
    score: str
    normalizer: str
    length_scale: bool


def states_and_scores(
    x: Float[Tensor, "batch time feature"], parameters: Parameters, form: Form
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch time"]]:
    """h_t = LReLU(W x_t + b), e_t = tanh(w . h_t + c) or w . h_t + c; scores are zero for the unweighted mean."""
    states = leaky_relu(linear(x, parameters.weight, parameters.bias), form.slope)
    if parameters.query is None:
        return states, states.new_zeros(x.shape[:2])
    scores = linear(states, parameters.query[None], parameters.query_bias).squeeze(-1)
    return states, scores.tanh() if form.score == "tanh" else scores


def feed_forward_attention(
    x: Float[Tensor, "batch time feature"],
    valid: Bool[Tensor, "batch time"],
    parameters: Parameters,
    form: Form,
    *,
    shift: Float[Tensor, ""] | None = None,
    piece: int = PIECE,
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch time"]]:
    """State, score and weighted mean, in pieces of time.

    Args:
        x: Inputs; finite, also where `valid` is false.
        valid: Steps that count, at least one for each sequence.
        parameters: Weights and biases.
        form: Score, normalizer, slope and scaling.
        shift: Score jitter: one number, added to every score.
        piece: How many (sequence, step) pairs are held at a time.

    Returns:
        Context, and the scores as the normalizer saw them.
    """
    width = max(1, piece // max(1, len(x)))
    lengths = valid.sum(dim=1, keepdim=True)
    reduce = partial(_reduce_piece, parameters=parameters, form=form, shift=shift, lengths=lengths)
    if x.shape[1] <= width:
        sums, scores = reduce(x, valid)
        return finish(sums), scores
    return _reduce_in_pieces(x, valid, reduce, width)


Reduce = Callable[[Tensor, Tensor], tuple[Sums, Tensor]]


def _reduce_in_pieces(x: Tensor, valid: Tensor, reduce: Reduce, width: int) -> tuple[Tensor, Tensor]:
    sums, scores = None, []
    for x_piece, valid_piece in zip(x.split(width, dim=1), valid.split(width, dim=1), strict=True):
        new, piece_scores = checkpoint(reduce, x_piece, valid_piece, use_reentrant=False, preserve_rng_state=False)
        sums = new if sums is None else merge(sums, new)
        scores.append(piece_scores)
    assert sums is not None
    return finish(sums), torch.cat(scores, dim=1)


def _reduce_piece(
    x: Tensor, valid: Tensor, *, parameters: Parameters, form: Form, shift: Tensor | None, lengths: Tensor
) -> tuple[Sums, Tensor]:
    states, scores = states_and_scores(x, parameters, form)
    with torch.autocast(x.device.type, enabled=False):
        states, scores = full_precision(states), full_precision(scores)
        scores = scale_scores(scores, lengths, form.normalizer, form.length_scale, shift)
        maximum, weights = unnormalised_weights(scores, valid, form.normalizer)
        return Sums(maximum, weights.sum(dim=1), torch.einsum("bt,bth->bh", weights, states)), scores
