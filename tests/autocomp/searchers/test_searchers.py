"""What every searcher must do, run on each of them; and that those that learn are better than chance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from autocomp import searchers
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.searchers import RandomSearcher, Searcher
from autocomp.testing import SearcherContract
from autocomp.trial import Trial

Toy = Callable[..., Problem]
Play = Callable[[Searcher, Problem, range], list[Trial]]
ANNEALING: dict[str, Any] = {"chains": 8, "steps": 4, "rounds": 2}  # a fraction of the usual effort: it is about manners, not about quality
RL: dict[str, Any] = {"proposals": 16, "steps": 2, "warm_up": 4, "memory": 64, "generations": 1, "children": 8, "rounds": 2}
SEARCHERS: dict[str, Callable[..., Searcher]] = {
    "random": RandomSearcher,
    "uniform": searchers.UniformSearcher,
    "nsga2": searchers.EvolutionSearcher,
    "tpe": searchers.ParzenSearcher,
    "knapsack": searchers.KnapsackSearcher,
    "annealing": partial(searchers.AnnealingSearcher, **ANNEALING),
    "amosa": partial(searchers.AnnealingSearcher, surrogate=False),
    "rl": partial(searchers.ReinforcementSearcher, **RL),
    "rl on trials": partial(searchers.ReinforcementSearcher, surrogate=False, steps=2),
    "portfolio": partial(searchers.PortfolioSearcher, members={"annealing": ANNEALING, "rl": RL}),
}


class TestContract(SearcherContract):
    @pytest.fixture(params=SEARCHERS)
    def make(self, request: pytest.FixtureRequest) -> Callable[..., Searcher]:
        return SEARCHERS[request.param]


def hypervolume(problem: Problem, trials: list[Trial]) -> float:
    return ParetoFront(problem.objectives, trials).hypervolume(problem.reference_point)


@pytest.mark.parametrize(
    ("name", "arguments"), [("annealing", {}), ("amosa", {}), ("rl", {}), ("rl on trials", {"start": 0}), ("nsga2", {"population": 8})]
)
def test_a_learning_searcher_beats_chance(name: str, arguments: dict[str, Any], toy: Toy, play: Play) -> None:
    problem, trials = toy(), 40

    def mean(make: Callable[..., Searcher], **options: Any) -> float:
        runs = [play(make(problem, seed=seed, trials=trials, **options), problem, range(trials)) for seed in range(2)]
        return float(np.mean([hypervolume(problem, run) for run in runs]))

    assert mean(SEARCHERS[name], **arguments) > 1.15 * mean(RandomSearcher)
