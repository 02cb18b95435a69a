"""Guarded: a hardware model that may fail on some candidates without taking the others along."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np

from hwmodels.batching import joined
from hwmodels.cost import CostReport, HardwareModel, price
from hwmodels.errors import HardwareError
from hwmodels.workload import Workload

UNPRICED: Final = "prices that the model fails to give"  # a resource of which every device has none
_log: Final = logging.getLogger(__name__)


@cache
def _say_once(text: str) -> None:
    """A search asks for prices again and again."""
    _log.warning(text)


@dataclass(frozen=True)
class Guarded:
    """Prices candidates one by one where the model fails on all of them at once; those that it still fails on are infeasible.

    Attributes:
        model: any hardware model, a plug-in above all.
    """

    model: HardwareModel

    @property
    def name(self) -> str:
        """The model's own."""
        return self.model.name

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """The model's own."""
        return self.model.nonidealities(workload)

    def estimate(self, workload: Workload) -> CostReport:
        """The model's prices; an infeasible candidate that it failed on has the prices of one that it did not fail on.

        Raises:
            HardwareError: if it fails on every candidate.
        """
        try:
            return price(self.model, workload)
        except HardwareError as error:
            if len(workload.shape) != 2 or workload.shape[0] < 2:
                raise
            _say_once(f"{error} The candidates are priced one by one, and those that it fails on are left out.")
            return joined(list(self._one_by_one(workload)), workload.shape[0])

    def _one_by_one(self, workload: Workload) -> Iterator[tuple[slice, CostReport]]:
        answers = [self._alone(workload.part(i, i + 1)) for i in range(workload.shape[0])]
        stand_in = next((answer for answer in answers if isinstance(answer, CostReport)), None)
        if stand_in is None:
            raise next(answer for answer in answers if isinstance(answer, HardwareError))
        for i, answer in enumerate(answers):
            failed = isinstance(answer, HardwareError)
            report: Any = stand_in if failed else answer
            resources, limits = {**report.resources, UNPRICED: np.array([float(failed)])}, {**report.limits, UNPRICED: 0.0}
            yield slice(i, i + 1), replace(report, resources=resources, limits=limits)

    def _alone(self, workload: Workload) -> CostReport | HardwareError:
        try:
            return price(self.model, workload.replace(in_channels=np.broadcast_to(workload.in_channels, (1, workload.shape[-1]))))
        except HardwareError as error:
            return error
