"""Objectives: direction and limit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from autocomp.errors import ConfigError
from autocomp.objective import Objective


def test_minimised_turns_what_is_maximised() -> None:
    assert Objective("latency_s").minimised([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert Objective("accuracy", "max").minimised([1.0, 2.0]).tolist() == [-1.0, -2.0]


def test_excess_is_relative_to_the_limit_and_zero_on_the_right_side() -> None:
    # 3 against at most 2 is (3 - 2) / 2; 0.6 against at least 0.8 is (0.8 - 0.6) / 0.8
    assert Objective("latency_s", limit=2.0).excess([1.0, 2.0, 3.0]).tolist() == [0.0, 0.0, 0.5]
    np.testing.assert_allclose(Objective("accuracy", "max", 0.8).excess([0.9, 0.8, 0.6]), [0, 0, 0.25])
    assert Objective("latency_s").excess([5.0]).tolist() == [0.0]


def test_a_limit_is_met_at_the_limit_and_not_by_nan() -> None:
    objective = Objective("accuracy", "max", 0.9)
    assert objective.is_met({"accuracy": 0.9})
    assert not objective.is_met({"accuracy": 0.89})
    assert not objective.is_met({"accuracy": math.nan})
    assert Objective("accuracy", "max").is_met({"accuracy": math.nan})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "speed"}, "An objective is one of .*, but is 'speed'"),
        ({"metric": "macs", "direction": "less"}, "must be min or max, but is 'less'"),
        ({"metric": "macs", "limit": 0.0}, "must be a positive number, but is 0.0"),
        ({"metric": "macs", "limit": math.inf}, "must be a positive number"),
        ({"metric": "macs", "limit": math.nan}, "must be a positive number"),
        ({"metric": "macs", "limit": "low"}, "must be a positive number, but is low"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Objective(**arguments)


def test_a_limit_may_be_a_share_of_the_teachers_value() -> None:
    half = Objective.stated("latency_s", limit="50%")
    assert half.against({"latency_s": 3.0}) == Objective("latency_s", limit=1.5)
    nearly = Objective.stated("accuracy", direction="max", limit=" 99.5 %", optimised=False)
    assert nearly.against({"accuracy": 0.8}).limit == pytest.approx(0.796)
    assert not nearly.optimised
    for limit in (2e-4, "2e-4"):
        assert Objective.stated("macs", limit=limit).against({}) == Objective("macs", limit=2e-4)
    assert Objective.stated("macs") == Objective("macs")


@pytest.mark.parametrize("limit", ["fast", "%", "-5%", "0%", "nan", True, -1, math.inf])
def test_a_stated_limit_that_is_no_positive_number_is_one_clear_line(limit: Any) -> None:
    message = f"`objectives.loss.limit` must be a positive number, or a share of the teacher's such as 50%, but is {limit}."
    with pytest.raises(ConfigError) as error:
        Objective.stated("loss", limit=limit)
    assert str(error.value) == message


def test_of_nothing_there_is_no_share() -> None:
    with pytest.raises(ConfigError, match="times the teacher's energy_j needs one above 0, but it is 0"):
        Objective.stated("energy_j", limit="50%").against({"energy_j": 0.0})
