"""Goals in units of the reference box."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from autocomp.choice import Configuration
from autocomp.problem import Problem
from autocomp.searchers.base import WORST, outcome, scaled
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]


def trial(problem: Problem, accuracy: float, latency: float, energy: float) -> Trial:
    """Accuracy as it is, costs as a share of the teacher's."""
    metrics = {
        "accuracy": accuracy,
        "latency_s": latency * problem.baseline["latency_s"],
        "energy_j": energy * problem.baseline["energy_j"],
        "size_bytes": 1.0,
    }
    return Trial(0, Configuration({}), Status.COMPLETE, metrics)


def test_the_teacher_is_at_zero_and_the_reference_point_at_one(toy: Toy) -> None:
    problem = toy()
    # the teacher has 0.99; halfway to half of that, 0.7425, is 0.5; costs are shares of the teacher's
    metrics = {"accuracy": np.array([0.99, 0.7425, 0.495]), "latency_s": np.array(problem.baseline["latency_s"])}
    np.testing.assert_allclose(scaled(problem, metrics), [[0, 1, np.nan], [0.5, 1, np.nan], [1, 1, np.nan]], atol=1e-12)


def test_inside_the_box_an_outcome_is_the_scaled_goals(toy: Toy) -> None:
    problem = toy()
    np.testing.assert_allclose(outcome(problem, trial(problem, 0.7425, 0.3, 0.2)), [0.5, 0.3, 0.2])


def test_outside_the_box_everything_inside_is_better(toy: Toy) -> None:
    problem = toy()
    # accuracy 0.099 is (0.99 - 0.099) / 0.495 = 1.8, 0.8 outside: all goals move by 1 + 0.8
    np.testing.assert_allclose(outcome(problem, trial(problem, 0.099, 0.1, 0.0)), [3.6, 1.9, 1.8])
    assert (outcome(problem, trial(problem, 0.099, 0.0, 0.0)) > outcome(problem, trial(problem, 0.496, 0.99, 0.99))).all()


def test_a_broken_measured_limit_counts_like_the_outside(toy: Toy) -> None:
    problem = toy(accuracy=0.9)
    # 0.81 breaks the limit 0.9 by a tenth of it
    scaled_accuracy = (0.99 - 0.81) / 0.495
    np.testing.assert_allclose(outcome(problem, trial(problem, 0.81, 0.1, 0.2)), np.array([scaled_accuracy, 0.1, 0.2]) + 1.1)


def test_nan_is_worst(toy: Toy) -> None:
    problem = toy()
    assert outcome(problem, trial(problem, math.nan, 0.1, 0.2))[0] == WORST
