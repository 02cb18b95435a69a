"""A problem prices what it can, and says why it cannot use the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autocomp.choice import Choice, Configuration
from autocomp.problem import Problem
from hwmodels import CostReport, HardwareError, Workload
from hwmodels.guarded import UNPRICED

TWO_BIT, FOUR_BIT = (Configuration({"conv0": Choice(weight_bits=bits)}) for bits in (2, 4))


class Faulty:
    """A plug-in that prices like another model, and has no answer for 2-bit weights."""

    name = "faulty"

    def __init__(self, model: Any) -> None:
        self.model = model

    def estimate(self, workload: Workload) -> CostReport:
        report: CostReport = self.model.estimate(workload)
        if (workload.weight_bits == 2).any():
            return replace(report, latency_s=np.where(workload.weight_bits == 2, np.nan, report.latency_s))
        return report

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        return None


@pytest.fixture
def problem(toy: Callable[..., Problem]) -> Problem:
    plain = toy(2)
    return replace(plain, hardware=Faulty(plain.hardware))


def test_a_candidate_that_the_hardware_model_fails_on_is_infeasible(problem: Problem) -> None:
    whole = replace(problem, hardware=problem.hardware.model)  # type: ignore[attr-defined]
    report = problem.price([FOUR_BIT, TWO_BIT, FOUR_BIT])
    assert report.feasible.tolist() == [True, False, True]
    np.testing.assert_array_equal(report.latency_s[[0, 2]], whole.price([FOUR_BIT, FOUR_BIT]).latency_s)
    assert report.reasons(1) == (f"needs 1 {UNPRICED}, the device has 0",)


def test_a_search_steps_around_such_candidates(problem: Problem) -> None:
    weights = problem.space.names.index("conv0/weight_bits")
    vectors = np.zeros((7, len(problem.space.knobs)), np.int64)
    vectors[:, weights] = np.arange(7)  # 8 bit down to 2
    violations = problem.violation(vectors)
    assert (violations[:-1] == 0).all()
    assert violations[-1] == 1


def test_a_single_candidate_that_it_fails_on_is_an_error_of_one_line(problem: Problem) -> None:
    with pytest.raises(HardwareError, match="latency_s of layer 'conv0' is nan") as caught:
        problem.metrics_of(TWO_BIT)
    assert "\n" not in str(caught.value)
