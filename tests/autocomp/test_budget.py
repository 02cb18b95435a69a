"""Budgets: how they are written, and what they plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocomp.budget import Budget, Effort, Ledger
from autocomp.choice import Configuration
from autocomp.errors import ConfigError
from autocomp.trial import Status, Trial

EFFORT = Effort(trial=100.0, polish=200.0, members=4, polish_share=0.5)


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ended(number: int, *, passes: float = 0.0, seconds: float = 0.0, status: Status = Status.COMPLETE) -> Trial:
    return Trial(number, Configuration({}), status, duration_s=seconds, image_passes=passes)


def in_passes(limit: float, *, workers: int = 1, profile: float = 0.0, effort: Effort = EFFORT) -> Ledger:
    return Ledger(Budget.parse(f"{limit}img"), effort, workers, 0.0, profile)


def in_seconds(limit: float, *, workers: int = 1) -> tuple[Ledger, Clock]:
    clock = Clock()
    return Ledger(Budget.parse(f"{limit}s"), EFFORT, workers, clock.now, clock=clock), clock


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("90s", "seconds", 90),
        ("20m", "seconds", 1200),
        ("1.5h", "seconds", 5400),
        (" .5h ", "seconds", 1800),
        ("2e6img", "image_passes", 2e6),
        ("2e6", "image_passes", 2e6),
        ("2000000.0", "image_passes", 2e6),
        ("1e+18", "image_passes", 1e18),
    ],
)
def test_a_budget_is_understood(text: str, kind: str, limit: float) -> None:
    budget = Budget.parse(text)
    assert (budget.kind, budget.limit) == (kind, limit)


@pytest.mark.parametrize("text", ["", "20x", "-5m", "0", "0s", "m", "1e", "1e400", "nan", "inf", "1_000", "5 m", "1m30s", "٣s"])
def test_anything_else_is_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Budget.parse(text)
    assert str(error.value).startswith("`budget` must be a positive time (90s, 20m, 1.5h) or number of image passes (2e6img), but is ")
    assert "\n" not in str(error.value)


def test_passes_are_planned_as_worked_by_hand() -> None:
    # a polish of 4 members costs 4 x 200 = 800, less than half of 2000; 1200 - 100 for the profile are left, 11 trials of 100
    ledger = in_passes(2000, profile=100)
    assert ledger.for_the_polish == 800
    assert ledger.planned == 11
    # a trial that costs 50 halves what is expected: a polish 100 each, 400; 2000 - 400 - 150 for 50 each
    ledger.begin()
    ledger.end(ended(0, passes=50))
    assert ledger.for_the_polish == 400
    assert ledger.planned == 29
    assert ledger.share == pytest.approx(150 / 1600)
    assert ledger.members == 18  # (2000 - 150) / 100


def test_at_most_its_share_is_kept_for_the_polish() -> None:
    assert in_passes(600).for_the_polish == 300
    assert in_passes(600, effort=Effort(100, 200, 4, 0.0)).for_the_polish == 0


@given(
    limit=st.floats(1, 1e6),
    costs=st.lists(st.floats(1, 1e4), min_size=1, max_size=30),
    workers=st.integers(1, 4),
    share=st.floats(0, 0.9),
)
def test_passes_are_exceeded_by_less_than_what_runs_at_the_end(limit: float, costs: list[float], workers: int, share: float) -> None:
    effort = Effort(sum(costs) / len(costs), 2 * costs[0], 3, share)
    ledger = in_passes(limit, workers=workers, effort=effort)
    running: list[float] = []
    started = 0
    while True:
        while started < len(costs) and len(running) < workers and ledger.has_room:
            ledger.begin()
            running.append(costs[started])
            started += 1
        if not running:
            break
        ledger.end(ended(started - len(running), passes=running.pop(0)))
    assert started >= 1
    assert ledger.spent <= limit - ledger.for_the_polish + workers * max(costs) or started == 1
    assert started == len(costs) or not ledger.has_room


def test_every_trial_is_expected_to_cost_the_mean_of_those_that_were_measured() -> None:
    ledger = in_passes(2000)
    for number, passes in enumerate((100, 0, 300)):  # the second failed before anything was measured
        ledger.begin()
        ledger.end(ended(number, passes=passes))
    assert ledger.of_a_trial == 200
    assert ledger.of_a_polish == 400
    # half of 2000 is kept for the polish, 400 are spent: three more trials fit one after the other, and at a time, too
    assert ledger.planned == 3
    for _ in range(3):
        assert ledger.has_room
        ledger.begin()
    assert not ledger.has_room


def test_time_passes_while_trials_run_and_a_trial_must_be_able_to_end() -> None:
    ledger, clock = in_seconds(100, workers=2)
    assert ledger.planned is None
    assert ledger.for_the_polish == 50  # its whole share, as long as nothing is known
    ledger.begin()
    assert ledger.has_room  # two at a time, though nothing is known
    ledger.begin()
    clock.now += 10
    ledger.end(ended(0, seconds=10))
    # a polish takes 20 s and 4 members two rounds: 40 s are kept, 60 - 10 are left
    assert ledger.for_the_polish == 40
    assert ledger.share == pytest.approx(10 / 60)
    clock.now += 40
    assert ledger.has_room  # until 50 + 10
    clock.now += 0.1
    assert not ledger.has_room
    assert ledger.members == 4  # 49.9 s have room for two rounds of 20 s, of two workers


def test_the_first_trial_always_may_start_and_one_member_is_always_polished() -> None:
    ledger, clock = in_seconds(1)
    clock.now += 60
    assert ledger.has_room
    ledger.begin()
    assert not ledger.has_room
    ledger.end(ended(0, seconds=5))
    assert not ledger.has_room
    assert ledger.members == 1
    assert ledger.share == 1


def test_what_an_earlier_part_spent_counts_and_what_it_cut_off_does_not() -> None:
    trials = [ended(0, seconds=30, passes=300), ended(1, seconds=10, passes=100), ended(2, status=Status.RUNNING)]
    ledger, _ = in_seconds(100, workers=2)
    ledger.restore(trials)
    assert ledger.spent == 20
    assert ledger.of_a_trial == 20
    passes = in_passes(1000)
    passes.restore(trials)
    assert passes.spent == 400
    assert passes.in_the_end(700.0) == {"kind": "image_passes", "limit": 1000, "spent": 700}
