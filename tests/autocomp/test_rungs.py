"""The early-stopping rule."""

from __future__ import annotations

import json
import math

import pytest

from autocomp.choice import Configuration
from autocomp.errors import ConfigError
from autocomp.objective import Objective
from autocomp.rungs import Rungs
from autocomp.trial import Status, Trial

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


def test_of_equal_rank_those_where_costs_are_sparse_go_on() -> None:
    # Ten trials on a front with latencies 1, 2, 4, ... 512, behind it a second rank with latencies 1, 3, 4, 5 and 1000.
    def filled() -> Rungs:
        rungs = Rungs(OBJECTIVES, 1.2, (1.0,))
        for i in range(10):
            report(rungs, i, 1.0 / (i + 1), 2.0**i)
        for i, latency in enumerate((1.0, 3.0, 5.0, 1000.0)):
            report(rungs, 10 + i, 2.0 - latency / 1000, latency)
        return rungs

    # 15 trials of which 12.5 go on: the front's 10, the cheapest and the dearest of the second rank, and one of the three between them.
    # Gaps along log latency, over ln 1000 = 6.91: (ln 4 - ln 1) / 6.91 = 0.20 at 3, (ln 5 - ln 3) / 6.91 = 0.07 at 4,
    # (ln 1000 - ln 4) / 6.91 = 0.80 at 5; so 4 has 10 + 4 before it.
    assert not report(filled(), 14, 2.0 - 4 / 1000, 4.0)
    # at 100 it is the gap (ln 1000 - ln 5) / 6.91 = 0.77, while 5 has (ln 100 - ln 3) / 6.91 = 0.51: 10 + 2 before it
    assert report(filled(), 14, 2.0 - 100 / 1000, 100.0)


def test_the_front_goes_on_however_large_it_is() -> None:
    rungs = Rungs(OBJECTIVES, 10, (0.0,))
    assert all(report(rungs, i, 1.0 / (i + 1), 1.0 + i, fidelity=0.0) for i in range(40))


def test_a_cost_of_nothing_and_a_quality_that_is_no_cost_are_compared(recwarn: pytest.WarningsRecorder) -> None:
    rungs = Rungs((Objective("accuracy", "max"), Objective("latency_s")), 2, (0.0,))
    assert rungs.report(0, 0.0, {"loss": 1.0, "latency_s": 0.0})
    assert rungs.report(1, 0.0, {"loss": 0.5, "latency_s": 1.0})
    assert not rungs.report(2, 0.0, {"loss": 2.0, "latency_s": 1.0})
    alone = Rungs((Objective("accuracy", "max"),), 2, (0.0,))
    assert [alone.report(i, 0.0, {"loss": loss}) for i, loss in enumerate((1.0, 2.0, 3.0, 0.5))] == [True, True, False, True]
    assert not recwarn.list


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


def test_what_the_trials_of_an_earlier_part_measured_counts() -> None:
    rungs, restored = (Rungs(OBJECTIVES, 3, (0.0, 1.0)) for _ in range(2))
    trials = []
    for i in range(6):
        course = ((0.0, 6.0 - i, 0.5), (1.0, 3.0 - i / 2, 0.5))
        for fidelity, loss, _ in course:
            report(rungs, i, loss, 1.0 + (i % 3), fidelity=fidelity)
        metrics = {"loss": 3.0 - i / 2, "accuracy": 0.5, "latency_s": 1.0 + (i % 3), "size_bytes": 1.0}
        trials.append(Trial(i, Configuration({}), Status.COMPLETE, metrics, rungs=course))
    restored.restore(trials)
    assert restored.state_dict() == rungs.state_dict()


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="eta` must be above 1, but is 1"):
        Rungs(OBJECTIVES, 1, (1.0,))
    with pytest.raises(ConfigError, match=r"rungs` must increase from 0 or more, but is \[2.0, 1.0\]"):
        Rungs(OBJECTIVES, 2, (2.0, 1.0))
