"""What guided searchers share: every trial so far, a surrogate of what must be measured, and the gain that a candidate promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autocomp.choice import Configuration
from autocomp.objective import MEASURED_METRICS
from autocomp.pareto import nondominated
from autocomp.problem import Problem
from autocomp.searchers.base import Floats, VectorSearcher, outcome, scaled
from autocomp.searchers.composition import Composition, Features
from autocomp.searchers.feasible import single_changes
from autocomp.searchers.gain import GainModel
from autocomp.searchers.surrogate import Surrogate
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

EFFORT = 60_000  # layers that are priced for one ask, about: a fraction of a second
FEWEST, MOST = 1_024, 4_096  # candidates that this may come down to
CURIOSITY = 0.2  # share of a guess's deviation that counts for its gain: what promises most of thousands is often what is guessed wrong
START = 4  # uniform configurations that are asked first where no profile was measured


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected of ``b`` candidates before they are tried.

    Attributes:
        vectors: the candidates, ``b x k``, canonical.
        values: the goals in units of the reference box, ``b x m``, less is better; costs are exact, measured goals are guesses.
        deviations: of the first measured goal, in the same unit, as far as they count for the gain (``b``).
        violations: how far a candidate is from what limits and device allow; 0 where it is feasible on paper (``b``).
        metrics: everything that is known on paper (``b`` each).
    """

    vectors: Vectors
    values: Floats
    deviations: Floats
    violations: Floats
    metrics: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, chosen: NDArray[Any]) -> Forecast:
        """Some of the candidates."""
        metrics = {name: column[chosen] for name, column in self.metrics.items()}
        return Forecast(self.vectors[chosen], self.values[chosen], self.deviations[chosen], self.violations[chosen], metrics)

    @classmethod
    def joined(cls, several: Sequence[Forecast]) -> Forecast:
        """All candidates of several forecasts, one after the other."""
        names = ("vectors", "values", "deviations", "violations")
        vectors, values, deviations, violations = (np.concatenate([getattr(f, name) for f in several]) for name in names)
        metrics = {name: np.concatenate([f.metrics[name] for f in several]) for name in several[0].metrics}
        return cls(vectors, values, deviations, violations, metrics)


class GuidedSearcher(VectorSearcher):
    """A searcher that looks before it asks.

    Args:
        problem, seed, trials: see `VectorSearcher`.
        start: number of uniform configurations that are asked first; None for as many as are useful.
        surrogate: whether measured goals are guessed; without, a subclass must do with exact prices and the trials.
    """

    uses_profile = True

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int | None = None, surrogate: bool = True) -> None:
        guided = surrogate and start is None
        few = 0 if problem.sensitivity is not None else START
        super().__init__(problem, seed=seed, trials=trials, start=few if guided else start)
        self.measured = [i for i, goal in enumerate(problem.goals) if goal.metric in MEASURED_METRICS]
        self.composition = Composition(problem)
        self.surrogates = [Surrogate(self.composition, problem.goals[i].metric) for i in self.measured] if surrogate else []
        self.vectors = np.zeros((0, len(self.space.knobs)), np.int64)
        self.values = np.zeros((0, len(problem.goals)))  # of complete trials; worse than everything for the others
        self.readings = np.zeros((0, len(self.measured)))  # the measured goals as they were measured
        self.guesses = np.zeros((0, len(self.measured), 2))  # mean and deviation of what was expected of them
        self.fidelities = np.zeros(0)
        self.made_of = self._features(self.vectors)
        self.looks = int(np.clip(EFFORT // max(len(self.space.layers), 1), FEWEST, MOST))  # candidates that an ask may look at
        self.pending: dict[int, Vectors] = {}
        self._is_stale = False

    # what is known

    @property
    def archive(self) -> Vectors:
        """Rows of the trials that no other trial dominates."""
        return np.flatnonzero(nondominated(self.values))

    def ask(self, trial_id: int) -> Configuration | None:
        """See `Searcher.ask`."""
        configuration = super().ask(trial_id)
        if configuration is not None:
            self.pending[trial_id] = self.space.encode([configuration])[0]
        return configuration

    def expect(self, trial_id: int, vector: Vectors) -> None:
        """Count on a trial that someone else asked for; it is not asked again."""
        self.asked[vector.tobytes()] = None
        self.pending[trial_id] = vector

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Remember a trial with metrics; a pruned one teaches the surrogate and joins no front."""
        is_complete = trial.status is Status.COMPLETE
        value = outcome(self.problem, trial) if is_complete else np.full(len(self.problem.goals), np.nan)
        readings = [trial.metrics.get(self.problem.goals[i].metric, np.nan) for i in self.measured]
        guess, made_of = np.full((1, len(self.measured), 2), np.nan), self._features(vector[None])
        for column, surrogate in enumerate(self._fitted() if trial.id in self.pending else ()):  # others were not forecast
            guess[0, column] = np.concatenate(surrogate.predict(made_of))
        self.made_of = self.made_of + made_of
        self.guesses = np.concatenate([self.guesses, guess])
        self.vectors = np.concatenate([self.vectors, vector[None]])
        self.values = np.concatenate([self.values, value[None]])
        self.readings = np.concatenate([self.readings, np.array([readings], np.float64).reshape(1, -1)])
        self.fidelities = np.append(self.fidelities, trial.fidelity)
        self._is_stale = True

    def forget(self, trial_id: int) -> None:
        """An ended trial is no longer pending."""
        self.pending.pop(trial_id, None)

    # what is expected

    def forecast(self, vectors: Vectors) -> Forecast:
        """What is expected of ``b x k`` canonical vectors."""
        metrics, violations = self.problem.assess(vectors)
        deviations = np.zeros(len(vectors))
        guesses: dict[str, Floats] = {}
        made_of = self.composition.features(vectors, metrics)
        for place, surrogate in zip(self.measured, self._fitted(), strict=False):
            guesses[surrogate.metric], spread = surrogate.predict(made_of)
            if place == self.measured[0]:
                deviations = CURIOSITY * spread / abs(self._span(place))
        return Forecast(vectors, scaled(self.problem, {**metrics, **guesses}), deviations, violations, metrics)

    def _features(self, vectors: Vectors) -> Features:
        return self.composition.features(vectors, self.problem.paper_metrics(vectors)[0])

    def _span(self, place: int) -> float:
        """The reference box's extent along a measured goal, in the metric's unit."""
        goal = self.problem.goals[place]
        ideal = self.problem.baseline[goal.metric] if goal.direction == "max" else 0.0
        return self.problem.reference_point[goal.metric] - ideal

    def _fitted(self) -> list[Surrogate]:
        """The surrogates, having seen every trial."""
        if self._is_stale:
            for column, surrogate in enumerate(self.surrogates):
                surrogate.fit(self.made_of, self.fidelities, self.readings[:, column], self.guesses[:, column])
            self._is_stale = False
        return self.surrogates

    def gain_model(self) -> GainModel:
        """The landscape of what is known and of what is under way, as it is expected to end."""
        known = self.values[self.archive]
        if self.pending:
            known = np.concatenate([known, self.forecast(np.stack(list(self.pending.values()))).values])
        if not self.measured:
            return GainModel(known)
        place = self.measured[0]
        return GainModel(known, guessed=place, ceiling=self._ceiling(place))

    def most_promising(self, met: Forecast, *, rounds: int, share: float = 0.4) -> Vectors | None:
        """The candidate of the greatest expected gain that was not asked, refined by single changes; None if all were asked.

        Args:
            met: the candidates.
            rounds: of refinement.
            share: of the `looks` that refinement may take; where a vector has more single changes, some of them are drawn.
        """
        gain = self.gain_model()
        chosen, worth = self._first_fresh(met, gain(met.values, met.deviations))
        most = max(int(share * self.looks / max(rounds, 1)), 1)
        for _ in range(rounds):
            if chosen is None:
                break
            changes = single_changes(self.space, chosen)
            around = self.forecast(changes if len(changes) <= most else self.generator.choice(changes, most, replace=False))
            around = around.rows(around.violations == 0)
            better, more = self._first_fresh(around, gain(around.values, around.deviations))
            if better is not None and more > worth:
                chosen, worth = better, more
            elif len(changes) <= most:
                break
        return chosen

    def _first_fresh(self, candidates: Forecast, gains: Floats) -> tuple[Vectors | None, float]:
        for place in np.argsort(-gains, kind="stable"):
            if candidates.vectors[place].tobytes() not in self.asked:
                return candidates.vectors[place], float(gains[place])
        return None, 0.0

    def _ceiling(self, place: int) -> float:
        """The worst value of a measured goal that its limit allows, in units of the box."""
        goal = self.problem.goals[place]
        if goal.limit is None:
            return 1.0
        return min(1.0, float(scaled(self.problem, {goal.metric: goal.limit})[..., place]))

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        arrays = ("vectors", "values", "readings", "guesses", "fidelities")
        pending = {number: torch.from_numpy(vector.copy()) for number, vector in self.pending.items()}
        return super().state_dict() | {name: torch.from_numpy(getattr(self, name).copy()) for name in arrays} | {"pending": pending}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        for name in ("vectors", "values", "readings", "guesses", "fidelities"):
            setattr(self, name, state[name].numpy().copy())
        self.pending = {number: vector.numpy().copy() for number, vector in state["pending"].items()}
        self.made_of = self._features(self.vectors)
        self._is_stale = bool(len(self.vectors))
