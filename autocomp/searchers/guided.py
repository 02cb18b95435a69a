"""What guided searchers share: they look at thousands of candidates before they ask for the one that promises most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autocomp.problem import Problem
from autocomp.searchers.base import Floats, VectorSearcher
from autocomp.searchers.feasible import single_changes
from autocomp.searchers.knowledge import Forecast, Knowledge
from autocomp.space import Vectors
from autocomp.trial import Trial

EFFORT = 60_000  # layers that are priced for one ask, about: a fraction of a second
FEWEST, MOST = 1_024, 4_096  # candidates that this may come down to
START = 4  # uniform configurations that are asked first where no profile was measured


class GuidedSearcher(VectorSearcher):
    """A searcher that looks before it asks.

    Args:
        problem, seed, trials: see `VectorSearcher`.
        start: number of uniform configurations that are asked first; None for as many as are useful.
        surrogate: whether measured goals are guessed; without, a subclass must do with exact prices and the trials.
        known: what is known, if others know it, too; whoever shares it keeps it up to date, for all of them once.
    """

    uses_profile = True

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        start: int | None = None,
        surrogate: bool = True,
        known: Knowledge | None = None,
    ) -> None:
        guided = surrogate and start is None
        few = 0 if problem.sensitivity is not None else START
        super().__init__(problem, seed=seed, trials=trials, start=few if guided else start)
        self.is_sharing = known is not None
        self.known = known or Knowledge(problem, surrogate=surrogate)
        self.looks = int(np.clip(EFFORT // max(len(self.space.layers), 1), FEWEST, MOST))  # candidates that an ask may look at

    def expect(self, trial_id: int, vector: Vectors) -> None:
        """See `VectorSearcher.expect`."""
        super().expect(trial_id, vector)
        self.known.pending[trial_id] = vector

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Remember a trial with metrics and react to it."""
        self.known.learn(trial, vector)
        self.react(trial, vector)

    def react(self, trial: Trial, vector: Vectors) -> None:
        """Take in a trial that is the latest of what is known."""

    def forget(self, trial_id: int) -> None:
        """An ended trial is no longer pending."""
        self.known.pending.pop(trial_id, None)

    def most_promising(self, met: Forecast, *, rounds: int, share: float = 0.4) -> Vectors | None:
        """The candidate of the greatest expected gain that was not asked, refined by single changes; None if all were asked.

        Args:
            met: the candidates.
            rounds: of refinement.
            share: of the `looks` that refinement may take; where a vector has more single changes, some of them are drawn.
        """
        gain = self.known.gain_model()
        chosen, worth = self._first_fresh(met, gain(met.values, met.deviations))
        most = max(int(share * self.looks / max(rounds, 1)), 1)
        for _ in range(rounds):
            if chosen is None:
                break
            changes = single_changes(self.space, chosen)
            around = self.known.forecast(changes if len(changes) <= most else self.generator.choice(changes, most, replace=False))
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

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return super().state_dict() | ({} if self.is_sharing else {"known": self.known.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        if not self.is_sharing:
            self.known.load_state_dict(state["known"])
