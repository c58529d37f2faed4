"""Which GPUs the kernels are compiled for; that they compile is tested beside them."""

import sys

import pytest

pytest.importorskip("triton")

from scripts.benchmarks import gpu_kernels


@pytest.mark.parametrize(
    ("text", "capability"), [("8.0", 80), ("80", 80), ("9.0", 90), ("90", 90), ("10.0", 100), ("100", 100), ("8.9", 89)]
)
def test_a_capability_is_a_version_or_ten_times_it(text, capability):
    assert gpu_kernels.capability(text) == capability


@pytest.mark.parametrize("text", ["10", "7", "8", "8.", ".8", "9.5", "95", "0.80", "8.0.0", "sm_80", "", "-3"])
def test_other_capabilities_are_refused_before_anything_is_compiled(text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_kernels", f"--capability={text}"])
    with pytest.raises(SystemExit, match=r"^2$"):
        gpu_kernels.main()
    _, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"gpu_kernels: error: argument --capability: {text}: must be one of 7.5, 8.0,")
