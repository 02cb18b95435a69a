"""Binary weights: Rastegari 2016."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autocomp.compression.quantizers.binary import BinaryWeight


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_each_filter_is_its_signs_times_its_mean_magnitude() -> None:
    # alpha = (1 + 2 + 3) / 3 = 2, and (0.5 + 0.1 + 0.9) / 3 = 0.5
    weight = torch.tensor([[1.0, -2, 3], [-0.5, 0.1, -0.9]])
    torch.testing.assert_close(BinaryWeight()(weight), torch.tensor([[2.0, -2, 2], [-0.5, 0.5, -0.5]]))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), flipped=st.integers(0, 2**6 - 1), scale=st.floats(0.0, 5.0))
def test_no_other_signs_and_no_other_scale_come_nearer(seed: int, flipped: int, scale: float) -> None:
    # section 3.1: the minimum of |w - alpha b|^2 over alpha > 0 and b in {-1, 1}^n
    weight = random(seed, 1, 6)
    signs = torch.tensor([[-1.0 if flipped >> i & 1 else 1.0 for i in range(6)]])
    best = (weight - BinaryWeight()(weight)).square().sum()
    assert best <= (weight - scale * signs).square().sum() + 1e-5


def test_a_pruned_weight_stays_zero_and_does_not_count_in_the_mean() -> None:
    # alpha = (1 + 3) / 2, not (1 + 3) / 4
    torch.testing.assert_close(BinaryWeight()(torch.tensor([[1.0, 0, -3, 0]])), torch.tensor([[2.0, 0, -2, 0]]))


def test_the_gradient_passes_straight_through() -> None:
    weight = torch.tensor([[0.3, -0.1]], requires_grad=True)
    (gradient,) = torch.autograd.grad(BinaryWeight()(weight), weight, torch.tensor([[5.0, 7.0]]))
    assert gradient.tolist() == [[5, 7]]


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 1, 3, 3), (5, 7)])
def test_a_layer_has_two_values_per_filter(shape: tuple[int, ...]) -> None:
    quantized = BinaryWeight()(random(0, *shape)).flatten(1)
    assert all(len(set(row.tolist())) == 2 for row in quantized)
