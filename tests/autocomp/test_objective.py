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
