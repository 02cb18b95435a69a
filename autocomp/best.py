"""Which member of the front is called the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autocomp.errors import ConfigError
from autocomp.objective import Objective


@dataclass(frozen=True)
class BestRule:
    """The cheapest member that keeps the teacher's accuracy within a tolerance.

    Cheapest is the smallest geometric mean of the costs that shape the front (or of ``costs``), each relative to the
    teacher's. If no member keeps the accuracy, the most accurate one is best.

    Attributes:
        max_drop: accuracy that may be lost against the teacher, 0.01 is one point.
        costs: metrics to compare by; None for every minimised objective.
    """

    max_drop: float = 0.01
    costs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < 1:
            raise ConfigError(f"`best.max_drop` must lie in [0, 1), but is {self.max_drop}.")

    def choose(self, members: Sequence[Mapping[str, float]], baseline: Mapping[str, float], goals: Sequence[Objective]) -> int:
        """The place of the best among metrics of ``n`` members, n >= 1."""
        costs = self.costs or tuple(o.metric for o in goals if o.direction == "min")
        unknown = [c for c in costs if c not in baseline]
        if unknown:
            raise ConfigError(f"`best.costs` may name {', '.join(sorted(baseline))}, but names '{unknown[0]}'.")
        accuracy = np.array([m["accuracy"] for m in members])
        keeps = accuracy >= baseline["accuracy"] - self.max_drop - 1e-12
        if not keeps.any():
            return int(accuracy.argmax())
        mean_cost = np.prod([[m[c] / baseline[c] for m in members] for c in costs], axis=0) if costs else -accuracy
        return int(np.where(keeps, mean_cost, np.inf).argmin())
