"""One-bit activations: BNN (Hubara 2016) and XNOR-Net (Rastegari 2016)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autocomp.compression.quantizers.binary import BinaryWeight
from autocomp.compression.quantizers.sign import SignInput


def fitted(x: Tensor) -> SignInput:
    quantizer = SignInput()
    quantizer.observe = True
    quantizer(x)
    return quantizer


def test_values_become_their_sign_times_the_mean_magnitude() -> None:
    # (1 + 2 + 3 + 0) / 4 = 1.5
    x = torch.tensor([1.0, -2, 3, 0])
    torch.testing.assert_close(fitted(x)(x), torch.tensor([1.5, -1.5, 1.5, -1.5]))


def test_the_sign_after_a_relu_is_the_sign_before_it() -> None:
    x = torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fitted(x.relu())(x.relu()).sign(), x.sign())


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), scale=st.floats(0.0, 5.0))
def test_no_other_scale_comes_nearer(seed: int, scale: float) -> None:
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(seed))
    assert (x - fitted(x)(x)).square().sum() <= (x - scale * x.sign()).square().sum() + 1e-4


def test_the_gradient_is_that_of_the_hard_tangent() -> None:
    # Scale 1: passes inside (-1, 1), stops outside. d out / d scale is the sign: 1 - 2 + 3 - 4 = -2; d scale / d log scale = 1.
    quantizer = SignInput()
    quantizer.is_on = True
    x = torch.tensor([0.5, -0.5, 3.0, -3.0], requires_grad=True)
    quantizer(x).backward(torch.tensor([1.0, 2, 3, 4]))
    assert x.grad is not None
    assert x.grad.tolist() == [1, 2, 0, 0]
    assert quantizer.log_scale.grad is not None
    assert quantizer.log_scale.grad.item() == pytest.approx(-2)


def test_a_dot_product_of_binary_weights_and_activations_is_a_count_of_agreeing_signs() -> None:
    # Rastegari 2016, section 3.2: x.w ~ beta alpha (signs that agree - signs that differ); here 3 - 1
    x, weight = torch.tensor([[1.0, -2, 3, -4]]), torch.tensor([[0.1, -0.3, -0.2, -0.2]])
    product = (fitted(x)(x) * BinaryWeight()(weight)).sum().item()
    assert product == pytest.approx(2.5 * 0.2 * 2)
