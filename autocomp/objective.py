"""Objective: a metric, its direction of goodness, and maybe a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autocomp.errors import ConfigError

MEASURED_METRICS = ("accuracy", "loss")
PAPER_METRICS = ("latency_s", "energy_j", "size_bytes", "macs", "params")


@dataclass(frozen=True)
class Objective:
    """What is wanted of one metric.

    Attributes:
        metric: one of `MEASURED_METRICS` or `PAPER_METRICS`.
        direction: ``min`` or ``max``.
        limit: the worst value that is accepted, in the metric's unit; None for any.
        optimised: False keeps the limit but does not let the metric shape the front.

    Raises:
        ConfigError: on an unknown metric or direction, or a limit that is not a positive number.
    """

    metric: str
    direction: Literal["min", "max"] = "min"
    limit: float | None = None
    optimised: bool = True

    def __post_init__(self) -> None:
        known = MEASURED_METRICS + PAPER_METRICS
        if self.metric not in known:
            raise ConfigError(f"An objective is one of {', '.join(known)}, but is '{self.metric}'.")
        if self.direction not in ("min", "max"):
            raise ConfigError(f"`objectives.{self.metric}.direction` must be min or max, but is '{self.direction}'.")
        if self.limit is not None and not (isinstance(self.limit, Real) and 0 < self.limit < float("inf")):
            raise ConfigError(f"`objectives.{self.metric}.limit` must be a positive number, but is {self.limit}.")

    def minimised(self, values: ArrayLike) -> NDArray[np.float64]:
        """The values turned so that less is better."""
        return np.asarray(values, np.float64) * (1.0 if self.direction == "min" else -1.0)

    def excess(self, values: ArrayLike) -> NDArray[np.float64]:
        """How far values break the limit, relative to it; 0 where they meet it or there is none."""
        values = np.asarray(values, np.float64)
        if self.limit is None:
            return np.zeros_like(values)
        over = values - self.limit if self.direction == "min" else self.limit - values
        return np.maximum(over, 0) / self.limit

    def is_met(self, metrics: Mapping[str, float]) -> bool:
        """Whether one measurement meets the limit; NaN does not."""
        return self.limit is None or bool(self.excess(metrics[self.metric]) == 0)
