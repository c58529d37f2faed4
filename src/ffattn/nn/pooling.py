"""Other poolings for anyone's model, with the same padding rules: several queries, gates, statistics."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ffattn.choices import SOFTMAX
from ffattn.nn.attention import AttentionPooling
from ffattn.nn.initialisers import init_linear
from ffattn.nn.masking import check_mask, clear_padding, resolve_lengths
from ffattn.ops.reference import divisor, full_precision, largest_score, unnormalised_weights, valid_steps


def resolve_mask(
    sequence: Float[Tensor, "batch time feature"],
    lengths: Int[Tensor, " batch"] | None,
    mask: Bool[Tensor, "batch time"] | None,
) -> Bool[Tensor, "batch time"]:
    """Which steps are real, however that was said.

    Args:
        sequence: The sequences.
        lengths: How many steps of each are real; all if neither this nor a mask is given.
        mask: True where a step is real.

    Raises:
        ValueError: Both are given, a shape does not fit, or a sequence has no real step.
    """
    if mask is None:
        return valid_steps(resolve_lengths(sequence, lengths), sequence.shape[1])
    if lengths is not None:
        raise ValueError("give lengths or mask, not both")
    check_mask(sequence, mask)
    return mask


class MultiHeadPooling(nn.Module):
    """Several learned queries, each with weights and a context of its own: `AttentionPooling`, side by side.

    Args:
        num_features: Size of the sequence's feature axis.
        num_heads: How many queries.
        **options: Those of `AttentionPooling`.

    Source:
        Lin et al. 2017, "A Structured Self-attentive Sentence Embedding", with the scores of Raffel & Ellis.
    """

    def __init__(self, num_features: int, num_heads: int, **options: bool | float | str) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"num_heads={num_heads}: must be at least 1")
        self.heads = nn.ModuleList(AttentionPooling(num_features, **options) for _ in range(num_heads))  # type: ignore[arg-type]

    def forward(
        self,
        sequence: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch head feature"], Float[Tensor, "batch head time"]]:
        """Pool.

        Args:
            sequence: States to pool. Values in padding, NaN included, never reach the result.
            lengths: How many steps of each sequence are real; all if neither this nor a mask is given.
            mask: True where a step is real, in any pattern.

        Returns:
            A context and weights for each head.

        Raises:
            ValueError: A sequence has no real step, or shapes or types do not fit.
        """
        contexts, weights = zip(*(head(sequence, lengths, mask) for head in self.heads), strict=True)
        return torch.stack(contexts, dim=1), torch.stack(weights, dim=1)


class GatedPooling(nn.Module):
    """Attention whose score is gated: e_t = w . (tanh(V h_t) * sigmoid(U h_t)), a = softmax(e), c = sum a_t h_t.

    In plain PyTorch: gates of size batch x time x hidden are stored.

    Args:
        num_features: Size of the sequence's feature axis.
        hidden: Size of the gates.

    Source:
        Ilse, Tomczak & Welling 2018, "Attention-based Deep Multiple Instance Learning", equation 9.
    """

    def __init__(self, num_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.value = nn.Linear(num_features, hidden)
        self.gate = nn.Linear(num_features, hidden)
        self.query = nn.Linear(hidden, 1, bias=False)  # the same number for all steps would change no weight
        for layer in (self.value, self.gate):
            init_linear(layer, "paper")

    def forward(
        self,
        sequence: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch time"]]:
        """Pool (see `AttentionPooling.forward`)."""
        mask = resolve_mask(sequence, lengths, mask)
        sequence = clear_padding(sequence, mask)
        scores = self.query(self.value(sequence).tanh() * self.gate(sequence).sigmoid()).squeeze(-1)
        scores = full_precision(scores)
        weights = unnormalised_weights(scores, mask, largest_score(scores, mask, SOFTMAX), SOFTMAX)
        weights = weights / divisor(weights.sum(dim=1))
        return torch.einsum("bt,bth->bh", weights.to(sequence.dtype), sequence), weights


class StatisticsPooling(nn.Module):
    """The weighted mean and standard deviation over time, side by side: what steps are like, and how they differ.

    Args:
        num_features: Size of the sequence's feature axis.
        **options: Those of `AttentionPooling`; `normalizer="mean"` weighs all steps alike, and learns nothing.

    Source:
        Okabe, Koshinaka & Shinoda 2018, "Attentive Statistics Pooling for Deep Speaker Embedding", equations 5 and 6.
    """

    def __init__(self, num_features: int, **options: bool | float | str) -> None:
        super().__init__()
        self.attention = AttentionPooling(num_features, **options)  # type: ignore[arg-type]

    def forward(
        self,
        sequence: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch twice"], Float[Tensor, "batch time"]]:
        """Pool (see `AttentionPooling.forward`); the first half of the context is the mean."""
        mean, weights = self.attention(sequence, lengths, mask)
        mask = resolve_mask(sequence, lengths, mask)
        # E[x^2] - E[x]^2 would lose small deviations; no product of matrices, which autocast would round
        centred = full_precision(clear_padding(sequence, mask)) - mean[:, None]
        variance = (weights[..., None] * centred.square()).sum(dim=1)
        deviation = (variance + torch.finfo(variance.dtype).eps).sqrt()  # the root has no gradient at zero
        return torch.cat((mean, deviation.to(mean.dtype)), dim=1), weights
