"""Domination, ranks, hypervolume and the front."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from autocomp.choice import Choice, Configuration
from autocomp.objective import Objective
from autocomp.pareto import Floats, ParetoFront, hypervolume, nondominated, points, ranks
from autocomp.trial import Status, Trial

OBJECTIVES = (Objective("accuracy", "max", 0.5), Objective("latency_s"), Objective("size_bytes", limit=100.0, optimised=False))
# few values, so that ties and equal points are common
tables = npst.arrays(np.float64, st.tuples(st.integers(0, 12), st.integers(1, 3)), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]))


def trial(i: int, accuracy: float, latency: float, *, size: float = 1.0, status: Status = Status.COMPLETE) -> Trial:
    return Trial(
        i, Configuration({"a": Choice(weight_bits=2 + i % 8)}), status, {"accuracy": accuracy, "latency_s": latency, "size_bytes": size}
    )


def dominates(a: Floats, b: Floats) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(tables)
def test_nondominated_is_what_no_other_point_dominates_and_equal_points_count_once(values: Floats) -> None:
    known = [v for v in values if not np.isnan(v).any()]
    best = {tuple(v) for v in known if not any(dominates(o, v) for o in known)}
    chosen = [tuple(v) for v in values[nondominated(values)]]
    assert set(chosen) == best
    assert len(chosen) == len(best)


@given(tables)
def test_ranks_peel_one_front_after_the_other_and_nan_is_last(values: Floats) -> None:
    rank = ranks(values)
    filled = np.where(np.isnan(values).any(axis=1, keepdims=True), np.inf, values)
    for i, r in enumerate(rank):
        better = [rank[j] for j in range(len(values)) if dominates(filled[j], filled[i])]
        assert r == (max(better) + 1 if better else 0)


def test_hypervolume_of_two_boxes_counts_their_overlap_once() -> None:
    # to (4, 2): (1, 1) covers 3/4 x 1/2 = 0.375, (2, 0.5) covers 2/4 x 3/4 = 0.375, both together 2/4 x 1/2 = 0.25
    values, reference = np.array([[1.0, 1.0], [2.0, 0.5], [5.0, 0.0]]), np.array([4.0, 2.0])
    assert hypervolume(values, reference) == pytest.approx(0.5)
    assert hypervolume(values[:0], reference) == 0
    assert hypervolume(values[2:], reference) == 0


def test_hypervolume_does_not_depend_on_units() -> None:
    values, reference = np.random.default_rng(0).random((8, 3)), np.ones(3)
    units = np.array([1e-6, 1e9, 1.0])
    assert hypervolume(values * units, reference * units) == pytest.approx(hypervolume(values, reference))


def test_points_are_turned_so_that_less_is_better() -> None:
    assert points([{"accuracy": 0.9, "latency_s": 2.0}], OBJECTIVES[:2]).tolist() == [[-0.9, 2.0]]
    assert points([], OBJECTIVES[:2]).shape == (0, 2)


def test_the_front_has_the_volume_that_it_dominates() -> None:
    front = ParetoFront(OBJECTIVES, [trial(0, 0.9, 1.0), trial(1, 0.75, 0.5)])
    # corner: accuracy 0.5, latency 2; in their units (0.9 - 0.5) / 0.5 = 0.8 over 1/2, and 0.5 over 3/4
    # 0.8 x 0.5 + 0.5 x 0.75 - 0.5 x 0.5 = 0.525
    assert front.hypervolume({"accuracy": 0.5, "latency_s": 2.0}) == pytest.approx(0.525)
    # against a teacher with accuracy 0.9 the unit of accuracy is 0.4: 1 over 1/2, and 0.625 over 3/4; 0.5 + 0.46875 - 0.3125
    assert front.hypervolume({"accuracy": 0.5, "latency_s": 2.0}, {"accuracy": 0.9, "latency_s": 2.0}) == pytest.approx(0.65625)
    assert ParetoFront(OBJECTIVES).hypervolume({"accuracy": 0.5, "latency_s": 2.0}) == 0


def test_only_complete_trials_within_their_limits_enter() -> None:
    front = ParetoFront(OBJECTIVES)
    assert not front.add(trial(0, 0.9, 1.0, status=Status.PRUNED))
    assert not front.add(trial(1, 0.49, 1.0))
    assert not front.add(trial(2, 0.9, 1.0, size=101.0))
    assert not front.add(trial(3, math.nan, 1.0))
    assert not front.add(Trial(4, Configuration({}), Status.FAILED, reason="error"))
    assert not front.trials
    assert front.add(trial(5, 0.5, 1.0, size=100.0))


def test_a_goal_that_is_not_optimised_does_not_shape_the_front() -> None:
    front = ParetoFront(OBJECTIVES, [trial(0, 0.9, 1.0, size=50.0)])
    assert not front.add(trial(1, 0.8, 1.0, size=1.0))
    assert [o.metric for o in front.goals] == ["accuracy", "latency_s"]


def test_the_order_of_adding_does_not_matter() -> None:
    # 0 and 3 are equal, 1 is dominated by 2
    trials = [trial(0, 0.9, 2.0), trial(1, 0.7, 1.5), trial(2, 0.8, 1.0), trial(3, 0.9, 2.0), trial(4, 0.6, 0.5)]
    for order in itertools.permutations(trials):
        assert [t.id for t in ParetoFront(OBJECTIVES, order).trials] == [0, 2, 4]


def test_adding_a_trial_twice_changes_nothing() -> None:
    front = ParetoFront(OBJECTIVES, [trial(0, 0.9, 2.0)])
    assert front.add(trial(0, 0.9, 2.0))
    assert len(front.trials) == 1
