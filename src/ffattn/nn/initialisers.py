"""How weights start."""

import math

from torch import nn

INITS = ("paper", "he")
_GAIN = {"paper": 1.0, "he": math.sqrt(2.0)}


def init_linear(layer: nn.Linear, init: str = "paper") -> None:
    """Draw weights from N(0, gain / sqrt(fan_in)) (standard deviation) and set biases to zero.

    Args:
        layer: Changed in place.
        init: `paper` (gain 1) or `he` (gain sqrt(2)).

    Source:
        Raffel & Ellis, section 2.2 (`paper`); the authors' code uses `he` for all but the attention vector.
    """
    nn.init.normal_(layer.weight, std=_GAIN[init] / math.sqrt(layer.in_features))
    nn.init.zeros_(layer.bias)
