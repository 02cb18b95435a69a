"""What guided searchers share: they look at thousands of candidates before they ask for the one that promises most."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from autocomp.problem import Problem
from autocomp.searchers.arguments import at_least
from autocomp.searchers.base import Floats, VectorSearcher
from autocomp.searchers.feasible import combined_changes, double_changes, single_changes
from autocomp.searchers.gain import GainModel
from autocomp.searchers.knowledge import Forecast, Knowledge
from autocomp.space import Vectors
from autocomp.trial import Trial

EFFORT = 60_000  # layers that are priced for one ask, about: a fraction of a second
FEWEST, MOST = 1_024, 4_096  # candidates that this may come down to
AHEAD = 16  # one more proposal of a look for so many trials under way
COMBINED = 16  # combinations of changes that are looked at in a round of refinement
SHORTLIST = 8  # candidates that are looked at for each further proposal
REFINING = 0.4  # share of the looks that refinement may take
TOGETHER = 64  # candidates; looking at fewer takes hardly less time
ROUNDS = 12  # that build on each other, unless too few candidates are left for each
START = 4  # uniform configurations that are asked first where no profile was measured


def useful_rounds(looks: float) -> int:
    """Into how many rounds that build on each other so many looks at candidates are best divided."""
    return max(min(ROUNDS, int(looks / TOGETHER)), 1)


class GuidedSearcher(VectorSearcher):
    """A searcher that looks before it asks.

    Args:
        problem, seed, trials: see `VectorSearcher`.
        start: number of uniform configurations that are asked first; None for as many as are useful.
        surrogate: whether measured goals are guessed; without, a subclass must do with exact prices and the trials.
        known: what is known, if others know it, too; whoever shares it keeps it up to date, for all of them once.
        rounds: of refinement; None for as many as are useful.
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
        rounds: int | None = None,
    ) -> None:
        at_least(0, start=start, rounds=rounds)
        guided = surrogate and start is None
        few = 0 if problem.sensitivity is not None else START
        super().__init__(problem, seed=seed, trials=trials, start=few if guided else start)
        self.is_sharing = known is not None
        self.known = known or Knowledge(problem, surrogate=surrogate)
        self.ready: list[Vectors] = []  # proposals that were not asked yet
        self.looks = int(np.clip(EFFORT // max(len(self.space.layers), 1), FEWEST, MOST))  # candidates that an ask may look at
        self.rounds = useful_rounds(REFINING * self.looks) if rounds is None else rounds

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

    def look(self) -> Forecast:
        """Candidates that are worth a closer look; of a searcher with a surrogate."""
        raise NotImplementedError

    def anchors(self) -> Sequence[Forecast]:
        """Trials, one by one, that refinement begins at, too; a searcher needs some whose looks do not begin at trials."""
        return ()

    def imagine(self) -> Vectors | None:
        """The next of those that promise most; looks for more where none is left. None if all that it sees were asked.

        Where many trials are under way, one of them tells little, and one look yields several proposals.
        """
        self.ready = [vector for vector in self.ready if vector.tobytes() not in self.asked]
        if not self.ready:
            self.ready = self.most_promising(self.look(), 1 + len(self.known.pending) // AHEAD)
        return self.ready.pop(0) if self.ready else None

    def most_promising(self, met: Forecast, count: int = 1) -> list[Vectors]:
        """Up to ``count`` candidates that were not asked, refined; each is expected to add most to those before it.

        Args:
            met: the candidates.
            count: how many; only `SHORTLIST` times as many are looked at for all but the first.
        """
        known, rounds = self.known.landmarks(), -(-self.rounds // count)
        found: list[Vectors] = []
        for number in range(count):
            gain = self.known.gain_model(known)
            worth = gain(met.values, met.deviations)
            taken = {vector.tobytes() for vector in found}
            best = self._refined(met, worth, gain, rounds, taken, self.anchors() if number == 0 else ())
            if best is None:
                break
            found.append(best.vectors[0])
            known = np.concatenate([known, best.values])
            if number == 0 and count > 1:
                met = met.rows(np.argsort(-worth, kind="stable")[: SHORTLIST * count])
        return found

    def _refined(
        self, met: Forecast, worth: Floats, gain: GainModel, rounds: int, taken: Container[bytes], anchors: Sequence[Forecast]
    ) -> Forecast | None:
        """The candidate that is worth most and neither asked nor taken, after rounds of changes; None if there is none.

        Anchors, which are worth nothing themselves, have the first round to become something that was not asked.
        """
        place = self._first(met, worth, taken)
        if place is None:
            return None
        best: tuple[Forecast, float] = met.rows(np.array([place])), worth[place]
        if rounds:
            best = self._round(*best, gain, taken)
            others = [self._round(anchor, 0.0, gain, taken) for anchor in anchors]
            best = max([best, *(other for other in others if other[1] > 0)], key=itemgetter(1))
        for _ in range(rounds - 1):
            best = self._round(*best, gain, taken)
        return best[0]

    def _round(self, best: Forecast, reached: float, gain: GainModel, taken: Container[bytes]) -> tuple[Forecast, float]:
        """The best change of a candidate, or as many of the improving ones together as add most, and what it is worth then."""
        around, gains = self._gains(self._changed(best.vectors[0]), gain)
        improving = np.argsort(-gains, kind="stable")[: (gains > reached).sum()]
        combinations = self.space.canonical(combined_changes(best.vectors[0], around.vectors[improving], COMBINED))
        if len(combinations):
            together, sums = self._gains(combinations, gain)
            around, gains = Forecast.joined([around, together]), np.concatenate([gains, sums])
        place = self._first(around, gains, taken)
        return (best, reached) if place is None or gains[place] <= reached else (around.rows(np.array([place])), gains[place])

    def _changed(self, vector: Vectors) -> Vectors:
        """Vectors that differ from one in a knob, all of them or as many as can be looked at, and as many that do in two of a layer."""
        most = max(int(REFINING * self.looks / max(self.rounds, 1)) - COMBINED, 2) // 2
        changes = int(self.space.cardinalities.sum())
        some = None if changes <= most else self.generator.choice(changes, most, replace=False)
        doubles = double_changes(self.space, vector, self.generator, most)
        return np.concatenate([single_changes(self.space, vector, some), doubles])

    def _gains(self, vectors: Vectors, gain: GainModel) -> tuple[Forecast, Floats]:
        """Those of ``b x k`` canonical vectors that break no limit, and what each is expected to add."""
        found = self.known.forecast(vectors)
        found = found.rows(found.violations == 0)
        return found, gain(found.values, found.deviations)

    def _first(self, candidates: Forecast, worth: Floats, taken: Container[bytes]) -> int | None:
        """The place of the candidate that is worth most of those that are neither asked nor taken."""
        for place in np.argsort(-worth, kind="stable"):
            key = candidates.vectors[place].tobytes()
            if key not in self.asked and key not in taken:
                return int(place)
        return None

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        own = {"ready": [torch.from_numpy(vector.copy()) for vector in self.ready]}
        return super().state_dict() | own | ({} if self.is_sharing else {"known": self.known.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.ready = [vector.numpy().copy() for vector in state["ready"]]
        if not self.is_sharing:
            self.known.load_state_dict(state["known"])
