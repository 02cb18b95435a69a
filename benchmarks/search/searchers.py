"""The searchers that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from autocomp import searchers

SEARCHERS: Mapping[str, Callable[..., searchers.Searcher]] = {
    "random": searchers.RandomSearcher,
    "uniform": searchers.UniformSearcher,
    "tpe": searchers.ParzenSearcher,
    "gp": searchers.GaussianSearcher,
    "nsga2": searchers.EvolutionSearcher,
    "nsga2 from uniform": partial(searchers.EvolutionSearcher, start=20),
    "knapsack": searchers.KnapsackSearcher,
    "amosa": partial(searchers.AnnealingSearcher, surrogate=False),
    "annealing": searchers.AnnealingSearcher,
    "rl": searchers.ReinforcementSearcher,
    "portfolio": searchers.PortfolioSearcher,
}

# Reinforcement learning with parts left out; an agent whose networks do not learn decides by chance.
RL_PARTS: Mapping[str, Callable[..., searchers.Searcher]] = {
    "rl": searchers.ReinforcementSearcher,
    "rl by chance": partial(searchers.ReinforcementSearcher, rate=0.0),
    "rl, nothing decided anew": partial(searchers.ReinforcementSearcher, generations=0),
    "rl, no refinement": partial(searchers.ReinforcementSearcher, rounds=0),
    "rl by chance, no refinement": partial(searchers.ReinforcementSearcher, rate=0.0, rounds=0),
    "rl, walks alone": partial(searchers.ReinforcementSearcher, generations=0, rounds=0),
    "rl by chance, walks alone": partial(searchers.ReinforcementSearcher, rate=0.0, generations=0, rounds=0),
}
