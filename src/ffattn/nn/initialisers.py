"""How weights start."""

import math

from torch import nn

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


def init_query(layer: nn.Linear, init: str = "normal") -> None:
    """Draw the vector that scores states.

    Args:
        layer: Changed in place; its bias is zero afterwards.
        init: `normal`, N(0, 1 / sqrt(fan_in)) as in the paper, or `positive`, the absolute values of 0.3 times that.
            States are hardly negative, so that a step's first score then grows with the size of its input: no step
            that stands out starts below the others, from where a softmax over many steps would not let it up.
    """
    init_linear(layer)
    if init == "positive":
        layer.weight.data.abs_().mul_(0.3)
