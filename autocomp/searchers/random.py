"""Random search: the baseline that every other searcher must beat."""

from __future__ import annotations

from autocomp.problem import Problem
from autocomp.searchers.base import BATCH, VectorSearcher
from autocomp.space import Vectors
from autocomp.trial import Trial


class RandomSearcher(VectorSearcher):
    """Every option of every knob is equally likely; see `VectorSearcher` for the arguments."""

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int = 0) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=start)

    def propose(self, trial_id: int) -> Vectors | None:
        """The first of a batch of random vectors that may be asked."""
        return self.first_fresh(self.space.sample(self.generator, BATCH))

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Random search learns nothing."""
