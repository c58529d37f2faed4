"""Attention pooling: many steps in, one weighted mean out."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ffattn.nn.initialisers import init_linear
from ffattn.nn.masking import clear_padding, resolve_mask
from ffattn.ops.reference import (
    MEAN,
    NORMALIZERS,
    RELU2,
    SCORES,
    Form,
    Parameters,
    attention_weights,
    feed_forward_attention,
    pool,
    scale_scores,
)


class _Scorer(nn.Module):
    """The options that both layers share, and the learned query."""

    def __init__(self, hidden: int, score: str, normalizer: str, length_scale: bool, score_jitter: float) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"score={score}: must be one of {', '.join(SCORES)}")
        if normalizer not in NORMALIZERS:
            raise ValueError(f"normalizer={normalizer}: must be one of {', '.join(NORMALIZERS)}")
        self.score, self.normalizer, self.length_scale = score, normalizer, length_scale
        self.score_jitter = score_jitter
        self.query = None if normalizer == MEAN else nn.Linear(hidden, 1)
        if self.query is not None:
            init_linear(self.query)
            nn.init.constant_(self.query.bias, 1.0 if normalizer == RELU2 else 0.0)  # relu2 must not start dead

    def _shift(self, like: Tensor) -> Float[Tensor, ""] | None:
        """Score jitter: one number for the batch, uniform on [0, score_jitter), in training only."""
        if not self.training or self.score_jitter == 0 or self.query is None:
            return None
        return self.score_jitter * torch.rand((), device=like.device, dtype=like.dtype)


class AttentionPooling(_Scorer):
    """Pool a sequence that another model has computed: e_t = tanh(w . h_t + b), a = normalise(e), c = sum a_t h_t.

    Args:
        num_features: Size of the sequence's feature axis.
        score: `tanh`, as in the formula, or `linear`, without the tanh.
        normalizer: `softmax`, `relu2` (squared ReLU divided by its sum; a sequence without a positive score gets zero
            weights and a zero context), or `mean` (equal weights, nothing learned).
        length_scale: Multiply scores by the logarithm of the sequence's length (softmax only).
        score_jitter: In training, add one number per batch, uniform on [0, score_jitter), to every score.

    Source:
        Raffel & Ellis, equations 1-3.
    """

    def __init__(
        self,
        num_features: int,
        *,
        score: str = "tanh",
        normalizer: str = "softmax",
        length_scale: bool = False,
        score_jitter: float = 0.0,
    ) -> None:
        super().__init__(num_features, score, normalizer, length_scale, score_jitter)

    def forward(
        self,
        sequence: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch time"]]:
        """Pool.

        Args:
            sequence: States to pool.
            lengths: How many steps of each sequence are real; all if neither this nor a mask is given.
            mask: True where a step is real, in any pattern.

        Returns:
            Context and weights. Weights are zero on steps that are not real and sum to one over the others.

        Raises:
            ValueError: A sequence has no real step, or shapes do not fit.
        """
        valid = resolve_mask(sequence, lengths, mask)
        sequence = clear_padding(sequence, valid)
        if self.query is None:
            return pool(sequence, sequence.new_zeros(valid.shape), valid, MEAN)
        scores = self.query(sequence).squeeze(-1)
        scores = scores.tanh() if self.score == "tanh" else scores
        counts = valid.sum(dim=1, keepdim=True)
        scores = scale_scores(scores, counts, self.normalizer, self.length_scale, self._shift(scores))
        return pool(sequence, scores, valid, self.normalizer)


class FeedForwardAttention(_Scorer):
    """Embed each step, score it, and return the weighted mean: h_t = LReLU(W x_t + b), then `AttentionPooling`.

    Time is processed in pieces, so that memory beyond the input grows as batch x time, not as batch x time x hidden.

    Args:
        num_features: Size of the input's feature axis.
        hidden: Size of the states.
        score: `tanh` or `linear`.
        normalizer: `softmax`, `relu2` or `mean`.
        length_scale: Multiply scores by the logarithm of the sequence's length (softmax only).
        score_jitter: In training, add one number per batch, uniform on [0, score_jitter), to every score.
        slope: Slope of the leaky ReLU for negative inputs.
        init: Weights of the embedding, `paper` or `he` (see `init_linear`).
        bias_init: Biases of the embedding, `uniform` or `zero` (see `init_linear`).

    Source:
        Raffel & Ellis, equations 1-4 and section 2.2.
    """

    def __init__(
        self,
        num_features: int,
        hidden: int = 100,
        *,
        score: str = "tanh",
        normalizer: str = "softmax",
        length_scale: bool = False,
        score_jitter: float = 0.0,
        slope: float = 0.01,
        init: str = "paper",
        bias_init: str = "uniform",
    ) -> None:
        super().__init__(hidden, score, normalizer, length_scale, score_jitter)
        self.slope = slope
        self.embed = nn.Linear(num_features, hidden)
        init_linear(self.embed, init, bias_init)

    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        return_weights: bool = False,
    ) -> Float[Tensor, "batch hidden"] | tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch time"]]:
        """Embed, score and pool.

        Args:
            x: Inputs.
            lengths: How many steps of each sequence are real; all if not given.
            return_weights: Whether to return the weights as well.

        Returns:
            The context, or (context, weights). Values in padding, NaN included, never reach the result.

        Raises:
            ValueError: A length is not on 1..time.
        """
        valid = resolve_mask(x, lengths)
        form = Form(self.slope, self.score, self.normalizer, self.length_scale)
        x = clear_padding(x, valid)
        context, scores = feed_forward_attention(x, valid, self._formula_parameters(), form, shift=self._shift(x))
        if not return_weights:
            return context
        return context, attention_weights(scores, valid, self.normalizer)

    def _formula_parameters(self) -> Parameters:
        if self.query is None:
            return Parameters(self.embed.weight, self.embed.bias)
        return Parameters(self.embed.weight, self.embed.bias, self.query.weight[0], self.query.bias)
