"""Ternary weights: TWN (Li 2016) and TTQ (Zhu 2016)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autocomp.compression.quantizers.ternary import TernaryWeight, TrainedTernaryWeight


def test_small_weights_become_zero_and_the_others_their_mean_magnitude() -> None:
    # First filter: mean |w| = (1 + 2 + 0.5 + 0.5) / 4 = 1, delta = 0.7, alpha = (1 + 2) / 2 = 1.5.
    # Second: mean |w| = (0.2 + 0.1 + 0.3 + 0.2) / 4 = 0.2, delta = 0.14, alpha = (0.2 + 0.3 + 0.2) / 3 = 0.7 / 3.
    weight = torch.tensor([[1.0, -2, 0.5, -0.5], [0.2, -0.1, 0.3, -0.2]])
    a = 0.7 / 3
    torch.testing.assert_close(TernaryWeight()(weight), torch.tensor([[1.5, -1.5, 0, 0], [a, 0, a, -a]]))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), scale=st.floats(0.0, 5.0))
def test_no_other_scale_of_the_same_ternary_numbers_comes_nearer(seed: int, scale: float) -> None:
    weight = torch.randn(1, 40, generator=torch.Generator().manual_seed(seed))
    quantized = TernaryWeight()(weight)
    assert (weight - quantized).square().sum() <= (weight - scale * quantized.sign()).square().sum() + 1e-4


def test_the_threshold_is_close_to_the_best_one_for_normal_weights() -> None:
    # Li 2016, section 2.2: 0.7 mean |w| stands for the optimum, about 0.75 mean |w| for a normal and 0.67 for a uniform density.
    weight = torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0))
    errors = {}
    for share in torch.arange(0.3, 1.3, 0.05).tolist():
        kept = weight.abs() > share * weight.abs().mean()
        errors[share] = float((weight - weight.sign() * kept * weight.abs()[kept].mean()).square().mean())
    found = float((weight - TernaryWeight()(weight)).square().mean())
    assert found == pytest.approx(min(errors.values()), rel=0.01)


def test_pruned_weights_do_not_move_the_threshold() -> None:
    weight = torch.tensor([[1.0, -2, 0.5, -0.5]])
    padded = torch.cat([weight, torch.zeros(1, 8)], 1)
    assert torch.equal(TernaryWeight()(padded)[:, :4], TernaryWeight()(weight))
    assert TernaryWeight()(padded)[:, 4:].abs().sum() == 0


def test_the_gradient_of_twn_passes_straight_through() -> None:
    weight = torch.tensor([[1.0, -2, 0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(TernaryWeight()(weight), weight, torch.tensor([[1.0, 2, 3]]))
    assert gradient.tolist() == [[1, 2, 3]]


def test_trained_levels_begin_at_the_mean_of_their_weights() -> None:
    # Threshold 0.05 * 2 = 0.1: the positive weights 1 and 2 have mean 1.5, the negative ones -0.5 and -0.3 mean 0.4.
    weight = torch.tensor([[1.0, 2, -0.5], [-0.3, 0.1, -0.05]])
    torch.testing.assert_close(TrainedTernaryWeight(weight)(weight), torch.tensor([[1.5, 1.5, -0.4], [-0.4, 0, 0]]))


def test_trained_levels_and_weights_have_the_gradients_of_the_paper() -> None:
    # Levels 1.5 and 0.4 as above. With upstream gradients (1, 2, 3, 4, 5, 6):
    # The levels: positive 1 + 2 = 3, negative -(3 + 4) = -7, because its level is -W_n; for the logarithms times the levels.
    # The weights: each its own gradient times 1.5, 1.5, 0.4, 0.4, and times 1 where the weight is zero.
    weight = torch.tensor([[1.0, 2, -0.5], [-0.3, 0.1, -0.05]], requires_grad=True)
    quantizer = TrainedTernaryWeight(weight)
    quantizer(weight).backward(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    torch.testing.assert_close(quantizer.log_levels.grad, torch.tensor([3 * 1.5, -7 * 0.4]))
    torch.testing.assert_close(weight.grad, torch.tensor([[1.5, 3, 1.2], [1.6, 5, 6]]))


def test_training_moves_the_two_levels_apart_to_where_the_weights_want_them() -> None:
    weight = torch.tensor([[1.0, 1, -1, -1]])
    quantizer = TrainedTernaryWeight(weight)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        (quantizer(weight) - torch.tensor([[3.0, 3, -0.2, -0.2]])).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(quantizer(weight).detach(), torch.tensor([[3.0, 3, -0.2, -0.2]]), rtol=0.02, atol=0)


def test_weights_of_one_sign_are_no_problem() -> None:
    weight = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(TrainedTernaryWeight(weight)(weight), torch.tensor([[1.5, 1.5]]))
