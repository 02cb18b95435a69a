from __future__ import annotations

import pytest

from autocomp.best import BestRule
from autocomp.errors import ConfigError
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
