"""Low-bit gradients: Zhou 2016, section 2.5."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.compression.quantizers.gradients import low_bit_gradients, quantize_gradient
from autocomp.errors import ConfigError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), bits=st.integers(1, 8))
def test_each_image_has_its_own_range_and_at_most_two_to_the_bits_levels(seed: int, bits: int) -> None:
    gradient = torch.randn(3, 4, 5, generator=seeded(seed)) * torch.tensor([1e-6, 1.0, 100.0])[:, None, None]
    found = quantize_gradient(gradient, bits, seeded(seed))
    for row, original in zip(found.flatten(1), gradient.flatten(1), strict=True):
        largest = original.abs().max()
        codes = (row / (2 * largest) + 0.5) * (2**bits - 1)
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
        assert row.abs().max() <= largest * 1.0001
        assert (row - original).abs().max() <= 2 * largest / (2**bits - 1) * 1.0001  # less than one step away


def test_rounding_at_random_keeps_the_mean() -> None:
    # With m = 1 and two bits the levels are -1, -1/3, 1/3, 1. The value 0 becomes -1/3 or 1/3 equally often: mean 0 with deviation
    # 1/3 / sqrt(40 000) = 0.0017; 0.5 becomes 1/3 three times in four, else 1.
    gradient = torch.tensor([1.0, 0.0, 0.5, -0.8]).repeat(40_000, 1)
    found = quantize_gradient(gradient, 2, seeded())
    torch.testing.assert_close(found.mean(0), gradient[0], rtol=0, atol=0.008)
    share = (found[:, 2] < 0.5).float().mean().item()
    assert share == pytest.approx(0.75, abs=0.01)


def test_the_largest_gradient_of_an_image_is_exact_and_no_gradient_stays_none() -> None:
    gradient = torch.stack([torch.tensor([0.1, -4.0, 2.0]), torch.zeros(3)])
    found = quantize_gradient(gradient, 3, seeded())
    assert found[0, 1].item() == pytest.approx(-4)
    assert found[1].tolist() == [0, 0, 0]


def test_the_same_generator_gives_the_same_gradient() -> None:
    gradient = torch.randn(4, 6, generator=seeded(1))
    assert torch.equal(quantize_gradient(gradient, 2, seeded(5)), quantize_gradient(gradient, 2, seeded(5)))
    assert not torch.equal(quantize_gradient(gradient, 2, seeded(5)), quantize_gradient(gradient, 2, seeded(6)))


def loss_gradients(network: nn.Module, x: Tensor, bits: int | None) -> list[Tensor]:
    with low_bit_gradients(network, bits, seeded(3)):
        return list(torch.autograd.grad(network(x).square().sum(), list(network.parameters())))


def test_a_layer_computes_with_the_quantized_gradient() -> None:
    # y = W x: the gradient of W is g^T x, here with g = 2 y quantized
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(5, 3, bias=False)), torch.randn(4, 5)
    upstream = quantize_gradient(2 * network(x).detach(), 2, seeded(3))
    (found,) = loss_gradients(network, x, 2)
    torch.testing.assert_close(found, upstream.T @ x)


def test_values_stay_what_they_are_and_the_hooks_go() -> None:
    network, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.randn(4, 2, 4, 4)
    wanted = network(x)
    with low_bit_gradients(network, 1):
        assert torch.equal(network(x), wanted)
    assert all(not module._forward_hooks for module in network.modules())


def test_the_hooks_go_when_training_fails() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="stop"), low_bit_gradients(network, 4):
        raise RuntimeError("stop")
    assert not network[0]._forward_hooks


def test_many_bits_are_almost_exact_and_none_changes_nothing() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.randn(4, 2, 4, 4)
    plain = loss_gradients(network, x, None)
    direct = torch.autograd.grad(network(x).square().sum(), list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, direct, strict=True))
    for found, wanted in zip(loss_gradients(network, x, 16), plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0.01, atol=0.01 * wanted.abs().max().item())


@pytest.mark.parametrize("bits", [0, 17, 32])
def test_bits_out_of_range_are_one_clear_line(bits: int) -> None:
    with pytest.raises(ConfigError, match=rf"^Gradients must have 1 to 16 bits, but are asked to have {bits}\.$"):
        quantize_gradient(torch.ones(1, 1), bits)
    with pytest.raises(ConfigError, match="Gradients must have"), low_bit_gradients(nn.Linear(1, 1), bits):
        pass
