"""ParetoFront: the trials that no other trial dominates, and the volume that they cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from autocomp.objective import Objective
from autocomp.trial import Status, Trial

Floats = NDArray[np.float64]


def points(metrics: Sequence[Mapping[str, float]], objectives: Sequence[Objective]) -> Floats:
    """Objective values to be minimised, ``n x m``."""
    return np.array([[o.minimised(values[o.metric]) for o in objectives] for values in metrics], np.float64).reshape(-1, len(objectives))


def nondominated(values: Floats) -> NDArray[np.bool_]:
    """Which of ``n x m`` minimised points no other point dominates; of equal points the first. A point with NaN never is."""
    known = ~np.isnan(values).any(axis=1)
    mask = np.zeros(len(values), bool)
    if known.any():
        mask[known] = moocore.is_nondominated(values[known])
    return mask


def ranks(values: Floats) -> NDArray[np.int64]:
    """Non-dominated rank of each of ``n x m`` minimised points (Deb 2002): 0 for the front, 1 for the front without it, ...

    Points with NaN share the last rank.
    """
    if not len(values):
        return np.zeros(0, np.int64)
    unknown = np.isnan(values).any(axis=1, keepdims=True)
    return np.asarray(moocore.pareto_rank(np.where(unknown, np.inf, values)), np.int64)


def hypervolume(values: Floats, reference: Floats, scale: Floats | None = None) -> float:
    """Volume that ``n x m`` minimised points dominate up to the reference; 0 for none.

    Axes are divided by ``scale`` first (``|reference|`` by default), so that the result does not depend on units.
    """
    inside = values[(values < reference).all(axis=1)] if len(values) else values
    if not len(inside):
        return 0.0
    scale = np.abs(reference) if scale is None else scale
    return float(moocore.hypervolume(inside / scale, ref=reference / scale))


def covering(values: Floats, reference: Floats, count: int) -> list[int]:
    """At most ``count`` of ``n x m`` minimised points, one after the other by what each adds to the hypervolume; the first of equals."""
    chosen: list[int] = []
    while len(chosen) < min(count, len(values)):
        rest = [i for i in range(len(values)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: hypervolume(values[[*chosen, i]], reference)))
    return chosen


class ParetoFront:
    """Trials that do not dominate each other; the order of adding does not matter.

    Only complete trials that meet every limit enter.
    """

    def __init__(self, objectives: Sequence[Objective], trials: Iterable[Trial] = ()) -> None:
        self.objectives = tuple(objectives)
        self.trials: tuple[Trial, ...] = ()
        for trial in trials:
            self.add(trial)

    @property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives that shape the front."""
        return tuple(o for o in self.objectives if o.optimised)

    def add(self, trial: Trial) -> bool:
        """Take a trial in; returns whether it is on the front."""
        if trial.status is not Status.COMPLETE or not all(o.is_met(trial.metrics) for o in self.objectives):
            return False
        # lowest id first, so that of equal trials the same one stays whatever the order of adding
        candidates = sorted((*self.trials, trial), key=lambda t: t.id)
        mask = nondominated(points([t.metrics for t in candidates], self.goals))
        self.trials = tuple(t for t, on_front in zip(candidates, mask, strict=True) if on_front)
        return trial in self.trials

    def hypervolume(self, reference: Mapping[str, float], baseline: Mapping[str, float] | None = None) -> float:
        """The volume up to ``reference`` (metric values) that the front dominates.

        With the teacher's metrics as ``baseline`` the unit is the box between the reference and a network that is as good
        as the teacher and costs nothing: 1 is out of reach, unless the front is more accurate than the teacher.
        """
        corner = points([reference], self.goals)[0]
        scale = np.abs(corner)
        if baseline is not None:
            ideal = points([baseline], self.goals)[0]
            scale = np.where([o.direction == "max" for o in self.goals], np.abs(ideal - corner), scale)
        return hypervolume(points([t.metrics for t in self.trials], self.goals), corner, scale)
