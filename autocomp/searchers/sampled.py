"""Optuna's samplers behind ask and tell: the baselines that everyone knows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState

from autocomp.choice import Configuration
from autocomp.problem import Problem
from autocomp.searchers.arguments import at_least
from autocomp.searchers.base import VectorSearcher, outcome
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

DRAWS = 4  # proposals that are drawn before one is mended


class SampledSearcher(VectorSearcher):
    """What an Optuna sampler proposes; what is infeasible or known is replaced by a feasible new vector close to it.

    Optuna learns from complete trials only: pruned, infeasible and failed ones leave its study. Its own state is not ours
    to save, so the history of asks and tells is saved and played again.

    Args:
        problem, seed, trials, start: see `VectorSearcher`.
    """

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int | None = 0) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=start)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(directions=["minimize"] * len(problem.goals), sampler=self.sampler(seed))
        options = zip(self.space.names, self.space.cardinalities.tolist(), strict=True)
        self.distributions = {name: IntDistribution(0, count - 1) for name, count in options}
        self.numbers: dict[int, int] = {}  # running trial -> Optuna's number
        self.history: list[dict[str, Any]] = []

    @abstractmethod
    def sampler(self, seed: int) -> BaseSampler:
        """Makes the sampler."""

    def ask(self, trial_id: int) -> Configuration | None:
        """See `Searcher.ask`."""
        self.history.append({"ask": trial_id})
        return super().ask(trial_id)

    def tell(self, trial: Trial) -> None:
        """See `Searcher.tell`."""
        self.history.append({"tell": trial.to_record()})
        super().tell(trial)

    def propose(self, trial_id: int) -> Vectors | None:
        """The first of some proposals that may be asked."""
        for _ in range(DRAWS):
            proposal = self.study.ask(self.distributions)
            vector = self._vector(proposal.params)
            if len(self.fresh(vector[None])):
                self.numbers[trial_id] = proposal.number
                return vector
            self.study.tell(proposal, state=TrialState.FAIL)
        return self.near(vector)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Enter a complete trial in the study, whoever proposed it."""
        if trial.status is Status.COMPLETE:
            number = self.numbers.pop(trial.id, None)
            if number is None:
                self.study.enqueue_trial(dict(zip(self.distributions, vector.tolist(), strict=True)))
                number = self.study.ask(self.distributions).number
            self.study.tell(number, outcome(self.problem, trial).tolist())

    def forget(self, trial_id: int) -> None:
        """Drop a proposal that did not complete."""
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


class EvolutionSearcher(SampledSearcher):
    """NSGA-II (Deb 2002).

    Args:
        problem, seed, trials, start: see `VectorSearcher`.
        population: individuals of one generation.
    """

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int = 0, population: int = 20) -> None:
        at_least(2, population=population)
        self.population = population
        super().__init__(problem, seed=seed, trials=trials, start=start)

    def sampler(self, seed: int) -> BaseSampler:
        """See `SampledSearcher.sampler`."""
        return NSGAIISampler(population_size=self.population, seed=seed)


class ParzenSearcher(SampledSearcher):
    """The tree-structured Parzen estimator for several objectives (Ozaki 2022)."""

    def sampler(self, seed: int) -> BaseSampler:
        """See `SampledSearcher.sampler`."""
        return TPESampler(seed=seed)


class GaussianSearcher(SampledSearcher):
    """A Gaussian process over the knobs; takes many seconds for an ask from some twenty knobs on, so that it suits small spaces."""

    def sampler(self, seed: int) -> BaseSampler:
        """See `SampledSearcher.sampler`."""
        return GPSampler(seed=seed)
