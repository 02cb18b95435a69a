"""What guided searchers know: every trial so far, what is under way, and a surrogate of what must be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autocomp.objective import MEASURED_METRICS
from autocomp.pareto import nondominated
from autocomp.problem import Problem
from autocomp.searchers.base import Floats, outcome, scaled
from autocomp.searchers.composition import Composition
from autocomp.searchers.feasible import first_places
from autocomp.searchers.gain import GainModel
from autocomp.searchers.surrogate import Surrogate
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

CURIOSITY = 0.2  # share of a guess's deviation that counts for its gain: what promises most of thousands is often what is guessed wrong


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected of ``b`` candidates before they are tried.

    Attributes:
        vectors: the candidates, ``b x k``, canonical.
        values: the goals in units of the reference box, ``b x m``, less is better; costs are exact (sizes: as expected), measured goals are
            guesses.
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

    def rows(self, chosen: NDArray[Any] | slice) -> Forecast:
        """Some of the candidates."""
        metrics = {name: column[chosen] for name, column in self.metrics.items()}
        return Forecast(self.vectors[chosen], self.values[chosen], self.deviations[chosen], self.violations[chosen], metrics)

    def distinct(self) -> Forecast:
        """Each candidate once."""
        return self.rows(first_places(self.vectors))

    @classmethod
    def joined(cls, several: Sequence[Forecast]) -> Forecast:
        """All candidates of several forecasts, one after the other."""
        names = ("vectors", "values", "deviations", "violations")
        vectors, values, deviations, violations = (np.concatenate([getattr(f, name) for f in several]) for name in names)
        metrics = {name: np.concatenate([f.metrics[name] for f in several]) for name in several[0].metrics}
        return cls(vectors, values, deviations, violations, metrics)


class Knowledge:
    """Trials and what they let expect; several searchers may share one.

    Args:
        problem: what is searched.
        surrogate: whether measured goals are guessed; without, candidates are known by their exact prices alone.

    Attributes:
        vectors: of the trials that ended with metrics, ``n x k``.
        values: what they are worth, ``n x m``; NaN, worse than everything, for those that did not complete.
        readings: their measured goals as they were measured.
        guesses: mean and deviation of what was expected of these, ``n x measured x 2``.
        fidelities: epochs of training, ``n``.
        pending: vectors of the trials under way.
    """

    def __init__(self, problem: Problem, *, surrogate: bool = True) -> None:
        self.problem = problem
        self.measured = [i for i, goal in enumerate(problem.goals) if goal.metric in MEASURED_METRICS]
        self.composition = Composition(problem)
        self.surrogates = [Surrogate(self.composition, problem.goals[i].metric) for i in self.measured] if surrogate else []
        self.vectors = np.zeros((0, len(problem.space.knobs)), np.int64)
        self.values = np.zeros((0, len(problem.goals)))
        self.readings = np.zeros((0, len(self.measured)))
        self.guesses = np.zeros((0, len(self.measured), 2))
        self.fidelities = np.zeros(0)
        self.pending: dict[int, Vectors] = {}
        self._is_stale = False
        self._ended: Floats | None = None  # what ended trials are worth, once it was asked for

    @property
    def archive(self) -> Vectors:
        """Rows of the trials that no other trial dominates."""
        return np.flatnonzero(nondominated(self.values))

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Remember a trial with metrics; a pruned one teaches the surrogate and joins no front."""
        is_complete = trial.status is Status.COMPLETE
        value = outcome(self.problem, trial) if is_complete else np.full(len(self.problem.goals), np.nan)
        readings = [trial.metrics.get(self.problem.goals[i].metric, np.nan) for i in self.measured]
        guess = np.full((1, len(self.measured), 2), np.nan)
        for column, surrogate in enumerate(self._fitted() if trial.id in self.pending else ()):  # others were not forecast
            guess[0, column] = np.concatenate(surrogate.predict(self.composition.features(vector[None])))
        self.guesses = np.concatenate([self.guesses, guess])
        self.vectors = np.concatenate([self.vectors, vector[None]])
        self.values = np.concatenate([self.values, value[None]])
        self.readings = np.concatenate([self.readings, np.array([readings], np.float64).reshape(1, -1)])
        self.fidelities = np.append(self.fidelities, trial.fidelity)
        self._is_stale, self._ended = True, None

    def forecast(self, vectors: Vectors) -> Forecast:
        """What is expected of ``b x k`` canonical vectors."""
        return self._expected(vectors, *self.problem.assess(vectors))

    def again(self, earlier: Forecast) -> Forecast:
        """What is expected now; prices, which do not change, are not asked for anew."""
        return self._expected(earlier.vectors, earlier.metrics, earlier.violations)

    def _expected(self, vectors: Vectors, metrics: Mapping[str, Floats], violations: Floats) -> Forecast:
        deviations = np.zeros(len(vectors))
        guesses: dict[str, Floats] = {}
        made_of = self.composition.features(vectors)
        for place, surrogate in zip(self.measured, self._fitted(), strict=False):
            guesses[surrogate.metric], spread = surrogate.predict(made_of, among_trials=True)
            if place == self.measured[0]:
                deviations = CURIOSITY * spread / abs(self._span(place))
        return Forecast(vectors, scaled(self.problem, {**metrics, **guesses}), deviations, violations, metrics)

    def landmarks(self) -> Floats:
        """What the trials are worth and, as it is expected to end, what is under way, ``n x m``.

        Measured goals are as the surrogate has them: a trial that was lucky is no reason to try others like it until one is luckier.
        """
        if self._ended is None:
            self._ended = self._expected_of_ended()
        pending = [self.forecast(np.stack(list(self.pending.values()))).values] if self.pending else []
        return np.concatenate([self._ended, *pending])

    def _expected_of_ended(self) -> Floats:
        """What is expected of the trials that ended within the box, ``n x m``."""
        values = self.values.copy()
        inside = np.asarray((values < 1).all(axis=1))
        for place, surrogate in zip(self.measured, self._fitted(), strict=False):
            goal = self.problem.goals[place]
            guess = surrogate.predict(self.composition.features(self.vectors[inside]))[0]
            values[inside, place] = scaled(self.problem, {goal.metric: guess})[:, place]
        return np.asarray(values[inside])

    def gain_model(self, landmarks: Floats | None = None) -> GainModel:
        """The landscape of the `landmarks`, or of others."""
        known = self.landmarks() if landmarks is None else landmarks
        if not self.measured:
            return GainModel(known)
        place = self.measured[0]
        return GainModel(known, guessed=place, ceiling=self._ceiling(place))

    def _span(self, place: int) -> float:
        """The reference box's extent along a measured goal, in the metric's unit."""
        goal = self.problem.goals[place]
        ideal = self.problem.baseline[goal.metric] if goal.direction == "max" else 0.0
        return self.problem.reference_point[goal.metric] - ideal

    def _ceiling(self, place: int) -> float:
        """The worst value of a measured goal that its limit allows, in units of the box."""
        goal = self.problem.goals[place]
        if goal.limit is None:
            return 1.0
        return min(1.0, float(scaled(self.problem, {goal.metric: goal.limit})[..., place]))

    def _fitted(self) -> list[Surrogate]:
        """The surrogates, having seen every trial."""
        if self._is_stale:
            for column, surrogate in enumerate(self.surrogates):
                made_of = self.composition.features(self.vectors)
                surrogate.fit(made_of, self.fidelities, self.readings[:, column], self.guesses[:, column])
            self._is_stale = False
        return self.surrogates

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learnt."""
        arrays = ("vectors", "values", "readings", "guesses", "fidelities")
        pending = {number: torch.from_numpy(vector.copy()) for number, vector in self.pending.items()}
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in arrays} | {"pending": pending}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name in ("vectors", "values", "readings", "guesses", "fidelities"):
            setattr(self, name, state[name].numpy().copy())
        self.pending = {number: vector.numpy().copy() for number, vector in state["pending"].items()}
        self._is_stale, self._ended = bool(len(self.vectors)), None
