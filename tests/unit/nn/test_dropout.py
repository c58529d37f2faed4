"""Dropout of a part of a batch."""

import pytest
import torch

from ffattn.nn import Dropout


def drop(x, part=0, parts=1):
    layer = Dropout(0.5)
    layer.part, layer.parts = part, parts
    torch.manual_seed(3)
    return layer(x)


@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_are_treated_as_in_the_whole(parts):
    x = torch.randn(6, 5)
    pieces = [drop(piece, part, parts) for part, piece in enumerate(x.chunk(parts))]
    torch.testing.assert_close(torch.cat(pieces), drop(x), rtol=0, atol=0)
    assert (drop(x) == 0).any()


def test_one_part_is_torchs_own_dropout():
    x = torch.randn(6, 5)
    dropped = drop(x)
    torch.manual_seed(3)
    torch.testing.assert_close(dropped, torch.nn.Dropout(0.5)(x), rtol=0, atol=0)


def test_nothing_is_dropped_in_evaluation():
    layer = Dropout(0.5).eval()
    layer.parts = 2
    x = torch.randn(6, 5)
    assert layer(x) is x
