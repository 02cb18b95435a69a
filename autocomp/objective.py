"""Objective: a metric, its direction of goodness, and maybe a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autocomp.errors import ConfigError

MEASURED_METRICS = ("accuracy", "loss")
PAPER_METRICS = ("latency_s", "energy_j", "size_bytes", "macs", "params", "area_mm2")  # area where the device has a model of it
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Objective:
    """What is wanted of one metric.

    Attributes:
        metric: one of `MEASURED_METRICS` or `PAPER_METRICS`.
        direction: ``min`` or ``max``.
        limit: the worst value that is accepted, in the metric's unit; None for any.
        optimised: False keeps the limit but does not let the metric shape the front.
        share: the limit as a share of the teacher's value, until `against` makes a value of it.

    Raises:
        ConfigError: on an unknown metric or direction, or a limit that is not a positive number.
    """

    metric: str
    direction: Direction = "min"
    limit: float | None = None
    optimised: bool = True
    share: float | None = None

    def __post_init__(self) -> None:
        known = MEASURED_METRICS + PAPER_METRICS
        if self.metric not in known:
            raise ConfigError(f"An objective is one of {', '.join(known)}, but is '{self.metric}'.")
        if self.direction not in ("min", "max"):
            raise ConfigError(f"`objectives.{self.metric}.direction` must be min or max, but is '{self.direction}'.")
        if self.limit is not None and not (isinstance(self.limit, Real) and 0 < self.limit < float("inf")):
            raise ConfigError(f"`objectives.{self.metric}.limit` must be a positive number, but is {self.limit}.")

    @classmethod
    def stated(
        cls,
        metric: str,
        *,
        direction: Direction = "min",
        limit: float | str | None = None,
        optimised: bool = True,
        key: str = "",
    ) -> Objective:
        """An objective as settings state it: the limit is a number, or a share of the teacher's value such as ``50%``.

        Raises:
            ConfigError: if it is neither, naming the setting (``key``, by default that of an objective), or if the rest is wrong.
        """
        if limit is None:
            return cls(metric, direction, None, optimised)
        is_share = isinstance(limit, str) and limit.strip().endswith("%")
        try:
            number = (
                float("nan") if isinstance(limit, bool) else float(limit.strip().removesuffix("%") if isinstance(limit, str) else limit)
            )
        except ValueError:
            number = float("nan")
        if not 0 < number < float("inf"):
            setting = f"{key}.{metric}" if key else f"objectives.{metric}.limit"
            raise ConfigError(f"`{setting}` must be a positive number, or a share of the teacher's such as 50%, but is {limit}.")
        return cls(metric, direction, None, optimised, number / 100) if is_share else cls(metric, direction, number, optimised)

    def against(self, teacher: Mapping[str, float]) -> Objective:
        """The same with a limit in the metric's unit, where it was a share.

        Raises:
            ConfigError: if the teacher has nothing of which there could be a share.
        """
        if self.share is None:
            return self
        value = teacher[self.metric]
        if not value > 0:
            raise ConfigError(f"A limit of {self.share:.4g} times the teacher's {self.metric} needs one above 0, but it is {value:g}.")
        return replace(self, limit=self.share * value, share=None)

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


def direction_of(metric: str) -> Direction:
    """Where a metric is better."""
    return "max" if metric == "accuracy" else "min"
