"""Searchers: who proposes what is tried next."""

from __future__ import annotations

from autocomp.searchers.amc import AmcSearcher
from autocomp.searchers.annealing import AnnealingSearcher
from autocomp.searchers.base import Searcher
from autocomp.searchers.feasible import find_feasible, uniform_start
from autocomp.searchers.haq import HaqSearcher
from autocomp.searchers.knapsack import KnapsackSearcher
from autocomp.searchers.portfolio import PortfolioSearcher
from autocomp.searchers.presets import make_reinforcement
from autocomp.searchers.random import RandomSearcher
from autocomp.searchers.reinforcement import ReinforcementSearcher
from autocomp.searchers.sampled import EvolutionSearcher, GaussianSearcher, ParzenSearcher
from autocomp.searchers.uniform import UniformSearcher

__all__ = [
    "AmcSearcher",
    "AnnealingSearcher",
    "EvolutionSearcher",
    "GaussianSearcher",
    "HaqSearcher",
    "KnapsackSearcher",
    "ParzenSearcher",
    "PortfolioSearcher",
    "RandomSearcher",
    "ReinforcementSearcher",
    "Searcher",
    "UniformSearcher",
    "find_feasible",
    "make_reinforcement",
    "uniform_start",
]
