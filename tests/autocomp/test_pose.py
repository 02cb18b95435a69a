"""What is wanted of a metric that only some devices have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autocomp.choice import Choice, Choices, Configuration
from autocomp.cli.composing import ConfigTree
from autocomp.errors import ConfigError
from autocomp.evaluate import Evaluator
from autocomp.pose import pose
from autocomp.progress import Progress
from autocomp.tasks import DigitsTask
from hwmodels import load_device


def posed(digits: DigitsTask, device: str, *settings: str) -> Evaluator:
    config: dict[str, Any] = ConfigTree().compose([f"hw={device}", *settings])
    return pose(config, task=digits, hardware=load_device(device), progress=Progress())


def test_the_area_of_a_crossbar_is_a_goal_with_a_limit_like_any_other(digits: DigitsTask) -> None:
    problem = posed(digits, "isaac", "objectives.area_mm2.optimised=true", "objectives.area_mm2.limit=60%").problem
    four = Configuration(dict.fromkeys(problem.workload.names, Choice(weight_bits=4)))
    whole, half = (problem.metrics_of(c)["area_mm2"] for c in (Configuration({}), four))
    report = problem.hardware.estimate(problem.lower(Choices.of([four], problem.workload.names)))
    assert problem.paper_metrics(np.zeros((0, len(problem.space.knobs)), np.int64))[0].keys() == problem.metrics_of(four).keys()
    assert half == float(report.area_mm2[0]) < whole == problem.baseline["area_mm2"]
    assert [goal.metric for goal in problem.goals] == ["accuracy", "latency_s", "energy_j", "area_mm2"]
    assert problem.reference_point["area_mm2"] == whole
    assert problem.reasons(Configuration({})) == (f"area_mm2 {whole:.4g} breaks the limit {0.6 * whole:.4g}",)


@pytest.mark.parametrize("setting", ["objectives.area_mm2.limit=2", "objectives.area_mm2.limit=50%", "objectives.area_mm2.optimised=true"])
def test_nothing_can_be_wanted_of_an_area_that_is_not_known(digits: DigitsTask, setting: str) -> None:
    message = "`objectives.area_mm2` must be left alone with hardware 'zcu102', which has no model of its area_mm2."
    with pytest.raises(ConfigError) as error:
        posed(digits, "zcu102", setting)
    assert str(error.value) == message
    assert "area_mm2" not in {objective.metric for objective in posed(digits, "zcu102").problem.objectives}
