from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocomp.budget import Budget, Effort, Ledger
from autocomp.choice import Configuration
from autocomp.journal import JOURNAL
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.searchers import AnnealingSearcher, RandomSearcher, Searcher
from autocomp.session import STATE, Session
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Open = Callable[..., Session]


class Listener(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Broken:
    """A searcher with a bug in every verb."""

    def ask(self, trial_id: int) -> Configuration | None:
        raise ZeroDivisionError("ask")

    def tell(self, trial: Trial) -> None:
        raise ZeroDivisionError("tell")

    def state_dict(self) -> dict[str, Any]:
        raise ZeroDivisionError("state")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise ZeroDivisionError("load")


@pytest.fixture
def problem(toy: Toy) -> Problem:
    return toy()


@pytest.fixture
def open_session(problem: Problem, tmp_path: Path) -> Open:
    def make(searcher: Searcher | None = None, *, listener: Progress | None = None, ended: list[Trial] | None = None) -> Session:
        return Session(
            problem,
            searcher or AnnealingSearcher(problem, seed=0, trials=20),
            fallback=RandomSearcher(problem, seed=0, trials=20),
            folder=tmp_path,
            total=20,
            seed=0,
            progress=listener or Progress(),
            on_end=(ended if ended is not None else []).append,
        )

    return make


def run(session: Session, n: int, measure: Measure) -> list[Trial]:
    trials = []
    for _ in range(n):
        trial = session.next()
        assert trial is not None
        result = measure(session.problem, trial.id, trial.configuration)
        trials.append(replace(result, seed=trial.seed))
        session.finish(trials[-1])
    return trials


def test_a_restored_session_goes_on_exactly_as_it_would_have(open_session: Open, measure: Measure, tmp_path: Path) -> None:
    whole = open_session()
    run(whole, 8, measure)
    expected = [t.configuration for t in run(whole, 6, measure)]
    for file in tmp_path.iterdir():
        file.unlink()
    run(open_session(), 8, measure)
    resumed = open_session()
    resumed.restore()
    assert resumed.remaining == 12
    assert [t.configuration for t in run(resumed, 6, measure)] == expected


def test_what_was_running_is_run_again_first_and_what_ended_is_kept(open_session: Open, measure: Measure) -> None:
    session = open_session()
    done = run(session, 3, measure)
    cut_off = session.next()
    assert cut_off is not None
    resumed = open_session()
    resumed.restore()
    assert resumed.ended == done
    assert resumed.front.trials == session.front.trials
    assert resumed.next() == cut_off
    following = resumed.next()
    assert following is not None
    assert following.id == cut_off.id + 1


def test_trials_are_told_once_even_if_the_state_is_older_than_the_journal(open_session: Open, measure: Measure, tmp_path: Path) -> None:
    session = open_session()
    run(session, 4, measure)
    older = (tmp_path / STATE).read_bytes()
    run(session, 2, measure)
    (tmp_path / STATE).write_bytes(older)
    resumed = open_session()
    resumed.restore()
    assert len(resumed.ended) == 6
    asked = {t.configuration for t in run(resumed, 6, measure)}
    assert not asked & {t.configuration for t in session.ended}


def test_a_state_that_cannot_be_read_is_said_and_replaced_by_the_trials(open_session: Open, measure: Measure, tmp_path: Path) -> None:
    run(open_session(), 4, measure)
    (tmp_path / STATE).write_bytes(b"rubbish")
    listener = Listener()
    resumed = open_session(listener=listener)
    resumed.restore()
    assert "cannot be read" in listener.notes[0]
    assert len(resumed.ended) == 4
    run(resumed, 2, measure)


def test_a_searcher_that_raises_never_ends_the_run(open_session: Open, measure: Measure) -> None:
    listener, ended = Listener(), list[Trial]()
    session = open_session(Broken(), listener=listener, ended=ended)
    assert run(session, 5, measure) == ended
    assert len({t.configuration for t in ended}) == 5
    said = sorted(note.split("(")[1].split(")")[0] for note in listener.notes)
    assert said == [f"ZeroDivisionError: {verb}" for verb in ("ask", "state", "tell")]


def test_every_trial_has_its_own_seed_that_depends_on_the_run_only(open_session: Open, measure: Measure) -> None:
    seeds = [t.seed for t in run(open_session(), 5, measure)]
    assert len(set(seeds)) == 5
    assert [t.seed for t in run(open_session(), 5, measure)] == seeds


def test_a_complete_trial_that_breaks_a_measured_limit_says_so_and_stays_off_the_front(
    toy: Toy, measure: Measure, open_session: Open, tmp_path: Path
) -> None:
    session = open_session()
    session.problem = toy(accuracy=0.985)
    session.front.objectives = session.problem.objectives
    for trial in run(session, 12, measure):
        kept = session.trials[trial.id]
        if trial.metrics["accuracy"] < 0.985:
            assert kept.reason.startswith("accuracy 0.")
            assert kept not in session.front.trials


def test_finalists_are_the_front_and_the_ranks_behind_it(open_session: Open, measure: Measure, problem: Problem) -> None:
    session = open_session(RandomSearcher(problem, seed=0, trials=20))  # finds trials that others dominate, too
    run(session, 12, measure)
    front = {t.id for t in session.front.trials}
    assert {t.id for t in session.finalists(1)} == front
    more = session.finalists(len(front) + 2)
    assert {t.id for t in more[: len(front)]} == front
    assert len(more) == len(front) + 2
    assert len(session.finalists(100)) == 12


def test_where_few_can_be_polished_they_are_those_that_cover_most(open_session: Open, measure: Measure) -> None:
    session = open_session()
    run(session, 12, measure)
    front, problem = session.front.trials, session.problem
    assert len(front) > 2

    def covered(trials: tuple[Trial, ...]) -> float:
        return ParetoFront(problem.objectives, trials).hypervolume(problem.reference_point)

    (best,) = session.finalists(1, 1)
    assert covered((best,)) == max(covered((trial,)) for trial in front)
    two = session.finalists(1, 2)
    assert covered(tuple(two)) == max(covered((best, trial)) for trial in front)
    assert session.finalists(20, len(front)) == session.finalists(1)


def test_a_searcher_is_told_how_far_the_budget_is_and_asked_no_more_at_its_end(
    open_session: Open, measure: Measure, problem: Problem
) -> None:
    searcher = AnnealingSearcher(problem, seed=0, trials=1000)
    session = open_session(searcher)
    session.total = 1000
    session.ledger = Ledger(Budget.parse("100img"), Effort(10, 10, 5, 0.5), 1, 0.0)  # 50 are kept for 5 members
    seen = []
    while (trial := session.next()) is not None:
        seen.append(searcher.progress)
        session.finish(replace(measure(problem, trial.id, trial.configuration), image_passes=10.0))
    assert seen == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    # an earlier part counts: nothing is left
    resumed = open_session(AnnealingSearcher(problem, seed=0, trials=1000))
    resumed.ledger = Ledger(Budget.parse("100img"), Effort(10, 10, 5, 0.5), 1, 0.0)
    resumed.restore()
    assert resumed.ledger.spent == 50
    assert resumed.remaining == 0
    assert resumed.next() is None


def test_what_was_cut_off_is_run_again_only_within_the_budget(open_session: Open, measure: Measure, problem: Problem) -> None:
    session = open_session()
    first, cut_off = session.next(), session.next()
    assert first
    session.finish(replace(measure(problem, first.id, first.configuration), image_passes=10.0))
    for limit, expected in (("40img", cut_off), ("25img", None)):  # half of it is kept for the polish
        resumed = open_session()
        resumed.ledger = Ledger(Budget.parse(limit), Effort(10, 10, 5, 0.5), 1, 0.0)
        resumed.restore()
        assert resumed.next() == expected


def test_a_failed_trial_is_counted_but_not_measured(open_session: Open) -> None:
    session = open_session()
    trial = session.next()
    assert trial is not None
    session.finish(replace(trial, status=Status.FAILED, reason="boom"))
    assert session.remaining == 19
    assert session.front.trials == ()


def known_of(problem: Problem, measure: Measure, n: int, seed: int = 5) -> list[Trial]:
    """Trials of an earlier run, as a warm start hands them over."""
    vectors = problem.space.sample(np.random.default_rng(seed), 40 * n)
    trials = [replace(measure(problem, -1 - i, problem.space.decode(v)), reason=f"trial {i} of a") for i, v in enumerate(vectors)]
    return sorted(trials, key=lambda t: -t.metrics["accuracy"])[:n]


def warm(open_session: Open, known: list[Trial], **more: Any) -> Session:
    session = open_session(**more)
    session.known = tuple(known)
    return session


def test_a_searcher_knows_earlier_trials_before_its_first_ask(open_session: Open, measure: Measure, problem: Problem) -> None:
    known = known_of(problem, measure, 15)
    searcher = AnnealingSearcher(problem, seed=0, trials=20)
    session = warm(open_session, known, searcher=searcher)
    session.warm_up()
    assert len(searcher.known.vectors) == 15
    assert session.remaining == 20
    asked = run(session, 10, measure)
    assert [trial.id for trial in asked] == list(range(10))
    assert not {t.configuration for t in asked} & {t.configuration for t in known}
    assert searcher.progress == pytest.approx(0.45)  # at the tenth ask: earlier trials are none of the run's


def test_a_restored_warm_session_goes_on_as_it_would_have_and_is_told_once(
    open_session: Open, measure: Measure, problem: Problem, tmp_path: Path
) -> None:
    known = known_of(problem, measure, 6)
    whole = warm(open_session, known)
    whole.warm_up()
    run(whole, 8, measure)
    expected = [t.configuration for t in run(whole, 4, measure)]
    for file in tmp_path.iterdir():
        file.unlink()
    first = warm(open_session, known)
    first.warm_up()
    run(first, 8, measure)
    searcher = AnnealingSearcher(problem, seed=0, trials=20)
    resumed = warm(open_session, known, searcher=searcher)
    resumed.restore()
    assert len(searcher.known.vectors) == 6 + 8
    assert [t.configuration for t in run(resumed, 4, measure)] == expected
    (tmp_path / STATE).unlink()  # without its state a searcher learns all from journal and warm start
    lost = AnnealingSearcher(problem, seed=0, trials=20)
    warm(open_session, known, searcher=lost).restore()
    assert len(lost.known.vectors) == 6 + 12


def test_proposals_are_tried_first_and_never_twice(open_session: Open, measure: Measure, problem: Problem) -> None:
    searcher = RandomSearcher(problem, seed=0, trials=20)
    twin = RandomSearcher(problem, seed=0, trials=20)
    third = [twin.ask(i) for i in range(3)][2]
    other = known_of(problem, measure, 1)[0].configuration
    assert third is not None
    session = open_session(searcher)
    session.proposals = (other, third)
    first, second = session.next(), session.next()
    assert first is not None
    assert second is not None
    assert (first.configuration, second.configuration) == (other, third)
    following = [session.next() for _ in range(5)]  # both proposals run; the searcher's third ask is one of them
    assert len({t.configuration for t in following if t} | {other, third}) == 7
    resumed = open_session(RandomSearcher(problem, seed=0, trials=20))
    resumed.proposals = (other, third)
    resumed.restore()
    again = [resumed.next() for _ in range(8)]
    assert [t.id for t in again if t] == list(range(8))
    assert len({t.configuration for t in again if t}) == 8


def test_earlier_trials_of_the_front_become_trials_of_the_run_once(open_session: Open, measure: Measure, problem: Problem) -> None:
    known = known_of(problem, measure, 12)
    ended: list[Trial] = []
    session = warm(open_session, known, ended=ended)
    session.warm_up()
    own = run(session, 3, measure)
    adopted = session.adopt()
    joint = ParetoFront(problem.objectives, [*own, *known])
    assert {t.configuration for t in session.front.trials} == {t.configuration for t in joint.trials}
    assert {t.configuration for t in adopted} == {t.configuration for t in joint.trials if t.id < 0}
    assert adopted
    assert [t.id for t in adopted] == list(range(3, 3 + len(adopted)))
    assert all(t.reason.endswith(" of a") and t.image_passes == 0 for t in adopted)
    assert ended[3:] == adopted
    assert {t.id for t in session.finalists(1)} >= {t.id for t in adopted}
    assert session.adopt() == []
    resumed = warm(open_session, known)
    resumed.restore()
    assert [t.configuration for t in resumed.ended] == [t.configuration for t in session.ended]
    assert resumed.adopt() == []


def test_earlier_trials_that_break_a_limit_of_here_are_not_taken_over(toy: Toy, measure: Measure, tmp_path: Path) -> None:
    free = toy()
    known = known_of(free, measure, 30)
    latencies = sorted(t.metrics["latency_s"] for t in known)
    for problem in (toy(latency_s=latencies[9]), toy(words=1.0), toy(accuracy=2.0)):
        searchers = (RandomSearcher(problem, seed=0, trials=5) for _ in range(2))
        one, two = searchers
        session = Session(
            problem, one, fallback=two, folder=tmp_path, total=5, seed=0, progress=Progress(), on_end=lambda trial: None, known=known
        )
        adopted = session.adopt()
        assert all(t.metrics["latency_s"] <= latencies[9] for t in adopted)
        assert bool(adopted) == (problem.objectives[1].limit is not None)
        (tmp_path / JOURNAL).unlink(missing_ok=True)
