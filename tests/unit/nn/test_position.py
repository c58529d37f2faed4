import math

import pytest
import torch

from ffattn.choices import POSITIONS
from ffattn.nn import PositionFeatures
from ffattn.nn.position import NUM_FREQUENCIES

LENGTHS = torch.tensor([5, 3])


@pytest.mark.parametrize("position", POSITIONS)
def test_inputs_come_first_and_features_after_them(position):
    layer, x = PositionFeatures(position), torch.randn(2, 5, 3)
    result = layer(x, LENGTHS)
    assert result.shape == (2, 5, 3 + layer.num_features)
    assert result.dtype == x.dtype
    assert torch.equal(result[..., :3], x)


def test_none_appends_nothing():
    assert PositionFeatures("none").num_features == 0


def test_fraction_is_the_step_over_the_sequences_own_length():
    features = PositionFeatures("fraction")(torch.zeros(2, 5, 1), LENGTHS)[..., 1]
    assert features[0].tolist() == pytest.approx([0, 1 / 5, 2 / 5, 3 / 5, 4 / 5])
    assert features[1, :3].tolist() == pytest.approx([0, 1 / 3, 2 / 3])


def test_fractions_stay_below_one():
    time = 100_003
    features = PositionFeatures("fraction")(torch.zeros(1, time, 1), torch.tensor([time]))[..., 1]
    assert features[0, 0] == 0
    assert features.max() < 1


@pytest.mark.parametrize("step", [0, 1, 7, 100_002])
def test_sinusoids_have_the_right_phase_even_after_many_steps(step):
    """In float32, steps times frequencies would be wrong in the third digit by then."""
    features = PositionFeatures("sinusoid")(torch.zeros(1, step + 1, 1), torch.tensor([step + 1]))[0, step, 1:]
    phases = [step * 10_000 ** (-k / 8) for k in range(NUM_FREQUENCIES)]
    assert features.tolist() == pytest.approx([f(phase) for f in (math.sin, math.cos) for phase in phases], abs=1e-6)


def test_sinusoids_do_not_depend_on_the_length():
    features = PositionFeatures("sinusoid")(torch.zeros(2, 5, 1), LENGTHS)
    assert torch.equal(features[0], features[1])


def test_an_unknown_position_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="position=angle: must be one of none, fraction, sinusoid"):
        PositionFeatures("angle")
