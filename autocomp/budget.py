"""Budget: how long a whole run may take, or how much it may compute; and what of it each part gets."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from autocomp.errors import ConfigError
from autocomp.trial import Status, Trial

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
PASSES = ("img", "")
_PATTERN = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e\+?\d+)?)(s|m|h|img|)", re.ASCII)


@dataclass(frozen=True)
class Budget:
    """What a whole run may take, the profile and the polish included.

    Attributes:
        kind: ``seconds`` or ``image_passes``, one per image forward and three per image trained.
        limit: how many.
        text: as it was written.
    """

    kind: str
    limit: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Understand ``90s``, ``20m``, ``1.5h``, ``2e6img`` or ``2e6``.

        Raises:
            ConfigError: if it is none of these, or not above 0.
        """
        match = _PATTERN.fullmatch(text.strip())
        limit = float(match[1]) * SECONDS.get(match[2], 1.0) if match else math.nan
        if match is None or not 0 < limit < math.inf:
            raise ConfigError(f"`budget` must be a positive time (90s, 20m, 1.5h) or number of image passes (2e6img), but is '{text}'.")
        return cls("image_passes" if match[2] in PASSES else "seconds", limit, text.strip())


@dataclass
class Ledger:
    """What of a budget is spent, and what still fits.

    A share is kept for the polish, but no more than its members need. Costs are expected to be the mean of what measured trials
    cost; before there is one, passes are those of `Effort`, and seconds are not known, so that trials start while there is time.

    Attributes:
        budget: of the run.
        effort: what a trial and a polish cost by plan.
        workers: trials at a time.
        start: reading of the clock at which this part of the run began, seconds.
        profile_passes: spent before the first trial.
        clock: tells the time in seconds.
    """

    budget: Budget
    effort: Effort
    workers: int
    start: float
    profile_passes: float = 0.0
    clock: Callable[[], float] = time.perf_counter
    _costs: dict[int, float] = field(default_factory=dict)
    _earlier: float = 0.0  # seconds of an earlier part of the run
    _running: int = 0

    @property
    def in_seconds(self) -> bool:
        """Whether time is what counts."""
        return self.budget.kind == "seconds"

    def restore(self, trials: Iterable[Trial]) -> None:
        """Take in what an earlier part of the run spent on its trials; the time between the parts does not count."""
        ended = [trial for trial in trials if trial.status is not Status.RUNNING]
        for trial in ended:
            self._take(trial)
        self._earlier = sum(trial.duration_s for trial in ended) / self.workers

    def begin(self) -> None:
        """A trial starts."""
        self._running += 1

    def end(self, trial: Trial) -> None:
        """A trial ended."""
        self._running -= 1
        self._take(trial)

    def _take(self, trial: Trial) -> None:
        self._costs[trial.id] = trial.duration_s if self.in_seconds else trial.image_passes

    @property
    def spent(self) -> float:
        """Seconds or passes up to now, the polish not included."""
        if self.in_seconds:
            return self._earlier + self.clock() - self.start
        return self.profile_passes + sum(self._costs.values())

    @property
    def of_a_trial(self) -> float | None:
        """What one more trial is expected to cost; None if nothing is known."""
        known = [cost for cost in self._costs.values() if cost > 0]
        if known:
            return sum(known) / len(known)
        return None if self.in_seconds else self.effort.trial

    @property
    def for_the_polish(self) -> float:
        """What is kept back for it."""
        share = self.effort.polish_share * self.budget.limit
        cost = self.of_a_polish
        if cost is None:
            return share
        rounds = math.ceil(self.effort.members / self.workers) if self.in_seconds else self.effort.members
        return min(share, rounds * cost)

    @property
    def of_a_polish(self) -> float | None:
        """What it is expected to cost for one member; None if nothing is known."""
        trial = self.of_a_trial
        return None if trial is None else trial * self.effort.polish / self.effort.trial

    @property
    def share(self) -> float:
        """Of what the trials may take, what they have taken, in [0, 1]."""
        return min(self.spent / (self.budget.limit - self.for_the_polish), 1.0)

    @property
    def has_room(self) -> bool:
        """Whether one more trial can be expected to end in time; the first one always may start."""
        if not self._costs and not self._running:
            return True
        expected = self.of_a_trial or 0.0
        under_way = 0.0 if self.in_seconds else self._running * expected
        return self.spent + under_way + expected <= self.budget.limit - self.for_the_polish

    @property
    def planned(self) -> int | None:
        """How many trials fit; None if that is not known yet."""
        cost = self.of_a_trial
        return max(int((self.budget.limit - self.for_the_polish - self.spent) / cost), 1) if cost else None

    def in_the_end(self, image_passes: float) -> dict[str, str | float]:
        """What a summary says, given what the whole run computed."""
        spent = self.spent if self.in_seconds else image_passes
        return {"kind": self.budget.kind, "limit": self.budget.limit, "spent": spent}

    @property
    def members(self) -> int:
        """How many finalists can be polished with what is left; at least one."""
        cost = self.of_a_polish
        if not cost:
            return 1
        fit = math.floor((self.budget.limit - self.spent) / cost)
        return max(fit * (self.workers if self.in_seconds else 1), 1)


@dataclass(frozen=True)
class Effort:
    """Image passes by plan.

    Attributes:
        trial: of one trial that is not stopped.
        polish: of one finalist.
        members: finalists that are wanted.
        polish_share: of a budget, kept for the polish at most.
    """

    trial: float
    polish: float
    members: int
    polish_share: float
