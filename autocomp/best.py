"""Which member of the front is called the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.errors import ConfigError, UnknownNameError
from autocomp.objective import MEASURED_METRICS, PAPER_METRICS, Objective, direction_of
from autocomp.pareto import nondominated

Floats = NDArray[np.float64]
Metrics = Mapping[str, float]
RULES = ("knee", "cheapest", "weighted", "accurate")
TINY = 1e-30  # takes the place of a cost of nothing, whose logarithm there is none of


@dataclass(frozen=True)
class BestRule:
    """What counts, once the front is there.

    The cost of a member is the geometric mean of its costs, each relative to the teacher's. By rule the best is

    - ``cheapest``: the one of least cost among those that keep the teacher's accuracy within ``max_drop``;
    - ``knee``: of the same members the `knee`, where more accuracy begins to cost much and less saves little;
    - ``weighted``: the one of the least weighted product, see ``weights``;
    - ``accurate``: the most accurate.

    If no member keeps the accuracy, ``cheapest`` and ``knee`` take the most accurate one.

    Attributes:
        rule: one of `RULES`.
        max_drop: accuracy that may be lost against the teacher, 0.01 is one point.
        costs: metrics to compare by; None for every minimised objective.
        weights: metric -> exponent, at least 0, of its ratio to the teacher's (of the inverse for accuracy); a member that is better by
            1 % in a metric of weight 2 makes good for being 2 % worse in one of weight 1.
        limits: metric -> the worst value that the best may have, or a share of the teacher's such as ``50%``. Where no member meets
            them, those that break them least are left to choose from.

    Raises:
        UnknownNameError: on an unknown rule.
        ConfigError: if a value is out of range, or the rule lacks weights.
    """

    rule: str = "cheapest"  # of runs that were started before there were others
    max_drop: float = 0.01
    costs: tuple[str, ...] | None = None
    weights: dict[str, float] | None = None
    limits: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownNameError("`best.rule`", self.rule, RULES)
        if not 0 <= self.max_drop < 1:
            raise ConfigError(f"`best.max_drop` must lie in [0, 1), but is {self.max_drop}.")
        weights = self.weights or {}
        if not all(0 <= weight < float("inf") for weight in weights.values()) or (weights and not any(weights.values())):
            raise ConfigError(f"`best.weights` must be at least 0, and one of them above, but are {dict(weights)}.")
        if self.rule == "weighted" and not weights:
            raise ConfigError("`best.rule` weighted needs weights, such as best.weights={accuracy:20,latency_s:1}.")
        _ = self._bounds

    @property
    def _bounds(self) -> tuple[Objective, ...]:
        return tuple(Objective.stated(m, direction=direction_of(m), limit=v, key="best.limits") for m, v in (self.limits or {}).items())

    def choose(self, members: Sequence[Metrics], baseline: Metrics, goals: Sequence[Objective]) -> int:
        """The place of the best among metrics of ``n`` members, n >= 1; the first of equals.

        Raises:
            ConfigError: if the rule names a metric that is not known.
        """
        known = {name: value for name, value in baseline.items() if name in MEASURED_METRICS + PAPER_METRICS}
        costs = self.costs or tuple(o.metric for o in goals if o.direction == "min")
        for key, names in (("costs", costs), ("weights", self.weights or {}), ("limits", self.limits or {})):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ConfigError(f"`best.{key}` may name {', '.join(sorted(known))}, but names '{unknown[0]}'.")
        bounds = [bound.against(known) for bound in self._bounds]
        broken = [sum(float(bound.excess(member[bound.metric])) for bound in bounds) for member in members]
        left = [i for i, excess in enumerate(broken) if excess == min(broken)]
        return left[self._pick([members[i] for i in left], known, costs)]

    def _pick(self, members: Sequence[Metrics], known: Metrics, costs: Sequence[str]) -> int:
        """The place of the best where all limits are met."""
        if self.rule == "weighted":
            return _least(_weighed(members, known, self.weights or {}))
        accuracy = np.array([member["accuracy"] for member in members])
        cost = _weighed(members, known, dict.fromkeys(costs, 1 / max(len(costs), 1)))
        kept = np.flatnonzero(accuracy >= known["accuracy"] - self.max_drop - 1e-12)
        if self.rule == "accurate" or not len(kept):
            return _least(-accuracy, cost)
        return int(kept[knee(accuracy[kept], cost[kept]) if self.rule == "knee" else _least(cost[kept], -accuracy[kept])])

    def reason(self, best: Metrics, baseline: Metrics) -> str:
        """Why a member was chosen, for a reader."""
        drop = f"an accuracy drop of at most {self.max_drop:g}"
        is_kept = baseline["accuracy"] - best["accuracy"] <= self.max_drop + 1e-9
        words = {
            "cheapest": f"the cheapest with {drop}",
            "knee": f"the knee of the front among members with {drop}",
            "weighted": f"the best by weight ({', '.join(f'{name} {weight:g}' for name, weight in (self.weights or {}).items())})",
            "accurate": "the most accurate",
        }
        said = words[self.rule] if is_kept or self.rule in {"weighted", "accurate"} else f"the most accurate; none has {drop}"
        if not self.limits:
            return said
        limits = ", ".join(f"{name} {limit}" for name, limit in self.limits.items())
        is_within = all(bound.against(baseline).is_met(best) for bound in self._bounds)
        return f"{said}, within {limits}" if is_within else f"{said}; none is within {limits}, this comes closest"


def knee(accuracy: Floats, cost: Floats) -> int:
    """The place of the knee of ``n`` points: the farthest above the line from the cheapest to the most accurate.

    Distance from the line between the best in each objective is the knee of Das, "On characterizing the knee of the Pareto curve based
    on normal-boundary intersection", Structural Optimization 18, 1999; objectives are scaled to [0, 1] between those two points first.
    Where no point lies above the line, as with two points, the cheapest.

    Args:
        accuracy: larger is better.
        cost: smaller is better; a logarithm, so that half and a quarter are as far apart as a quarter and an eighth.
    """
    front = np.flatnonzero(nondominated(np.stack([-accuracy, cost], axis=1)))  # of equal points one
    height = _scaled(accuracy[front]) - _scaled(cost[front])  # distance from the line, up to a factor
    return int(front[_least(-np.round(height, 12), cost[front])])


def _scaled(values: Floats) -> Floats:
    return np.asarray((values - values.min()) / (np.ptp(values) or 1.0))


def _weighed(members: Sequence[Metrics], baseline: Metrics, weights: Mapping[str, float]) -> Floats:
    """Logarithm of the weighted product of ratios to the teacher, less is better, ``n``; without metrics of which the teacher has none."""
    total = np.zeros(len(members))
    for name, weight in weights.items():
        if baseline[name] > 0:
            ratio = np.array([member[name] for member in members]) / baseline[name]
            total += weight * np.log(np.maximum(ratio, TINY)) * (1 if direction_of(name) == "min" else -1)
    return total


def _least(*keys: Floats) -> int:
    """The place of the least; equal first keys are told apart by the next."""
    return int(np.lexsort(keys[::-1])[0])
