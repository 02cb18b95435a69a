"""NSGA-II (Deb 2002) as Optuna implements it, behind ask and tell: the evolutionary baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from autocomp.choice import Configuration
from autocomp.problem import Problem
from autocomp.searchers.base import VectorSearcher, outcome
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

DRAWS = 4  # children that are drawn before one is mended


class EvolutionSearcher(VectorSearcher):
    """Optuna's NSGA-II; a child that is infeasible or known is replaced by a feasible new vector close to it.

    Optuna ranks complete trials only: pruned, infeasible and failed ones leave the population. Its own state is not ours
    to save, so the history of asks and tells is saved and played again.

    Args:
        problem, seed, trials, start: see `VectorSearcher`.
        population: individuals of one generation.
    """

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int = 0, population: int = 20) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=start)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = NSGAIISampler(population_size=population, seed=seed)
        self.study = optuna.create_study(directions=["minimize"] * len(problem.goals), sampler=sampler)
        options = zip(self.space.names, self.space.cardinalities.tolist(), strict=True)
        self.distributions = {name: IntDistribution(0, count - 1) for name, count in options}
        self.numbers: dict[int, int] = {}  # running trial -> Optuna's number
        self.history: list[dict[str, Any]] = []

    def ask(self, trial_id: int) -> Configuration | None:
        """See `Searcher.ask`."""
        self.history.append({"ask": trial_id})
        return super().ask(trial_id)

    def tell(self, trial: Trial) -> None:
        """See `Searcher.tell`."""
        self.history.append({"tell": trial.to_record()})
        super().tell(trial)

    def propose(self, trial_id: int) -> Vectors | None:
        """The first child that may be asked."""
        for _ in range(DRAWS):
            child = self.study.ask(self.distributions)
            vector = self._vector(child.params)
            if len(self.fresh(vector[None])):
                self.numbers[trial_id] = child.number
                return vector
            self.study.tell(child, state=TrialState.FAIL)
        return self.near(vector)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Enter a complete trial in the population, whoever proposed it."""
        if trial.status is Status.COMPLETE:
            number = self.numbers.pop(trial.id, None)
            if number is None:
                self.study.enqueue_trial(dict(zip(self.distributions, vector.tolist(), strict=True)))
                number = self.study.ask(self.distributions).number
            self.study.tell(number, outcome(self.problem, trial).tolist())

    def forget(self, trial_id: int) -> None:
        """Drop a child that did not complete."""
        number = self.numbers.pop(trial_id, None)
        if number is not None:
            self.study.tell(number, state=TrialState.FAIL)

    def _vector(self, params: Mapping[str, int]) -> Vectors:
        vector = np.array([params[name] for name in self.distributions], np.int64)
        return self.space.canonical(vector)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {"history": list(self.history)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        for event in state["history"]:
            if "ask" in event:
                self.ask(event["ask"])
            else:
                self.tell(Trial.from_record(event["tell"]))
