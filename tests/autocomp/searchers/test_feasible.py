"""Feasible and uniform configurations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autocomp.errors import UnreachableLimitError
from autocomp.problem import Problem
from autocomp.searchers import find_feasible, uniform_start
from autocomp.searchers.feasible import (
    at_strength,
    bridge,
    combined_changes,
    descend,
    double_changes,
    everything,
    single_changes,
    spread_sample,
)
from autocomp.space import Knob

Toy = Callable[..., Problem]
TINY = (Knob("conv0", "weight_bits", (8, 4)), Knob("conv1", "sparsity", (0.0, 0.5, 0.9)), Knob("conv1", "pattern", ("fine",)))


def test_a_limit_that_chance_never_meets_is_met_by_descent(toy: Toy) -> None:
    # only the strongest 2 % of the latency axis is allowed; random vectors lie around the middle
    problem = toy(10)
    strongest = at_strength(problem.space, np.ones((1, len(problem.space.knobs))))
    least = problem.paper_metrics(strongest)[0]["latency_s"][0]
    tight = toy(10, latency_s=1.02 * least)
    assert not tight.feasible(spread_sample(tight.space, np.random.default_rng(0), 500)).any()
    found = find_feasible(tight, np.random.default_rng(0), 8)
    assert len(found) >= 1
    assert tight.feasible(found).all()
    assert len(np.unique(found, axis=0)) == len(found)


def test_an_unreachable_limit_says_which_and_the_closest_value(toy: Toy) -> None:
    problem = toy(2, knobs=TINY, latency_s=1e-5)
    # conv0: 16 x 16 pixels x 9 x 1 x 16 channels = 36 864 MACs at 0.5 ns; conv1, the third width at a quarter of the map:
    # 8 x 8 pixels x 9 x 16 x 32 channels = 294 912 MACs at 1 ns, a tenth kept: 18.432 us + 29.4912 us = 47.92 us
    with pytest.raises(UnreachableLimitError, match=r"latency_s 4\.792e-05 breaks the limit 1e-05"):
        find_feasible(problem, np.random.default_rng(0), 4)


def test_a_full_device_is_named_as_the_reason(toy: Toy) -> None:
    with pytest.raises(UnreachableLimitError, match=r"needs .* words, the device has 1"):
        find_feasible(toy(3, words=1.0), np.random.default_rng(0), 1)


def test_random_vectors_of_every_strength_spread_over_the_cost_axis(toy: Toy) -> None:
    problem = toy(12)
    generator = np.random.default_rng(0)
    spread = problem.paper_metrics(spread_sample(problem.space, generator, 300))[0]["latency_s"]
    plain = problem.paper_metrics(problem.space.sample(generator, 300))[0]["latency_s"]
    assert np.ptp(spread) > 1.5 * np.ptp(plain)


def test_a_uniform_start_treats_all_layers_alike_and_is_always_the_same(toy: Toy) -> None:
    problem = toy(5)
    start = uniform_start(problem, 12)
    assert len(np.unique(start, axis=0)) == 12
    per_layer = start.reshape(12, 5, -1)
    assert (per_layer == per_layer[:, :1]).all()
    assert (start == uniform_start(problem, 12)).all()
    # shorter starts are beginnings of longer ones, so that a plan of more trials repeats the same first steps
    assert (start[:5] == uniform_start(problem, 5)).all()


def test_a_uniform_start_keeps_to_the_limits(toy: Toy) -> None:
    problem = toy(latency_s=3e-4)
    start = uniform_start(problem, 12)
    assert len(start)
    assert problem.feasible(start).all()
    assert len(uniform_start(toy(latency_s=1e-9), 12)) == 0


def test_everything_lists_each_network_once(toy: Toy) -> None:
    space = toy(2, knobs=TINY).space
    vectors = everything(space, 6)
    assert vectors is not None
    assert vectors[:, :2].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert everything(space, 5) is None


def test_single_changes_are_all_options_of_all_knobs(toy: Toy) -> None:
    space = toy(2, knobs=TINY).space
    changes = single_changes(space, np.array([0, 1, 0]))
    assert {tuple(c) for c in changes.tolist()} == {(0, 1, 0), (1, 1, 0), (0, 0, 0), (0, 2, 0)}


def test_double_changes_stay_within_a_layer_and_reach_every_pair(toy: Toy) -> None:
    layers = (("conv0", "weight_bits", (8, 6, 4)), ("conv0", "activation_bits", (8, 4)), ("conv1", "weight_bits", (8, 4)))
    space = toy(2, knobs=tuple(Knob(*knob) for knob in layers)).space
    changes = double_changes(space, np.zeros(3, np.int64), np.random.default_rng(0), 400)
    assert {tuple(c) for c in changes.tolist()} == {(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (0, 0, 1)}


def test_combined_changes_add_up_but_for_those_of_the_same_knob() -> None:
    vector, changed = np.zeros(4, np.int64), np.array([[0, 2, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 3], [0, 0, 0, 1], [0, 0, 1, 0]])
    assert combined_changes(vector, changed, 8).tolist() == [[1, 2, 0, 3], [1, 2, 1, 3]]
    assert combined_changes(vector, changed, 1).tolist() == [[1, 2, 0, 3]]
    assert combined_changes(vector, changed[:3], 8).shape == (0, 4)


def test_a_bridge_changes_one_knob_at_a_time_from_end_to_end() -> None:
    start, goal = np.array([0, 1, 2, 3]), np.array([0, 3, 0, 1])
    walk = bridge(start, goal, np.random.default_rng(0))
    assert (walk[0] == start).all()
    assert (walk[-1] == goal).all()
    assert ((np.diff(walk, axis=0) != 0).sum(1) == 1).all()


def test_a_descent_ends_where_nothing_is_violated(toy: Toy) -> None:
    problem = toy(latency_s=5e-4)
    end, violation = descend(problem, np.zeros(len(problem.space.knobs), np.int64))
    assert violation == 0
    assert problem.feasible(end[None]).all()
