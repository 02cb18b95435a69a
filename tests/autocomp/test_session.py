from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocomp.choice import Configuration
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


def test_finalists_are_the_front_and_the_ranks_behind_it(open_session: Open, measure: Measure) -> None:
    session = open_session()
    run(session, 12, measure)
    front = {t.id for t in session.front.trials}
    assert {t.id for t in session.finalists(1)} == front
    more = session.finalists(len(front) + 2)
    assert {t.id for t in more[: len(front)]} == front
    assert len(more) == len(front) + 2
    assert len(session.finalists(100)) == 12


def test_a_failed_trial_is_counted_but_not_measured(open_session: Open) -> None:
    session = open_session()
    trial = session.next()
    assert trial is not None
    session.finish(replace(trial, status=Status.FAILED, reason="boom"))
    assert session.remaining == 19
    assert session.front.trials == ()
