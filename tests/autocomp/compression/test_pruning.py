"""Fine-grained pruning: how many weights go, which, and that they stay away."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import Factorization, WeightPruning, compress
from autocomp.compression.masks import Mask

from .networks import weight_of


def pruned(layer: nn.Module, sparsity: float) -> nn.Module:
    """The layer alone in a network, pruned."""
    return compress(nn.Sequential(layer), Configuration({"0": Choice(sparsity=sparsity, pattern="fine")}), (WeightPruning(),))


def linear(*weights: float) -> nn.Linear:
    layer = nn.Linear(len(weights), 1, bias=False)
    layer.weight.data = torch.tensor([weights], dtype=torch.float32)
    return layer


def test_the_smallest_magnitudes_go_whatever_their_sign() -> None:
    assert weight_of(pruned(linear(3, -1, -20, 2, 10), 0.4)).tolist() == [[3, 0, -20, 0, 10]]


def test_of_equal_weights_the_first_go() -> None:
    assert weight_of(pruned(linear(1, 1, 1, 1), 0.5)).tolist() == [[0, 0, 1, 1]]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_the_number_of_removed_weights_is_the_fraction_rounded_down(outputs: int, inputs: int, percent: int) -> None:
    weight = weight_of(pruned(nn.Linear(inputs, outputs), percent / 100))
    assert int((weight == 0).sum()) == percent * outputs * inputs // 100  # in whole numbers, so without rounding


def test_removed_weights_stay_zero_while_the_others_learn() -> None:
    torch.manual_seed(0)
    network = pruned(nn.Conv2d(3, 8, 3), 0.5)
    before = weight_of(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    assert torch.equal(weight_of(network) == 0, before == 0)
    assert (weight_of(network) != before)[before != 0].all()


def test_the_mask_says_how_dense_the_weight_is() -> None:
    assert Mask(torch.tensor([True, False, False, True, True])).weight_density == 0.6


def test_each_factor_of_a_factorized_layer_is_pruned_on_its_own() -> None:
    choice = Choice(rank=0.5, factorization="svd", sparsity=0.25, pattern="fine")
    network = compress(nn.Sequential(nn.Linear(8, 8)), Configuration({"0": choice}), (Factorization(), WeightPruning()))
    for name in ("0.0", "0.1"):
        assert int((weight_of(network, name) == 0).sum()) == 8  # a quarter of 4 x 8


def test_a_mask_survives_copying_and_saving() -> None:
    network = pruned(nn.Linear(6, 4), 0.5)
    again = pruned(nn.Linear(6, 4), 0.5)
    again.load_state_dict(network.state_dict())
    for other in (again, copy.deepcopy(network)):
        assert torch.equal(weight_of(other), weight_of(network))


@pytest.mark.parametrize("sparsity", [0.0, 1e-6])
def test_pruning_almost_nothing_changes_no_weight(sparsity: float) -> None:
    layer = nn.Linear(5, 3)
    assert torch.equal(weight_of(pruned(layer, sparsity)), layer.weight)
