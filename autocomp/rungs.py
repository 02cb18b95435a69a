"""Rungs: which running trials are worth going on with; asynchronous successive halving for several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autocomp.errors import ConfigError
from autocomp.objective import Objective
from autocomp.pareto import points, ranks


class Rungs:
    """ASHA (Li 2020) with the non-dominated rank in place of the loss.

    A trial that reaches a level is compared with all trials that were recorded there before. It goes on if fewer than
    ``1/eta`` of them have a better rank; so the front always goes on. The first ``eta`` trials of a level all do.
    The loss stands in for accuracy: it is finer, and early on it says more about the final accuracy.

    Args:
        objectives: those that are optimised are compared, less the limits.
        eta: one of so many goes on.
        levels: fidelities at which trials are compared, increasing, without the last one that all survivors reach.

    Raises:
        ConfigError: if ``eta`` is not above 1 or the levels do not increase.
    """

    def __init__(self, objectives: Sequence[Objective], eta: float, levels: tuple[float, ...]) -> None:
        if not eta > 1:
            raise ConfigError(f"`early_stopping.eta` must be above 1, but is {eta}.")
        if list(levels) != sorted(set(levels)):
            raise ConfigError(f"`early_stopping.rungs` must increase, but is {list(levels)}.")
        loss = Objective("loss")
        self.goals = tuple(loss if o.metric == "accuracy" else replace(o, limit=None) for o in objectives if o.optimised)
        self.eta = eta
        self.recorded: dict[float, dict[int, list[float]]] = {level: {} for level in levels}

    def report(self, trial_id: int, fidelity: float, metrics: Mapping[str, float]) -> bool:
        """Record a trial at the highest level that it has reached; whether it shall go on.

        Between levels, and at a level where it was recorded before, it goes on. A diverged trial (NaN) ranks last.
        """
        reached = [level for level in self.recorded if level <= fidelity]
        if not reached or trial_id in self.recorded[reached[-1]]:
            return True
        rung = self.recorded[reached[-1]]
        rung[trial_id] = points([metrics], self.goals)[0].tolist()
        rank = ranks(np.array(list(rung.values())))
        better = int((rank < rank[-1]).sum())
        return len(rung) <= self.eta or better < len(rung) / self.eta

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, as plain JSON data."""
        return {"recorded": [[level, [[i, *values] for i, values in rung.items()]] for level, rung in self.recorded.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.recorded = {level: {int(i): values for i, *values in rung} for level, rung in state["recorded"]}
