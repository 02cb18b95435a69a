"""What keeps walks within limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from autocomp.problem import Problem
from autocomp.searchers.composition import Composition
from autocomp.searchers.walk import Walk, within_limits
from autocomp.space import Knob

Toy = Callable[..., Problem]
EIGHTHS = tuple(i / 8 for i in range(8))
SPARSITY = tuple(knob for i in range(3) for knob in (Knob(f"conv{i}", "sparsity", EIGHTHS), Knob(f"conv{i}", "pattern", ("fine",))))


def test_the_layer_that_would_break_the_limit_moves_as_little_as_it_must(toy: Toy) -> None:
    whole = toy(3, knobs=SPARSITY)
    macs = whole.workload.macs / whole.workload.macs.sum()
    # the first two layers may stay untouched only if the second one keeps half
    limit = whole.baseline["latency_s"] * (macs[0] + macs[1] / 2 + macs[2] / 8) * (1 + 1e-9)
    problem = toy(3, knobs=SPARSITY, latency_s=limit)
    vectors = np.array([[0, 0, 0, 0, 0, 0], [0, 0, 7, 0, 7, 0]])
    assert problem.feasible(vectors).tolist() == [False, True]
    assert within_limits(Walk(Composition(problem)), problem, vectors).tolist() == [[0, 0, 4, 0, 7, 0], [0, 0, 7, 0, 7, 0]]


@pytest.mark.parametrize("layers", [1, 2, 5, 6])
def test_walks_that_can_be_brought_within_limits_are_and_others_stay(layers: int, toy: Toy) -> None:
    problem = toy(layers, latency_s=float(toy(layers).baseline["latency_s"]) / 10)
    vectors = problem.space.sample(np.random.default_rng(0), 200)
    moved = within_limits(Walk(Composition(problem)), problem, vectors)
    fine = problem.feasible(vectors)
    assert 0 < fine.sum() < 200
    assert (moved[fine] == vectors[fine]).all()  # no feasible completion is cut off
    assert problem.feasible(moved).all()
    assert (moved >= 0).all()
    assert (moved < problem.space.cardinalities).all()


def test_limits_out_of_reach_leave_the_strongest(toy: Toy) -> None:
    problem = toy(3, knobs=SPARSITY, latency_s=1e-12)
    assert within_limits(Walk(Composition(problem)), problem, np.zeros((2, 6), np.int64)).tolist() == [[7, 0, 7, 0, 7, 0]] * 2


def test_one_state_of_each_walk_is_the_one_among_all(toy: Toy) -> None:
    walk = Walk(Composition(toy(5)))
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(40, walk.length, walk.kinds, generator=generator) * walk.mask
    preferences = torch.rand(40, 3, generator=generator)
    layer = torch.arange(40) % walk.length
    torch.testing.assert_close(walk.state(actions, preferences, layer), walk.states(actions, preferences)[torch.arange(40), layer])
