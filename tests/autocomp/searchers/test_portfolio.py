from __future__ import annotations

from collections.abc import Callable

import pytest

from autocomp.errors import UnknownNameError
from autocomp.problem import Problem
from autocomp.searchers import PortfolioSearcher, Searcher
from autocomp.searchers.portfolio import LEAST
from autocomp.trial import Trial

Toy = Callable[..., Problem]
Play = Callable[[Searcher, Problem, range], list[Trial]]
QUICK = {"annealing": {"chains": 8, "steps": 4, "rounds": 1}, "rl": {"proposals": 16, "steps": 1, "warm_up": 1, "memory": 64, "rounds": 1}}


def test_members_know_every_trial_and_what_the_other_has_under_way(toy: Toy, play: Play) -> None:
    problem = toy(3)
    searcher = PortfolioSearcher(problem, seed=0, trials=20, members=QUICK)
    trials = play(searcher, problem, range(10))
    for number in (10, 11):
        searcher.ask(number)
    for member in searcher.members.values():
        assert len(member.known.vectors) == len(trials) == 10
        assert sorted(member.known.pending) == [10, 11]
        assert set(member.asked) == set(searcher.asked)


def test_shares_follow_what_a_member_contributed_and_nobody_is_left_out(toy: Toy) -> None:
    searcher = PortfolioSearcher(toy(2), seed=0, trials=20, members=QUICK)
    assert searcher.shares == {"annealing": 0.5, "rl": 0.5}
    searcher.credits = {"annealing": 3.0, "rl": 1.0}
    # a fifth for each, and of the other three fifths three quarters
    assert searcher.shares == pytest.approx({"annealing": 0.2 + 0.6 * 0.75, "rl": 0.2 + 0.6 * 0.25})
    searcher.credits = {"annealing": 0.0, "rl": 1.0}
    assert searcher.shares["annealing"] == pytest.approx(LEAST)


def test_credit_is_the_hypervolume_that_a_proposal_adds(toy: Toy, play: Play) -> None:
    problem = toy(3)
    searcher = PortfolioSearcher(problem, seed=0, trials=20, members=QUICK)
    play(searcher, problem, range(1))
    assert sum(searcher.credits.values()) > 0
    assert sorted(searcher.credits.values())[0] == 0  # only one was asked


def test_a_setting_of_an_unknown_member_is_refused(toy: Toy) -> None:
    with pytest.raises(UnknownNameError, match="'tabu'"):
        PortfolioSearcher(toy(2), seed=0, trials=20, members={"tabu": {}})
