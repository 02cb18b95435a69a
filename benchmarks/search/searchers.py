"""The searchers that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from autocomp import searchers

SEARCHERS: Mapping[str, Callable[..., searchers.Searcher]] = {
    "random": searchers.RandomSearcher,
    "uniform": searchers.UniformSearcher,
    "tpe": searchers.ParzenSearcher,
    "nsga2": searchers.EvolutionSearcher,
    "nsga2 from uniform": partial(searchers.EvolutionSearcher, start=20),
    "knapsack": searchers.KnapsackSearcher,
    "amosa": partial(searchers.AnnealingSearcher, surrogate=False),
    "annealing": searchers.AnnealingSearcher,
    "rl": searchers.ReinforcementSearcher,
    "rl, no refinement": partial(searchers.ReinforcementSearcher, rounds=0),
    "portfolio": searchers.PortfolioSearcher,
}
