"""The early-stopping rule."""

from __future__ import annotations

import json
import math

import pytest

from autocomp.errors import ConfigError
from autocomp.objective import Objective
from autocomp.rungs import Rungs

OBJECTIVES = (Objective("accuracy", "max", 0.9), Objective("latency_s", limit=1.0), Objective("size_bytes", optimised=False))


def report(rungs: Rungs, trial_id: int, loss: float, latency: float, *, fidelity: float = 1.0) -> bool:
    return rungs.report(trial_id, fidelity, {"loss": loss, "accuracy": 0.5, "latency_s": latency, "size_bytes": 1.0})


def test_the_front_goes_on_and_what_it_dominates_stops() -> None:
    rungs = Rungs(OBJECTIVES, 3, (1.0, 2.0))
    # the first three go on unseen; then the front is {(1, 1), (0.5, 2)} and a third of 4, 5, ... trials is below 2
    assert [report(rungs, 0, 1.0, 1.0), report(rungs, 1, 2.0, 2.0), report(rungs, 2, 0.5, 2.0)] == [True] * 3
    assert not report(rungs, 3, 3.0, 1.5)  # 2 of 4 are better, a third is 1.33
    assert report(rungs, 4, 0.1, 9.0)  # on the front, whatever its price
    assert not report(rungs, 5, 4.0, 4.0)


def test_the_second_rank_goes_on_while_the_front_is_smaller_than_the_share() -> None:
    rungs = Rungs(OBJECTIVES, 2, (1.0,))
    for i, loss in enumerate((1.0, 2.0, 3.0, 4.0)):
        report(rungs, i, loss, loss)
    assert report(rungs, 4, 2.5, 2.5)  # 2 of 5 are better, half of 5 is 2.5
    assert not report(rungs, 5, 3.5, 3.5)  # 4 of 6


def test_between_levels_and_after_the_last_a_trial_goes_on() -> None:
    rungs = Rungs(OBJECTIVES, 2, (1.0, 4.0))
    for i in range(8):
        report(rungs, i, 1.0, 1.0)
    assert report(rungs, 8, 9.0, 9.0, fidelity=0.5)
    assert not report(rungs, 8, 9.0, 9.0, fidelity=1.5)
    assert report(rungs, 8, 9.0, 9.0, fidelity=2.0)  # it was judged at that level before
    assert report(rungs, 8, 9.0, 9.0, fidelity=7.0)  # the first at the next level


def test_a_diverged_trial_ranks_last() -> None:
    rungs = Rungs(OBJECTIVES, 3, (1.0,))
    for i in range(3):
        report(rungs, i, 1.0, 1.0)
    assert not report(rungs, 3, math.nan, 0.0)
    assert report(rungs, 4, 1.0, 1.0)


def test_a_restored_state_decides_alike() -> None:
    rungs, restored = (Rungs(OBJECTIVES, 3, (1.0, 2.0)) for _ in range(2))
    for i in range(6):
        report(rungs, i, 6.0 - i, 1.0 + (i % 3))
    restored.load_state_dict(json.loads(json.dumps(rungs.state_dict())))
    later = [(2.0, 2.0), (0.5, 3.0), (5.0, 1.0)]
    assert [report(rungs, 9 + i, *v) for i, v in enumerate(later)] == [report(restored, 9 + i, *v) for i, v in enumerate(later)]


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="eta` must be above 1, but is 1"):
        Rungs(OBJECTIVES, 1, (1.0,))
    with pytest.raises(ConfigError, match=r"rungs` must increase, but is \[2.0, 1.0\]"):
        Rungs(OBJECTIVES, 2, (2.0, 1.0))
