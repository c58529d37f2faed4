import sys
from pathlib import Path

import pytest
import torch

import ffattn
from ffattn.system.provenance import provenance

PACKAGE = Path(ffattn.__file__).parent


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([str(PACKAGE / "train.py"), "T=50"], ["python", "-m", "ffattn.train", "T=50"]),
        (["mine.py", "T=50"], ["mine.py", "T=50"]),
        ([""], [""]),
    ],
)
def test_a_command_is_the_same_wherever_the_package_is(monkeypatch, arguments, expected):
    monkeypatch.setattr(sys, "argv", arguments)
    assert provenance(torch.device("cpu"))["command"] == expected
