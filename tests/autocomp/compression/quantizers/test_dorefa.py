"""DoReFa-Net (Zhou 2016): weights and activations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autocomp.compression.quantizers.dorefa import DoReFaInput, DoReFaWeight


def test_weights_are_rounded_after_the_hyperbolic_tangent() -> None:
    # tanh(w) / max = (1, 0.5, -1, 0.125); half of it plus a half: (1, 0.75, 0, 0.5625); times 3: (3, 2.25, 0, 1.69) -> (3, 2, 0, 2);
    # twice the third of it minus one: (1, 1/3, -1, 1/3). The scale is w.q / q.q.
    weight = torch.tensor([[0.8, 0.4, -0.8, 0.1]]).atanh()
    levels = torch.tensor([[1, 1 / 3, -1, 1 / 3]])
    scale = (weight * levels).sum() / (2 + 2 / 9)
    torch.testing.assert_close(DoReFaWeight(weight, 2)(weight), scale * levels)


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    # mean |w| = (1 + 2 + 3) / 3
    weight = torch.tensor([[1.0, -2, 3]])
    torch.testing.assert_close(DoReFaWeight(weight, 1)(weight), torch.tensor([[2.0, -2, 2]]))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), bits=st.integers(1, 8))
def test_weights_have_evenly_spaced_levels_symmetric_about_zero(seed: int, bits: int) -> None:
    weight = torch.randn(4, 50, generator=torch.Generator().manual_seed(seed))
    quantizer = DoReFaWeight(weight, bits)
    odd = (quantizer(weight) / quantizer.log_scale.exp() * (2**bits - 1)).detach()
    torch.testing.assert_close(odd, odd.round(), rtol=0, atol=1e-3)
    assert set((odd.round() % 2).tolist()[0]) == {1.0}
    assert odd.abs().max().round() == 2**bits - 1


def test_the_gradient_of_a_weight_is_that_of_the_tangent() -> None:
    # d tanh(w) = 1 - tanh(w)^2: 0.36 and 0.84 at 0.8 and 0.4; over max 0.8 and times the scale
    weight = torch.tensor([[0.8, 0.4]]).atanh().requires_grad_()
    quantizer = DoReFaWeight(weight, 4)
    (gradient,) = torch.autograd.grad(quantizer(weight).sum(), weight)
    torch.testing.assert_close(gradient, quantizer.log_scale.exp() * torch.tensor([[0.36, 0.84]]) / 0.8)


def test_activations_are_clipped_to_one_and_rounded() -> None:
    # times 3: (clipped 0, 0.3, 1.2, 1.8, clipped 3) -> (0, 0, 1, 2, 3)
    x = torch.tensor([-1.0, 0.1, 0.4, 0.6, 2.0], requires_grad=True)
    quantizer = DoReFaInput(2)
    out = quantizer(x)
    torch.testing.assert_close(out, torch.tensor([0, 0, 1 / 3, 2 / 3, 1]))
    (gradient,) = torch.autograd.grad(out, x, torch.tensor([1.0, 2, 3, 4, 5]))
    assert gradient.tolist() == [0, 2, 3, 4, 0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_activations_use_every_code(bits: int) -> None:
    assert len(DoReFaInput(bits)(torch.linspace(0, 1, 10_000)).unique()) == 2**bits
