"""How weights start."""

import math

from torch import nn

INITS = ("paper", "he")
BIAS_INITS = ("zero", "uniform")
_GAIN = {"paper": 1.0, "he": math.sqrt(2.0)}


def init_linear(layer: nn.Linear, init: str = "paper", bias_init: str = "zero") -> None:
    """Draw weights from N(0, gain / sqrt(fan_in)) (standard deviation), and biases as asked for.

    Args:
        layer: Changed in place.
        init: `paper` (gain 1) or `he` (gain sqrt(2)).
        bias_init: `zero`, as in the paper, or `uniform` on +-1 / sqrt(fan_in), as torch's own layers.

    Source:
        Raffel & Ellis, section 2.2 (`paper`); the authors' code uses `he` for all but the attention vector.
    """
    nn.init.normal_(layer.weight, std=_GAIN[init] / math.sqrt(layer.in_features))
    bound = 0.0 if bias_init == "zero" else 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.bias, -bound, bound)
