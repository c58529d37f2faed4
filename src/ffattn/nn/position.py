"""Position features: what lets a model without order tell when something happened."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.choices import POSITIONS

NUM_FREQUENCIES = 8
_BASE = 10_000.0


class PositionFeatures(nn.Module):
    """Append features of the step's position to a sequence.

    `fraction` appends t / length, on [0, 1). `sinusoid` appends sin(t w_k) and cos(t w_k) for eight frequencies
    w_k = 10000^(-k/8) radians a step, which do not depend on the length.

    Args:
        position: `none`, `fraction` or `sinusoid`.

    Source:
        Raffel & Ellis, section 2.4 (the limitation); Vaswani et al. 2017, section 3.5 (sinusoids).
    """

    def __init__(self, position: str) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f"position={position}: must be one of {', '.join(POSITIONS)}")
        self.position = position

    @property
    def num_features(self) -> int:
        """How many features are appended."""
        return {"none": 0, "fraction": 1, "sinusoid": 2 * NUM_FREQUENCIES}[self.position]

    def forward(
        self, x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None, start: int = 0
    ) -> Float[Tensor, "batch time more"]:
        """Append the features.

        Args:
            x: Inputs.
            lengths: How many steps each whole sequence has; needed for `fraction` only.
            start: Number of the first step, for a piece of longer sequences.

        Returns:
            Inputs with `num_features` more features.

        Raises:
            ValueError: Lengths are needed and not given.
        """
        if self.position == "none":
            return x
        steps = torch.arange(start, start + x.shape[1], device=x.device, dtype=torch.float64)
        if self.position == "fraction":
            if lengths is None:
                raise ValueError("position=fraction is t / length: declare the whole lengths, start(lengths)")
            features = (steps / lengths[:, None])[..., None]
        else:
            features = _sinusoids(steps).expand(x.shape[0], -1, -1)  # len(x) would fix it in an exported graph
        return torch.cat((x, features.to(x.dtype)), dim=-1)


def _sinusoids(steps: Float[Tensor, " time"]) -> Float[Tensor, "time feature"]:
    """In float64, so that the phase is right after millions of steps."""
    exponents = torch.arange(NUM_FREQUENCIES, device=steps.device, dtype=steps.dtype) / NUM_FREQUENCIES
    phases = steps[:, None] * _BASE**-exponents
    return torch.cat((phases.sin(), phases.cos()), dim=-1)
