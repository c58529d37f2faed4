"""Attention pooling: many steps in, one weighted mean out."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ffattn.choices import MEAN, NORMALIZERS, QUERY_INITS, RELU2, SCORES, SOFTMAX
from ffattn.nn.initialisers import init_linear, init_query
from ffattn.nn.masking import check_mask, clear_padding, resolve_lengths
from ffattn.nn.state import AttentionState, Reduces
from ffattn.ops import Pooled, attention_pooling, feed_forward_attention
from ffattn.ops.reference import divisor, full_precision, largest_score, scale_scores, unnormalised_weights, valid_steps


class _Attention(nn.Module, Reduces):
    """The options that both layers share, and the learned query."""

    def __init__(
        self, hidden: int, *, score: str, normalizer: str, length_scale: bool, score_jitter: float, query_init: str
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"score={score}: must be one of {', '.join(SCORES)}")
        if normalizer not in NORMALIZERS:
            raise ValueError(f"normalizer={normalizer}: must be one of {', '.join(NORMALIZERS)}")
        if query_init not in QUERY_INITS:
            raise ValueError(f"query_init={query_init}: must be one of {', '.join(QUERY_INITS)}")
        self.hidden = hidden
        self.score = score
        self.normalizer = normalizer
        self.length_scale = length_scale
        self.score_jitter = score_jitter
        self.query = None if normalizer == MEAN else nn.Linear(hidden, 1)
        if self.query is not None:
            init_query(self.query, query_init)
            nn.init.constant_(self.query.bias, 1.0 if normalizer == RELU2 else 0.0)  # relu2 must not start dead

    def start(self, lengths: Int[Tensor, " batch"] | None = None) -> AttentionState:
        """A state that takes sequences in pieces, in constant memory.

        Args:
            lengths: How many steps each whole sequence has; needed for `length_scale` only.

        Returns:
            A state that has seen nothing.

        Raises:
            ValueError: Lengths are needed and not given.
        """
        return AttentionState(self, lengths)

    def query_parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """The query, (1, hidden), and its bias, (1,); None for the unweighted mean."""
        return (None, None) if self.query is None else (self.query.weight, self.query.bias)

    def scale(self, lengths: Int[Tensor, " batch"]) -> Float[Tensor, " batch"] | None:
        """The logarithm of the lengths, where scores are multiplied by it: a common factor of relu2 would cancel."""
        return lengths.double().log() if self.length_scale and self.normalizer == SOFTMAX else None

    def shift(self, device: torch.device) -> Float[Tensor, ""] | None:
        """Score jitter: one number for the batch, uniform on [0, score_jitter), in training only."""
        if not self.training or self.score_jitter == 0 or self.query is None:
            return None
        return self.score_jitter * torch.rand((), device=device)

    def forward_with_weights(
        self, x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch time"], Float[Tensor, "batch time"] | None]:
        """Pool; also return weights and scores.

        Args:
            x: The layer's input.
            lengths: How many steps of each sequence are real; all if not given.

        Returns:
            Context; weights, which are zero in padding; and the scores that they are made from, which are of no meaning
            there, or None for the unweighted mean.

        Raises:
            ValueError: A length is not on 1..time, or shapes or types do not fit.
        """
        lengths = resolve_lengths(x, lengths)
        shift = self.shift(x.device)
        scale = self.scale(lengths)
        pooled, scores = self.reduce(x, lengths, shift, scale)
        context = pooled.context.to(x.dtype)
        valid = valid_steps(lengths, x.shape[1])
        if self.query is None:
            return context, valid / divisor(pooled.total), None
        scores = scale_scores(scores, shift, scale)
        weights = unnormalised_weights(scores, valid, pooled.maximum, self.normalizer)
        return context, weights / divisor(pooled.total), scores

    def pool_states(
        self, states: Float[Tensor, "batch time hidden"], mask: Bool[Tensor, "batch time"]
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch time"]]:
        """Context and weights in plain PyTorch: slower than the operators, but real steps may lie anywhere.

        Args:
            states: What is scored and averaged; finite everywhere.
            mask: True where a step is real.
        """
        scores = states.new_zeros(mask.shape) if self.query is None else self.query(states).squeeze(-1)
        scores = scores.tanh() if self.score == "tanh" else scores
        scores = scale_scores(full_precision(scores), self.shift(states.device), self.scale(mask.sum(dim=1)))
        weights = unnormalised_weights(scores, mask, largest_score(scores, mask, self.normalizer), self.normalizer)
        total = weights.sum(dim=1, keepdim=True)
        weights = weights / total.where(total != 0, 1.0)
        return torch.einsum("bt,bth->bh", weights.to(states.dtype), states), weights


class AttentionPooling(_Attention):
    """Pool a sequence that another model has computed: e_t = tanh(w . h_t + b), a = normalise(e), c = sum a_t h_t.

    Args:
        num_features: Size of the sequence's feature axis.
        score: `tanh`, as in the formula, or `linear`, without the tanh.
        normalizer: `softmax`, `relu2` (squared ReLU divided by its sum; a sequence without a positive score gets zero
            weights and a zero context), or `mean` (equal weights, nothing learned).
        length_scale: Multiply scores by the logarithm of the sequence's length (softmax only).
        score_jitter: In training, add one number per batch, uniform on [0, score_jitter), to every score.
        query_init: The vector w, `normal` or `positive` (see `init_query`).

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
        query_init: str = "normal",
    ) -> None:
        super().__init__(
            num_features,
            score=score,
            normalizer=normalizer,
            length_scale=length_scale,
            score_jitter=score_jitter,
            query_init=query_init,
        )

    def reduce(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        shift: Float[Tensor, ""] | None,
        scale: Float[Tensor, " batch"] | None,
    ) -> tuple[Pooled, Tensor]:
        """Attention over the real steps, and raw scores (see `ops.attention_pooling`)."""
        query = self.query_parameters()
        return attention_pooling(
            x, lengths, *query, shift=shift, scale=scale, score=self.score, normalizer=self.normalizer
        )

    def forward(
        self,
        sequence: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch time"]]:
        """Pool.

        Args:
            sequence: States to pool. Values in padding, NaN included, never reach the result.
            lengths: How many steps of each sequence are real; all if neither this nor a mask is given.
            mask: True where a step is real, in any pattern. Lengths are faster, and need no copy of the sequence.

        Returns:
            Context and weights. Weights are zero on steps that are not real and sum to one over the others.

        Raises:
            ValueError: A sequence has no real step, or shapes or types do not fit.
            NotImplementedError: In a backward pass through the gradient: without a mask there is no second derivative.
        """
        if mask is None:
            context, weights, _ = self.forward_with_weights(sequence, lengths)
            return context, weights
        if lengths is not None:
            raise ValueError("give lengths or mask, not both")
        check_mask(sequence, mask)
        return self.pool_states(clear_padding(sequence, mask), mask)


class FeedForwardAttention(_Attention):
    """Embed each step, score it, and return the weighted mean: h_t = LReLU(W x_t + b), then `AttentionPooling`.

    One fused operation: nothing of size batch x time x hidden is stored, and padding costs nothing.

    Args:
        num_features: Size of the input's feature axis.
        hidden: Size of the states.
        score: `tanh` or `linear`.
        normalizer: `softmax`, `relu2` or `mean`.
        length_scale: Multiply scores by the logarithm of the sequence's length (softmax only).
        score_jitter: In training, add one number per batch, uniform on [0, score_jitter), to every score.
        slope: Slope of the leaky ReLU for negative inputs, 0..1.
        init: Weights of the embedding, `paper` or `he` (see `init_linear`).
        bias_init: Biases of the embedding, `zero` or `uniform` (see `init_linear`).
        query_init: The vector that scores states, `normal` or `positive` (see `init_query`).

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
        bias_init: str = "zero",
        query_init: str = "normal",
    ) -> None:
        super().__init__(
            hidden,
            score=score,
            normalizer=normalizer,
            length_scale=length_scale,
            score_jitter=score_jitter,
            query_init=query_init,
        )
        self.slope = slope
        self.embed = nn.Linear(num_features, hidden)
        init_linear(self.embed, init, bias_init)

    def reduce(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        shift: Float[Tensor, ""] | None,
        scale: Float[Tensor, " batch"] | None,
    ) -> tuple[Pooled, Tensor]:
        """Attention over the real steps, and raw scores (see `ops.feed_forward_attention`)."""
        parameters = self.embed.weight, self.embed.bias, *self.query_parameters()
        return feed_forward_attention(
            x,
            lengths,
            *parameters,
            shift=shift,
            scale=scale,
            slope=self.slope,
            score=self.score,
            normalizer=self.normalizer,
        )

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
            ValueError: A length is not on 1..time, or shapes or types do not fit.
            NotImplementedError: In a backward pass through the gradient: there is no second derivative.
        """
        if return_weights:
            context, weights, _ = self.forward_with_weights(x, lengths)
            return context, weights
        lengths = resolve_lengths(x, lengths)
        pooled, _ = self.reduce(x, lengths, self.shift(x.device), self.scale(lengths))
        return pooled.context.to(x.dtype)
