"""Quantization: grids, steps, gradients, and quantizers that can be copied, saved and exported."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import Quantization, calibrate, compress, default_methods
from autocomp.compression.quantization import InputQuantizer, WeightQuantizer, _quantize, input_quantizers

from .networks import NETWORKS, SHAPE, built, weight_of

bit_widths = pytest.mark.parametrize("bits", range(2, 9))


def fitted(bits: int, x: Tensor) -> InputQuantizer:
    quantizer = InputQuantizer(bits)
    quantizer.observe = True
    quantizer(x)
    return quantizer


def integers(values: Tensor, log_step: Tensor) -> Tensor:
    """Values in steps; fails if they are not whole numbers."""
    steps = (values / log_step.exp()).detach()
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    return steps.round()


@bit_widths
def test_a_weight_lies_on_a_symmetric_grid_with_one_step_per_filter(bits: int) -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(bits)) * torch.arange(1.0, 7).reshape(6, 1, 1, 1)
    quantizer = WeightQuantizer(weight, bits)
    levels = integers(quantizer(weight), quantizer.log_step)
    assert quantizer.log_step.shape == (6, 1, 1, 1)
    assert levels.abs().max() == 2 ** (bits - 1) - 1
    assert len(set(levels.flatten().tolist())) <= 2**bits - 1  # zero stands in the middle, so that one code is left over


@bit_widths
def test_an_activation_after_a_relu_uses_every_code_for_values_from_zero_up(bits: int) -> None:
    x = torch.rand(16, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    quantizer = fitted(bits, x)
    levels = integers(quantizer(x), quantizer.log_step)
    assert set(levels.flatten().tolist()) == set(range(2**bits))


@bit_widths
def test_an_activation_with_negative_values_lies_on_a_symmetric_grid(bits: int) -> None:
    x = torch.rand(16, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    quantizer = fitted(bits, x)
    levels = integers(quantizer(x), quantizer.log_step)
    assert [levels.min().item(), levels.max().item()] == [1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1]


@settings(deadline=None, max_examples=25)
@given(bits=st.integers(2, 8), seed=st.integers(0, 1000), scale=st.floats(-6, 6))
def test_the_error_is_at_most_half_a_step_inside_the_range_and_rescaling_changes_nothing(bits: int, seed: int, scale: float) -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(seed)) * 10**scale
    quantizer = WeightQuantizer(weight, bits)
    step = quantizer.log_step.exp()
    inside = weight.abs() <= step * quantizer.high
    error = (quantizer(weight) - weight).abs()
    assert (error <= step * 0.5001)[inside].all()
    assert (quantizer(weight).abs() <= step * quantizer.high * 1.0001).all()
    torch.testing.assert_close(WeightQuantizer(weight * 4, bits)(weight * 4), quantizer(weight) * 4)


def test_the_fitted_step_clips_an_outlier_when_that_is_the_smaller_error() -> None:
    # 100 values of 1 and one of 2, at 2 bits (levels -s, 0, s). s = 2: every 1 lies half-way, and rounding to even gives 0;
    # error 100. s = 1: the 2 is off by 1; error 1, the least.
    weight = torch.cat([torch.ones(1, 100), torch.full((1, 1), 2.0)], 1)
    assert WeightQuantizer(weight, 2).log_step.exp().item() == pytest.approx(1)


@bit_widths
def test_more_bits_never_make_a_larger_error(bits: int) -> None:
    weight = torch.randn(8, 500, generator=torch.Generator().manual_seed(0))
    errors = [(WeightQuantizer(weight, b)(weight) - weight).square().mean() for b in (bits, bits + 1)]
    assert errors[1] < errors[0]


def test_weights_of_zero_stay_zero_and_finite() -> None:
    quantizer = WeightQuantizer(torch.zeros(2, 5), 4)
    assert quantizer(torch.zeros(2, 5)).tolist() == [[0.0] * 5] * 2
    assert quantizer.log_step.exp().min() > torch.finfo(torch.float32).tiny  # a subnormal step would be zero where those are flushed


def test_the_gradients_are_the_straight_through_ones() -> None:
    # Step 0.5, integers -2 to 1. In steps x is (-2.6, -1.2, 0.2, 0.8, 1.7), so the result is (-2, -1, 0, 1, 1) * 0.5.
    # d out / d x: 1 inside the range, 0 for the first and the last.
    # d out / d step: the end of the range outside, round(v) - v inside: -2, -1 + 1.2, 0 - 0.2, 1 - 0.8, 1.
    # With upstream gradients (1, 2, 3, 4, 5): -2 + 0.4 - 0.6 + 0.8 + 5 = 3.6, and d step / d log step = 0.5 gives 1.8.
    x = torch.tensor([-1.3, -0.6, 0.1, 0.4, 0.85], requires_grad=True)
    log_step = torch.tensor(math.log(0.5), requires_grad=True)
    out = _quantize(x, log_step, -2, 1)
    assert out.tolist() == [-1, -0.5, 0, 0.5, 0.5]
    out.backward(torch.tensor([1.0, 2, 3, 4, 5]))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 0]
    assert log_step.grad is not None
    assert log_step.grad.item() == pytest.approx(1.8, rel=1e-5)


def test_the_gradient_of_steps_per_filter_is_summed_over_the_filter() -> None:
    weight = torch.randn(3, 2, 2, 2)
    together = WeightQuantizer(weight, 3)
    together(weight).square().sum().backward()
    for i in range(3):
        alone = WeightQuantizer(weight[i : i + 1], 3)
        alone(weight[i : i + 1]).square().sum().backward()
        torch.testing.assert_close(alone.log_step.grad, together.log_step.grad[i : i + 1])  # type: ignore[index]


def test_the_gradients_agree_with_automatic_differentiation_of_a_straight_through_round() -> None:
    generator = torch.Generator().manual_seed(0)
    x, upstream = torch.randn(4, 50, generator=generator), torch.randn(4, 50, generator=generator)
    steps = torch.tensor([[-2.0], [-1.5], [-1.0], [-0.5]])

    def plainly(x: Tensor, log_step: Tensor) -> Tensor:
        clamped = (x / log_step.exp()).clamp(-3, 3)
        return (clamped + (clamped.round() - clamped).detach()) * log_step.exp()

    gradients = []
    for compute in (plainly, lambda x, log_step: _quantize(x, log_step, -3, 3)):
        inputs = [x.clone().requires_grad_(), steps.clone().requires_grad_()]
        gradients.append(torch.autograd.grad(compute(*inputs), inputs, upstream))
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_training_moves_weights_and_steps() -> None:
    torch.manual_seed(0)
    network = compress(nn.Sequential(nn.Linear(8, 4)), Configuration({"0": Choice(weight_bits=3, activation_bits=3)}), (Quantization(),))
    calibrate(network, torch.randn(32, 8))
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    network(torch.randn(32, 8)).square().mean().backward()
    optimizer.step()
    assert len(before) == 4  # weight, bias and the two steps
    assert all((p != old).any() for p, old in zip(network.parameters(), before, strict=True))


def test_values_pass_unchanged_until_the_step_is_fitted() -> None:
    x = torch.randn(4, 4)
    assert InputQuantizer(2)(x) is x


def test_the_step_is_fitted_once_to_the_first_batch() -> None:
    quantizer = fitted(4, torch.rand(8, 8))
    step = quantizer.log_step.item()
    quantizer(torch.rand(8, 8) * 100)
    assert quantizer.log_step.item() == step
    assert not quantizer.observe


def test_the_fit_to_a_large_map_sees_every_column_of_it() -> None:
    # 2^21 values are sampled down to 2^16. Every 32nd would meet the first column alone, which is zero here.
    x = torch.ones(128, 16, 32, 32)
    x[..., 0] = 0
    assert fitted(4, x)(x).max().item() == pytest.approx(1)


def test_a_state_dictionary_holds_the_whole_quantizer() -> None:
    x = torch.randn(64, 16)
    quantizer = fitted(3, x)
    other = InputQuantizer(3)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(x), quantizer(x))
    assert (other.low, other.high, other.is_on) == (-3, 3, True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compressed_network_survives_copying_and_exporting(name: str) -> None:
    graph = normalize(built(name), SHAPE)
    assert graph is not None
    channels = channel_map(graph, SHAPE)
    layers = [n for n, m in graph.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    choice = Choice(sparsity=0.4, pattern="fine", weight_bits=4, activation_bits=5)
    choices = dict.fromkeys(layers, choice) | {n: Choice(sparsity=0.4, pattern="filter", activation_bits=3) for n in channels.leaders}
    network = compress(graph, Configuration(choices), default_methods(channels))
    images = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0))
    calibrate(network, images)
    network.eval()
    with torch.no_grad():
        wanted = network(images)
        assert torch.equal(copy.deepcopy(network)(images), wanted)
        program = torch.export.export(network, (images,), strict=False).module()
        torch.testing.assert_close(program(images), wanted, rtol=1e-5, atol=1e-5)


def test_a_copy_has_quantizers_of_its_own() -> None:
    network = compress(nn.Sequential(nn.Linear(4, 4)), Configuration({"0": Choice(activation_bits=3)}), (Quantization(),))
    other = copy.deepcopy(network)
    calibrate(other, torch.rand(8, 4))
    assert [q.is_on for q in input_quantizers(other)] == [True]
    assert [q.is_on for q in input_quantizers(network)] == [False]


def test_quantized_weights_keep_their_zeros() -> None:
    choice = Choice(sparsity=0.5, pattern="fine", weight_bits=3)
    network = compress(nn.Sequential(nn.Linear(16, 8)), Configuration({"0": choice}), default_methods(None))
    assert int((weight_of(network) == 0).sum()) >= 64


def test_sixteen_bits_are_almost_exact() -> None:
    weight = torch.randn(4, 100)
    torch.testing.assert_close(WeightQuantizer(weight, 16)(weight), weight, rtol=0, atol=2e-4)
