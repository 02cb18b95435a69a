"""Half-wave Gaussian quantization: Cai 2017."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from autocomp.compression.quantizers.half_wave import HalfWaveInput, best_half_wave_step, expected_error


def fitted(bits: int, x: Tensor) -> HalfWaveInput:
    quantizer = HalfWaveInput(bits)
    quantizer.observe = True
    quantizer(x)
    return quantizer


def half_wave(n: int = 200_001) -> Tensor:
    """Evenly spaced quantiles of a standard normal variable, of which it is positive."""
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    values: Tensor = torch.special.ndtri(0.5 + quantiles / 2)
    return values


def test_one_level_lies_at_the_mean_of_the_half_wave() -> None:
    # E(x | x > 0) = sqrt(2 / pi) = 0.7979
    assert best_half_wave_step(1) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_lloyds_iteration_on_a_half_wave_ends_at_the_same_step(bits: int) -> None:
    # With the values assigned, sum (x - i s)^2 is least at s = sum i x / sum i^2; assigning and fitting in turn (Lloyd 1982).
    x, step = half_wave(), torch.tensor(1.0, dtype=torch.float64)
    for _ in range(200):
        i = (x / step).round().clamp(1, 2**bits - 1)
        step = (i * x).sum() / i.square().sum()
    assert best_half_wave_step(bits) == pytest.approx(float(step), rel=1e-3)


@pytest.mark.parametrize("bits", range(1, 9))
def test_no_other_step_has_a_smaller_error(bits: int) -> None:
    levels, best = 2**bits - 1, best_half_wave_step(bits)
    tried = [best * (0.5 + i / 100) for i in range(101)]
    assert min(expected_error(step, levels) for step in tried) == pytest.approx(expected_error(best, levels), rel=1e-6)
    assert expected_error(best, levels) <= min(expected_error(step, levels) for step in tried) + 1e-12


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_expected_error_is_the_mean_over_a_half_wave(bits: int) -> None:
    x, step = half_wave(), best_half_wave_step(bits)
    quantized = (x / step).round().clamp(1, 2**bits - 1) * step
    assert expected_error(step, 2**bits - 1) == pytest.approx(float((x - quantized).square().mean()), rel=1e-3)


def test_a_positive_value_takes_the_nearest_positive_level_and_the_others_are_zero() -> None:
    # Step 0.5, two bits: levels 0.5, 1 and 1.5; the border between the first two is 0.75. Even 0.01 is positive.
    quantizer = HalfWaveInput(2)
    quantizer.step.fill_(0.5)
    quantizer.is_on = True
    x = torch.tensor([-1.0, 0.0, 0.01, 0.7, 0.8, 9.0], requires_grad=True)
    out = quantizer(x)
    assert out.tolist() == [0, 0, 0.5, 0.5, 1, 1.5]
    # the gradient of the clipped ReLU: 1 between 0 and 1.5
    (gradient,) = torch.autograd.grad(out, x, torch.tensor([1.0, 2, 3, 4, 5, 6]))
    assert gradient.tolist() == [0, 0, 3, 4, 5, 0]


@pytest.mark.parametrize("deviation", [0.1, 1.0, 7.0])
def test_the_levels_scale_with_the_deviation_that_is_measured(deviation: float) -> None:
    x = half_wave().float() * deviation
    both = torch.cat([x, -x])
    for values in (both, both.relu()):
        assert float(fitted(2, values).step) == pytest.approx(0.5388 * deviation, rel=1e-3)


def test_a_state_dictionary_holds_the_whole_quantizer() -> None:
    x = torch.randn(64, 16)
    quantizer, other = fitted(3, x), HalfWaveInput(3)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(x), quantizer(x))
