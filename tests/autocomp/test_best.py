from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocomp.best import BestRule, knee
from autocomp.errors import ConfigError, UsageError
from autocomp.objective import Objective

TEACHER = {"accuracy": 0.90, "latency_s": 10.0, "energy_j": 10.0, "macs": 100.0}
GOALS = (Objective("accuracy", "max"), Objective("latency_s"), Objective("energy_j"))


def member(accuracy: float, latency: float, energy: float, macs: float = 100.0) -> dict[str, float]:
    return {"accuracy": accuracy, "latency_s": latency, "energy_j": energy, "macs": macs}


def test_the_cheapest_member_within_the_tolerance_is_best() -> None:
    # products of relative costs: 0.5 * 0.5 = 0.25, 0.9 * 0.2 = 0.18, 0.1 * 0.1 = 0.01 but 2 points down
    members = [member(0.91, 5, 5), member(0.89, 9, 2), member(0.88, 1, 1)]
    assert BestRule(max_drop=0.01).choose(members, TEACHER, GOALS) == 1
    assert BestRule(max_drop=0.02).choose(members, TEACHER, GOALS) == 2
    assert BestRule(max_drop=0.0).choose(members, TEACHER, GOALS) == 0


def test_without_a_member_in_the_tolerance_the_most_accurate_is_best() -> None:
    assert BestRule(max_drop=0.01).choose([member(0.5, 1, 1), member(0.8, 9, 9)], TEACHER, GOALS) == 1


def test_named_costs_take_the_place_of_the_objectives() -> None:
    members = [member(0.9, 1, 1, macs=90), member(0.9, 9, 9, macs=10)]
    assert BestRule(costs=("macs",)).choose(members, TEACHER, GOALS) == 1


def test_an_unknown_cost_is_named() -> None:
    with pytest.raises(ConfigError, match="but names 'speed'"):
        BestRule(costs=("speed",)).choose([member(0.9, 1, 1)], TEACHER, GOALS)
    with pytest.raises(ConfigError, match="max_drop"):
        BestRule(max_drop=1.5)


def test_the_knee_is_the_point_farthest_above_the_line_between_the_ends() -> None:
    # scaled: (0, 0), (0.5, 0.8), (0.75, 0.9), (1, 1): 0.3, then 0.15 above the diagonal
    assert knee(np.array([0.0, 0.8, 0.9, 1.0]), np.array([0.0, 2.0, 3.0, 4.0])) == 1
    # the same with other units and offsets, in another order
    assert knee(np.array([0.95, 0.94, 0.85, 0.93]), np.array([7.0, 6.5, 5.0, 6.0])) == 3


def test_a_point_that_another_one_beats_does_not_stretch_the_axes() -> None:
    # with the last one the first would be at (0, 0.5) and the second at (0.5, 0.8): 0.5 above, and no knee
    assert knee(np.array([0.5, 0.9, 1.0, 0.0]), np.array([0.0, 2.0, 4.0, 8.0])) == 1


@pytest.mark.parametrize(
    ("accuracy", "cost"),
    [([1.0, 0.5], [3.0, 1.0]), ([1.0, 0.5, 0.6], [3.0, 1.0, 2.5]), ([1.0, 0.5, 0.75], [3.0, 1.0, 2.0]), ([0.5, 0.5], [3.0, 1.0])],
    ids=["two", "below the line", "on the line", "equal"],
)
def test_where_nothing_lies_above_the_line_the_cheapest_is_the_knee(accuracy: list[float], cost: list[float]) -> None:
    assert knee(np.array(accuracy), np.array(cost)) == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=12))
def test_no_point_beats_the_knee(points: list[tuple[float, float]]) -> None:
    accuracy, cost = np.array(points).T
    found = knee(accuracy, cost)
    assert not ((accuracy >= accuracy[found]) & (cost <= cost[found]) & ((accuracy > accuracy[found]) | (cost < cost[found]))).any()


def test_the_knee_is_looked_for_among_members_that_keep_the_accuracy() -> None:
    # relative costs 1, 1/8, 1/10 and, 5 points down, 1/100; of the first three the second lies above the line: log 8 is 0.9 of log 10
    members = [member(0.90, 10, 10), member(0.898, 1.25, 1.25), member(0.89, 1, 1), member(0.85, 0.1, 0.1)]
    assert BestRule("knee", max_drop=0.01).choose(members, TEACHER, GOALS) == 1
    assert BestRule("cheapest", max_drop=0.01).choose(members, TEACHER, GOALS) == 2
    assert BestRule("knee", max_drop=0.01).choose(members[3:], TEACHER, GOALS) == 0


def test_weights_are_exponents_of_ratios_to_the_teacher() -> None:
    # accuracy halved for a quarter of the latency: 2^w / 4^1 is below 1 for w < 2
    members = [member(0.90, 10, 10), member(0.45, 2.5, 10)]
    assert BestRule("weighted", weights={"accuracy": 1.9, "latency_s": 1}).choose(members, TEACHER, GOALS) == 1
    assert BestRule("weighted", weights={"accuracy": 2.1, "latency_s": 1}).choose(members, TEACHER, GOALS) == 0
    assert BestRule("weighted", weights={"accuracy": 9, "energy_j": 1}).choose(members, TEACHER, GOALS) == 0


def test_a_cost_that_the_teacher_has_none_of_decides_nothing() -> None:
    free = {**TEACHER, "energy_j": 0.0}
    assert BestRule().choose([member(0.9, 5, 0), member(0.9, 4, 0)], free, GOALS) == 1


def test_the_most_accurate_within_limits_and_of_equals_the_cheapest() -> None:
    members = [member(0.91, 9, 9), member(0.88, 4, 9), member(0.88, 4, 8), member(0.7, 1, 1)]
    assert BestRule("accurate").choose(members, TEACHER, GOALS) == 0
    assert BestRule("accurate", limits={"latency_s": "50%"}).choose(members, TEACHER, GOALS) == 2
    assert BestRule("accurate", limits={"latency_s": 2.0}).choose(members, TEACHER, GOALS) == 3
    # nothing has at most half a second and 0.8: excess 7.0 + 0.0, 7.0 + 0.0 and 1.0 + 0.125
    assert BestRule("accurate", limits={"latency_s": 0.5, "accuracy": 0.8}).choose(members[1:], TEACHER, GOALS) == 2


def test_the_reason_names_rule_and_limits() -> None:
    kept, lost = member(0.895, 5, 5), member(0.8, 1, 1)
    assert BestRule().reason(kept, TEACHER) == "the cheapest with an accuracy drop of at most 0.01"
    assert BestRule("knee").reason(kept, TEACHER) == "the knee of the front among members with an accuracy drop of at most 0.01"
    assert BestRule("knee").reason(lost, TEACHER) == "the most accurate; none has an accuracy drop of at most 0.01"
    assert BestRule("accurate", limits={"latency_s": "50%"}).reason(kept, TEACHER) == "the most accurate, within latency_s 50%"
    far = BestRule("accurate", limits={"latency_s": 0.5}).reason(lost, TEACHER)
    assert far == "the most accurate; none is within latency_s 0.5, this comes closest"
    assert BestRule("weighted", weights={"macs": 2}).reason(lost, TEACHER) == "the best by weight (macs 2)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "kneee"}, "There is no `best.rule` 'kneee'. Did you mean 'knee'? Known: accurate, cheapest, knee, weighted."),
        ({"rule": "weighted"}, "`best.rule` weighted needs weights, such as best.weights={accuracy:20,latency_s:1}."),
        ({"weights": {"macs": -1}}, "`best.weights` must be at least 0, and one of them above, but are {'macs': -1}."),
        ({"weights": {"macs": 0}}, "`best.weights` must be at least 0, and one of them above, but are {'macs': 0}."),
        (
            {"limits": {"latency_s": "half"}},
            "`best.limits.latency_s` must be a positive number, or a share of the teacher's such as 50%, but is half.",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        BestRule(**settings)
    assert str(error.value) == message


def test_the_test_data_have_no_say() -> None:
    rule = BestRule("weighted", weights={"test_accuracy": 1})
    with pytest.raises(ConfigError, match="may name accuracy, energy_j, latency_s, macs, but names 'test_accuracy'"):
        rule.choose([member(0.9, 1, 1)], {**TEACHER, "test_accuracy": 0.9}, GOALS)
