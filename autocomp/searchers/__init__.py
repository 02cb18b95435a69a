"""Searchers: who proposes what is tried next."""

from __future__ import annotations

from autocomp.searchers.annealing import AnnealingSearcher
from autocomp.searchers.base import Searcher
from autocomp.searchers.evolution import EvolutionSearcher
from autocomp.searchers.feasible import find_feasible, uniform_start
from autocomp.searchers.random import RandomSearcher
from autocomp.searchers.reinforcement import ReinforcementSearcher

__all__ = [
    "AnnealingSearcher",
    "EvolutionSearcher",
    "RandomSearcher",
    "ReinforcementSearcher",
    "Searcher",
    "find_feasible",
    "uniform_start",
]
