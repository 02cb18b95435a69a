"""Uniform sweep: all layers alike, a grid over sparsity, rank and bits that gets ever finer; a baseline that is hard to beat."""

from __future__ import annotations

from autocomp.problem import Problem
from autocomp.searchers.base import VectorSearcher
from autocomp.searchers.feasible import uniform_start
from autocomp.space import Vectors
from autocomp.trial import Trial


class UniformSearcher(VectorSearcher):
    """Asks for `uniform_start` and nothing else, as long as there is a new uniform configuration.

    Args:
        problem, seed, trials: see `VectorSearcher`.
    """

    def __init__(self, problem: Problem, *, seed: int, trials: int) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=0)
        self.planned = uniform_start(problem, self.trials)
        self.finest = False  # whether a finer grid holds nothing new

    def propose(self, trial_id: int) -> Vectors | None:
        """The next uniform vector that was not asked; where the planned ones are used up, the grid is refined."""
        new = self._next_planned()
        while new is None and not self.finest:
            finer = uniform_start(self.problem, 2 * max(len(self.planned), self.trials))  # begins with those that were planned
            self.finest = len(finer) == len(self.planned)
            self.planned = finer
            new = self._next_planned()
        return new

    def _next_planned(self) -> Vectors | None:
        return next((vector for vector in self.planned if vector.tobytes() not in self.asked), None)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """A sweep learns nothing."""
