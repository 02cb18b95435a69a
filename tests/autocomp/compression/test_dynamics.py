"""Masks that change while the network learns."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import PruningSettings, WeightPruning, compress, default_methods
from autocomp.compression.masks import DYNAMICS, SETTLED, DynamicMask, GradualMask, Mask, SurgeryMask
from autocomp.export import bake
from autocomp.problem import Problem
from autocomp.space import SearchSpace
from autocomp.tracing import trace

from .networks import SHAPE, built, weight_of
from .test_keystone import assert_same
from .test_structure import mapped

MOVING = [name for name, kind in DYNAMICS.items() if kind]


def pruned(weights: list[float], dynamics: str, sparsity: float = 0.5, pattern: str = "fine") -> nn.Module:
    layer = nn.Linear(len(weights), 1, bias=False)
    layer.weight.data = torch.tensor([weights])
    return compress(nn.Sequential(layer), Configuration({"0": Choice(sparsity, pattern)}), (WeightPruning(dynamics=dynamics),))


def mask_of(network: nn.Module, layer: str = "0") -> Any:
    pruned_layer: Any = network.get_submodule(layer)
    return pruned_layer.parametrizations["weight"][0]


def learned(network: nn.Module) -> nn.Parameter:
    """What the optimizer changes."""
    (weight,) = network.parameters()
    return weight


def original(network: nn.Module) -> Tensor:
    return learned(network).data


def test_more_and_more_weights_go_along_a_cubic() -> None:
    network = pruned([1.0, 2, 3, 4, 5, 6, 7, 8], "gradual").train()
    gone = []
    for share in (0.001, 0.25, 0.5, 1.0):
        mask_of(network).advance(share * SETTLED)
        gone.append(int((weight_of(network) == 0).sum()))
    # 1 - (1 - t)^3 of half of 8: 4 * (0.003, 0.578, 0.875, 1), rounded down
    assert gone == [0, 2, 3, 4]


@pytest.mark.parametrize("dynamics", MOVING)
def test_what_is_measured_is_always_as_sparse_as_was_asked_for(dynamics: str) -> None:
    network = pruned([1.0, 2, 3, 4, 5, 6, 7, 8], dynamics)
    for progress in (0.0, 0.1, 0.4, 0.9, 1.0):
        mask_of(network).advance(progress)
        assert int((weight_of(network.eval()) == 0).sum()) == 4
        network.train()


@pytest.mark.parametrize("dynamics", MOVING)
def test_masks_are_chosen_from_the_weights_as_they_have_become_and_then_stay(dynamics: str) -> None:
    network = pruned([1.0, 2, 3, 4], dynamics)
    original(network)[:] = torch.tensor([8.0, 1, 2, 9])
    mask_of(network).advance(SETTLED + 0.01)
    assert (weight_of(network) != 0).tolist() == [[True, False, False, True]]
    original(network)[:] = torch.tensor([1.0, 8, 9, 1])
    mask_of(network).advance(1.0)
    assert (weight_of(network) != 0).tolist() == [[True, False, False, True]]


def test_a_removed_weight_comes_back_only_when_it_is_clearly_larger_than_a_kept_one() -> None:
    network = pruned([1.0, 2], "surgery")
    for removed, stays in ((1.9, True), (2.1, True), (2.3, False)):  # the kept one counts as 2 * 1.1 = 2.2
        original(network)[0, 0] = removed
        mask_of(network)._due = 0.0
        mask_of(network).advance(0.1)
        assert (weight_of(network)[0, 1] != 0) == stays


def test_in_surgery_removed_weights_learn_from_what_they_would_have_done() -> None:
    network = pruned([1.0, 2], "surgery")
    network(torch.tensor([[3.0, 5]])).sum().backward()
    gradient = learned(network).grad
    assert gradient is not None
    assert gradient.tolist() == [[3, 5]]
    assert weight_of(network).tolist() == [[0, 2]]


def test_a_static_mask_lets_removed_weights_learn_nothing_and_hears_of_no_progress() -> None:
    network = pruned([1.0, 2], "static")
    network(torch.tensor([[3.0, 5]])).sum().backward()
    gradient = learned(network).grad
    assert gradient is not None
    assert gradient.tolist() == [[0, 5]]
    assert not hasattr(mask_of(network), "advance")


def test_the_group_lasso_shrinks_the_norm_of_every_unit_alike() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, 0.6], [4, 0.8]])  # columns of norm 5 and 1, so the mean is 3
    network = compress(nn.Sequential(layer), Configuration({"0": Choice(0.5, "group")}), (WeightPruning(dynamics="group_lasso"),)).train()
    mask_of(network).advance(0.1 * SETTLED)
    # a tenth of the time takes a tenth of the mean norm, 0.3, from each: 5 -> 4.7 and 1 -> 0.7
    torch.testing.assert_close(original(network), torch.tensor([[2.82, 0.42], [3.76, 0.56]]))
    assert torch.equal(weight_of(network), original(network))  # 0.27 of one column: nothing is zeroed yet
    mask_of(network).advance(0.9 * SETTLED)
    # the mean norm is 2.7 now, 0.8 of it 2.16: the second column is gone by itself
    torch.testing.assert_close(original(network), torch.tensor([[0.6 * 2.54, 0], [0.8 * 2.54, 0]]))


@pytest.mark.parametrize("dynamics", MOVING)
def test_a_copys_mask_follows_the_copys_own_weights(dynamics: str) -> None:
    network = pruned([1.0, 2, 3, 4], dynamics)
    copied = copy.deepcopy(network)
    original(copied)[:] = torch.tensor([9.0, 8, 1, 1])
    mask_of(copied).advance(1.0)
    assert (weight_of(copied) != 0).tolist() == [[True, True, False, False]]
    assert weight_of(network).tolist() == [[0, 0, 3, 4]]
    assert len(list(copied.parameters())) == 1


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("pattern", ["fine", "kernel", "n_m"])
def test_a_trained_network_has_the_price_that_was_named_before_and_is_exported_as_it_is(dynamics: str, pattern: str) -> None:
    graph, channels = mapped(built("option_b"))
    methods = default_methods(channels, PruningSettings(dynamics=dynamics))
    configuration = Configuration(
        {"b1": Choice(0.5, pattern, weight_bits=4), "b2": Choice(0.5, pattern, 0.5, "svd_out"), "c1": Choice(0.5, "filter")}
    )
    workload = trace(graph, SHAPE)
    problem = Problem(workload, SearchSpace(workload.names, ()), methods, None, (), {})  # type: ignore[arg-type]
    lowered = problem.lower(Choices.of([configuration], workload.names)).candidate(0)
    student = compress(graph, configuration, methods)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for step in range(21):
        if step % 10 == 0:
            assert_same(trace(student.eval(), SHAPE), lowered)
        student.train()
        optimizer.zero_grad()
        student(torch.randn(8, *SHAPE, generator=generator)).square().mean().backward()
        optimizer.step()
        for module in student.modules():
            if isinstance(module, DynamicMask):
                module.advance((step + 1) / 21)
    x = torch.randn(3, *SHAPE)
    baked = bake(student.eval())
    with torch.no_grad():
        assert torch.equal(baked(x), student(x))
        assert torch.equal(torch.export.export(baked, (x,)).module()(x), student(x))
        for part in ("b1", "b2.0", "b2.1"):
            weight, mask = weight_of(baked, part), mask_of(student, part).mask
            assert not weight[~mask].any()
            assert float(mask.float().mean()) == mask_of(student, part).weight_density


def test_surgery_beats_a_static_mask_where_the_wrong_weights_looked_small() -> None:
    # y = x3; the weight that matters starts smallest, and a static mask never gives it back
    def loss_after(dynamics: str) -> float:
        network = pruned([1.0, 0.9, 0.8, 0.1], dynamics, sparsity=0.75)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        generator = torch.Generator().manual_seed(0)
        for step in range(100):
            x = torch.randn(16, 4, generator=generator)
            loss = (network.train()(x)[:, 0] - x[:, 3]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if dynamics != "static":
                mask_of(network).advance((step + 1) / 100)
        x = torch.randn(256, 4, generator=generator)
        with torch.no_grad():
            return float((network.eval()(x)[:, 0] - x[:, 3]).square().mean())

    losses = {dynamics: loss_after(dynamics) for dynamics in DYNAMICS}
    assert losses["static"] > 0.5
    assert all(losses[dynamics] < 0.05 for dynamics in MOVING), losses


@pytest.mark.parametrize("kind", [SurgeryMask, GradualMask])
def test_the_state_of_a_moving_mask_is_saved(kind: type[Mask]) -> None:
    name = next(known for known, found in DYNAMICS.items() if found is kind)
    network, again = pruned([1.0, 2, 3, 4], name), pruned([4.0, 3, 2, 1], name)
    again.load_state_dict(network.state_dict())
    assert torch.equal(weight_of(again), weight_of(network))


def test_looking_at_the_weights_is_rare_enough_to_cost_nothing() -> None:
    network = pruned(np.random.default_rng(0).normal(size=64).tolist(), "surgery")
    mask, looks = mask_of(network), 0
    for step in range(5000):
        before = mask._due
        mask.advance((step + 1) / 5000)
        looks += mask._due != before
    assert 50 <= looks <= 80  # every hundredth up to 0.75
