"""Binary weights by hashing: BWNH (Hu 2018)."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import Calibration, compress, default_methods
from autocomp.compression.quantizers.hashing import hashed_signs

HASHED = Choice(weight_bits=1, weight_quantizer="hashed_binary")
BINARY = Choice(weight_bits=1, weight_quantizer="binary")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(inputs: Tensor, weight: Tensor, signs: Tensor, scale: Tensor) -> Tensor:
    """Of the answers, for each filter."""
    return (inputs @ (weight - scale[:, None] * signs).T).square().sum(0)


def test_a_correlated_pair_is_worked_by_hand() -> None:
    # Both inputs are always equal, so that only the sum of the weights counts: 3 - 1 = 2. BWN takes (1, -1), whose answers are 0 whatever
    # the scale; (1, 1) with a scale of 1 answers just what the weights do.
    signs, scale = hashed_signs(torch.tensor([[3.0, -1.0]]), torch.ones(2, 2) + 1e-3 * torch.eye(2))
    assert signs.tolist() == [[1, 1]]
    assert scale.item() == pytest.approx(1, abs=1e-2)


def test_uncorrelated_inputs_give_binary_weight_networks() -> None:
    weight = drawn(4, 9)
    signs, scale = hashed_signs(weight, torch.eye(9, dtype=torch.float64))
    assert torch.equal(signs, weight.sign())
    torch.testing.assert_close(scale, weight.abs().mean(1))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_answers_are_no_further_off_than_those_of_plain_signs_and_no_single_bit_would_help(seed: int) -> None:
    inputs, weight = drawn(40, 3, seed=seed) @ drawn(3, 8, seed=seed + 1) + 0.1 * drawn(40, 8, seed=seed + 2), drawn(5, 8, seed=seed + 3)
    signs, scale = hashed_signs(weight, inputs.T @ inputs)
    found = error(inputs, weight, signs, scale)
    assert (found <= error(inputs, weight, weight.sign(), weight.abs().mean(1)) + 1e-9).all()
    for j in range(8):
        other = signs.clone()
        other[:, j] *= -1
        answers = inputs @ other.T
        best = ((answers * (inputs @ weight.T)).sum(0) / answers.square().sum(0)).clamp(min=0)
        assert (found <= error(inputs, weight, other, best) * (1 + 1e-6)).all()


def test_few_bits_are_found_as_well_as_by_trying_all() -> None:
    inputs, weight = drawn(30, 4), drawn(6, 4, seed=1)
    gram = inputs.T @ inputs
    signs, scale = hashed_signs(weight, gram)
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    best = []
    for row in weight:
        scales = ((every @ gram @ row) / ((every @ gram) * every).sum(1)).clamp(min=0)
        best.append(((row - scales[:, None] * every) @ inputs.T).square().sum(1).min())
    assert error(inputs, weight, signs, scale).sum() <= 1.3 * torch.stack(best).sum()


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 4, 3, padding="same")]
)
def test_a_hashed_layer_answers_more_like_the_whole_one(layer: nn.Module) -> None:
    x = torch.nn.functional.interpolate(drawn(64, 4, 4, 4).float(), 8, mode="bilinear")  # neighbours are alike
    network = nn.Sequential(layer).eval()
    wanted = network(x).detach()
    found = [
        compress(network, Configuration({"0": choice}), default_methods(None), Calibration(x)).eval()(x).detach()
        for choice in (BINARY, HASHED)
    ]
    errors = [(answers - wanted).norm().item() for answers in found]
    assert errors[1] < errors[0]


def test_a_linear_layer_and_pruned_weights_which_stay_zero() -> None:
    x = drawn(64, 3).float() @ drawn(3, 12, seed=1).float()
    network = nn.Sequential(nn.Linear(12, 5)).eval()
    choice = Choice(sparsity=0.5, pattern="fine", weight_bits=1, weight_quantizer="hashed_binary")
    made = compress(network, Configuration({"0": choice}), default_methods(None), Calibration(x)).eval()
    weight = made[0].weight.detach()  # type: ignore[index]
    assert isinstance(weight, Tensor)
    assert int((weight == 0).sum()) == 30
    for row in weight:
        assert len(set(row[row != 0].abs().tolist())) <= 1


def test_without_images_weights_are_plainly_binary() -> None:
    network = nn.Sequential(nn.Linear(12, 5)).eval()
    ours, theirs = (compress(network, Configuration({"0": c}), default_methods(None))[0].weight for c in (HASHED, BINARY))  # type: ignore[index]
    assert torch.equal(ours, theirs)
