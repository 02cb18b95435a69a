"""Powers of two: INQ (Zhou 2017) and logarithmic weights (Miyashita 2016)."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autocomp.compression.quantizers.power_of_two import PORTIONS, LogWeight, PowerOfTwoWeight


def quantized(weight: Tensor, bits: int) -> Tensor:
    values: Tensor = PowerOfTwoWeight(weight, bits).eval()(weight)
    return values


def test_the_range_of_powers_is_that_of_the_paper() -> None:
    # Zhou 2017, section 2.1: "if b = 3 and n1 = -1, we can easily get n2 = -2". s = 0.6: log2(4 * 0.6 / 3) = -0.32, floor -1.
    quantizer = PowerOfTwoWeight(torch.tensor([0.6, 0.1]), 3)
    assert (quantizer.highest, quantizer.lowest) == (-1, -2)
    # b = 5 has 2^4 / 2 = 8 powers of each sign and zero
    quantizer = PowerOfTwoWeight(torch.tensor([0.6, 0.1]), 5)
    assert (quantizer.highest, quantizer.lowest) == (-1, -8)


def test_a_weight_becomes_the_power_whose_range_it_lies_in() -> None:
    # b = 3 and s = 0.6: levels 0, 0.25, 0.5. 0.25 takes [0.125, 0.375), 0.5 takes [0.375, 0.75).
    weight = torch.tensor([0.6, 0.38, -0.37, 0.2, -0.13, 0.12, 0.0])
    assert quantized(weight, 3).tolist() == [0.5, 0.5, -0.25, 0.25, -0.25, 0, 0]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 8), scale=st.integers(-8, 8))
def test_each_weight_takes_the_nearest_level_and_doubling_doubles(seed: int, bits: int, scale: int) -> None:
    weight = torch.randn(60, generator=torch.Generator().manual_seed(seed)) * 2.0**scale
    quantizer = PowerOfTwoWeight(weight, bits)
    powers = torch.tensor([2.0**k for k in range(quantizer.lowest, quantizer.highest + 1)])
    assert len(powers) == max(2 ** (bits - 2), 1)  # with the signs and zero at most 2^b codes
    levels = torch.cat([-powers, torch.zeros(1), powers])
    found = quantized(weight, bits)
    assert set(found.tolist()) <= set(levels.tolist())  # exactly powers of two
    nearest = (weight[:, None] - levels).abs().amin(1)
    torch.testing.assert_close((weight - found).abs(), nearest, rtol=1e-4, atol=0)
    assert torch.equal(quantized(weight * 2, bits), found * 2)


def test_the_largest_portion_is_fixed_first_and_the_rest_is_trained_on() -> None:
    # Eight weights; 50 % are the four largest: 0.8, 0.7, -0.6 and 0.5. s = 0.8: log2(1.07) = 0.09, so that n1 = 0, and b = 3 gives
    # levels 1 and 0.5; 0.8 is in [0.75, 1.5), the other three in [0.25, 0.75).
    weight = torch.tensor([0.1, 0.8, 0.2, -0.6, 0.3, 0.5, -0.4, 0.7], requires_grad=True)
    quantizer = PowerOfTwoWeight(weight, 3).train()
    out = quantizer(weight)
    torch.testing.assert_close(out, torch.tensor([0.1, 1, 0.2, -0.5, 0.3, 0.5, -0.4, 0.5]))
    out.backward(torch.ones(8))
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("progress", "count"), [(0.0, 8), (0.24, 8), (0.25, 12), (0.49, 12), (0.5, 14), (0.74, 14), (0.75, 16), (0.99, 16), (1.0, 16)]
)
def test_each_portion_gets_the_same_share_of_the_training(progress: float, count: int) -> None:
    assert PORTIONS == (0.5, 0.75, 0.875, 1.0)  # Zhou 2017, section 3.1
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    quantizer = PowerOfTwoWeight(weight, 5).train()
    quantizer(weight)
    quantizer.advance(progress)
    quantizer(weight)
    assert int(quantizer.fixed.sum()) == count


def test_what_is_fixed_stays_whatever_happens_to_the_weights_and_the_schedule_does_not_go_back() -> None:
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    quantizer = PowerOfTwoWeight(weight, 5).train()
    quantizer.advance(0.3)
    first = quantizer(weight)[quantizer.fixed]
    before = quantizer.fixed.clone()
    quantizer.advance(0.1)
    moved = weight + 10  # as momentum may do to a weight without a gradient
    assert torch.equal(quantizer(moved)[before], first)
    assert torch.equal(quantizer.fixed, before)
    assert torch.equal(quantizer.eval()(moved)[before], first)


def test_in_evaluation_everything_is_quantized_at_any_time() -> None:
    weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    quantizer = PowerOfTwoWeight(weight, 4).train()
    for progress in (0.0, 0.3, 0.6, 1.0):
        quantizer.advance(progress)
        quantizer.train()(weight)
        assert torch.equal(quantizer.eval()(weight), quantized(weight, 4))
    assert torch.equal(quantizer.train()(weight), quantized(weight, 4))  # at the end training is evaluation


def test_a_state_dictionary_holds_the_schedule() -> None:
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    quantizer = PowerOfTwoWeight(weight, 5).train()
    quantizer.advance(0.6)
    wanted = quantizer(weight)
    other = PowerOfTwoWeight(torch.full((4, 4), 100.0), 5).train()
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(weight), wanted)
    assert torch.equal(copy.deepcopy(quantizer)(weight), wanted)


def test_a_logarithm_is_rounded_and_small_weights_become_zero() -> None:
    # fsr = round(log2 1) + 1 = 1, and a lower one would halve the two largest. b = 3: exponents -2, -1, 0; what rounds to
    # 1 - 4 = -3 or below is zero.
    # log2: 0, -0.47 -> 0, -0.51 -> -1, -1.74 -> -2, -2.47 -> -2, -2.56 -> -3, zero
    weight = torch.tensor([1.0, 0.72, -0.7, -0.3, 0.18, 0.17, 0.0])
    assert LogWeight(weight, 3)(weight).tolist() == [1, 1, -0.5, -0.25, 0.25, 0, 0]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 7))
def test_the_error_of_a_logarithm_is_at_most_half_an_octave_and_the_codes_fit(seed: int, bits: int) -> None:
    weight = torch.randn(200, generator=torch.Generator().manual_seed(seed))
    quantizer = LogWeight(weight, bits)
    found = quantizer(weight)
    assert len(set(found.abs().tolist()) - {0.0}) <= 2 ** (bits - 1) - 1  # one bit is the sign, and one code is zero
    kept = (found != 0) & (weight.abs() < 2.0 ** (quantizer.full_scale - 0.5))  # and not clipped
    assert ((found[kept] / weight[kept]).log2().abs() <= 0.5001).all()
    mantissa, _ = torch.frexp(found[found != 0].abs())
    assert set(mantissa.tolist()) == {0.5}  # exactly powers of two


def test_the_full_scale_range_clips_an_outlier_when_that_is_the_smaller_error() -> None:
    # b = 2 has one power. At 2 (fsr = 2) every 0.5 is zero: error 1 000 * 0.25. At 1: log2 0.5 = -1 is below, zero, too. At 0.5
    # (fsr = 0) only the 2 is wrong, by 1.5.
    weight = torch.cat([torch.full((1000,), 0.5), torch.tensor([2.0])])
    assert set(LogWeight(weight, 2)(weight).tolist()) == {0.5}


def test_a_state_dictionary_holds_the_range() -> None:
    weight = torch.randn(4, 4)
    quantizer, other = LogWeight(weight, 3), LogWeight(weight * 64, 3)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(weight), quantizer(weight))
