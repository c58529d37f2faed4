"""Which implementation serves which tensors, and what happens where a compiler is missing."""

import importlib.util

import pytest
import torch
from operator_cases import LONG, PLAIN_FORMS, SMALL, assert_near, everything, make_inputs

from ffattn import ops
from ffattn.kernels import backends
from ffattn.ops import reference
from tests.pairwise import each_value


@pytest.fixture
def without_numba(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find(name))
    _forget()
    yield
    _forget()


def _forget():
    backends.compiled.cache_clear()
    backends._has_compiler.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_numba_serves_float32_and_bfloat16_on_the_cpu(dtype):
    pytest.importorskip("numba")
    from ffattn.ops import cpu

    assert ops.implementation(torch.zeros(1, dtype=dtype)) is cpu


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_the_reference_serves_other_precisions(dtype):
    assert ops.implementation(torch.zeros(1, dtype=dtype)) is reference


def test_the_reference_serves_other_devices():
    assert ops.implementation(torch.zeros(1, device="meta")) is reference


@pytest.mark.usefixtures("without_numba")
def test_without_numba_the_reference_serves_and_says_so_once(capsys):
    for dtype in (torch.float32, torch.bfloat16, torch.float32, torch.float64):
        assert ops.implementation(torch.zeros(1, dtype=dtype)) is reference
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "ffattn: numba is not installed: plain PyTorch instead, many times slower\n"


def test_float64_needs_no_compiler(without_numba, capsys):
    ops.attention_pooling(torch.zeros(1, 2, 3).double(), torch.tensor([2]), normalizer="mean")
    assert capsys.readouterr().err == ""


@each_value(form=PLAIN_FORMS, case={"small": SMALL, "long": LONG}, dtype=[torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_numba(form, case, dtype, request):
    x, *parameters = make_inputs(form, case)
    inputs = [x.to(dtype), *parameters]
    expected = everything(form, inputs, case.lengths, ["total", "context"])
    request.getfixturevalue("without_numba")
    found = everything(form, inputs, case.lengths, ["total", "context"])
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        bar = 1e-2 if tensor.dtype == torch.bfloat16 else 2e-5
        assert_near(name, found[name], tensor.double(), bar)
