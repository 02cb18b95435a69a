"""Rungs: which running trials are worth going on with; asynchronous successive halving for several objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.errors import ConfigError
from autocomp.objective import Objective
from autocomp.pareto import points, ranks
from autocomp.trial import Trial

Floats = NDArray[np.float64]


class Rungs:
    """ASHA (Li 2020) with the non-dominated rank in place of the loss, and the crowding distance of NSGA-II (Deb 2002) behind it.

    A trial that reaches a level is compared with all trials that were recorded there before. It goes on if it is on their front or
    among the best ``1/eta`` of them: by rank, and within a rank by how sparse the surroundings are along the logarithm of cost, so that
    the dear do not crowd out the cheap. The first ``eta`` trials of a level all go on. The loss stands in for accuracy: it is finer,
    and early on it says more about the final accuracy.

    Args:
        objectives: those that are optimised are compared, less the limits.
        eta: one of so many goes on.
        levels: fidelities at which trials are compared, increasing, without the last one that all survivors reach; 0 is after
            calibration, 1/3 after a third of an epoch.

    Raises:
        ConfigError: if ``eta`` is not above 1 or the levels do not increase from 0 or more.
    """

    def __init__(self, objectives: Sequence[Objective], eta: float, levels: tuple[float, ...]) -> None:
        if not eta > 1:
            raise ConfigError(f"`early_stopping.eta` must be above 1, but is {eta}.")
        if list(levels) != sorted(set(levels)) or not all(level >= 0 for level in levels):
            raise ConfigError(f"`early_stopping.rungs` must increase from 0 or more, but is {list(levels)}.")
        loss = Objective("loss")
        self.goals = tuple(loss if o.metric == "accuracy" else replace(o, limit=None) for o in objectives if o.optimised)
        self.costs = [i for i, goal in enumerate(self.goals) if goal.metric != "loss" and goal.direction == "min"]
        self.eta = eta
        self.recorded: dict[float, dict[int, list[float]]] = {level: {} for level in levels}

    @property
    def levels(self) -> tuple[float, ...]:
        """Fidelities at which trials are compared."""
        return tuple(self.recorded)

    def report(self, trial_id: int, fidelity: float, metrics: Mapping[str, float]) -> bool:
        """Record a trial at the highest level that it has reached; whether it shall go on.

        Between levels, and at a level where it was recorded before, it goes on. A diverged trial (NaN) ranks last.
        """
        reached = [level for level in self.recorded if level <= fidelity]
        if not reached or trial_id in self.recorded[reached[-1]]:
            return True
        rung = self.recorded[reached[-1]]
        rung[trial_id] = points([metrics], self.goals)[0].tolist()
        values = np.array(list(rung.values()))
        rank, sparsity = ranks(values), self._sparsity(values)
        is_on_front = rank[-1] == 0 and not np.isnan(values[-1]).any()
        before = (rank < rank[-1]) | ((rank == rank[-1]) & (sparsity > sparsity[-1]))
        return len(rung) <= self.eta or bool(is_on_front) or int(before.sum()) < len(rung) / self.eta

    def restore(self, trials: Iterable[Trial]) -> None:
        """Record what an earlier part of the run measured."""
        for trial in trials:
            for fidelity, loss, _ in trial.rungs:
                self.report(trial.id, fidelity, {**trial.metrics, "loss": loss})

    def _sparsity(self, values: Floats) -> Floats:
        """How far each of ``n x m`` points is from others of its rank along the logarithm of cost (``n``).

        The crowding distance, over the costs alone: the gap between the neighbours on either side as a share of the rank's extent, summed
        over costs; endless for the cheapest and the dearest.
        """
        rank, total = ranks(values), np.zeros(len(values))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(values[:, self.costs])
        for number in np.unique(rank):
            members = np.flatnonzero(rank == number)
            for column in logs[members].T:
                total[members] += _crowding(column)
        return total

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, as plain JSON data."""
        return {"recorded": [[level, [[i, *values] for i, values in rung.items()]] for level, rung in self.recorded.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.recorded = {level: {int(i): values for i, *values in rung} for level, rung in state["recorded"]}


def _crowding(column: Floats) -> Floats:
    """Gaps between the neighbours of each of ``n`` values, as a share of their extent; endless at both ends. NaN has none."""
    found = np.zeros(len(column))
    order = np.argsort(column, kind="stable")
    order = order[np.isfinite(column[order])]
    if len(order):
        sorted_values = column[order]
        extent = sorted_values[-1] - sorted_values[0]
        found[order[1:-1]] = (sorted_values[2:] - sorted_values[:-2]) / extent if extent > 0 else 0.0
        found[order[[0, -1]]] = np.inf
    return found
