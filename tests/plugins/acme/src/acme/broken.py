"""Broken: a plug-in with a fault of one's choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from acme.model import VectorProcessor
from hwmodels import CostReport, Workload


@dataclass(frozen=True)
class Broken:
    """Raises, or answers with NaN, where a layer has 4-bit weights (``raises``, ``nan``), or always (``always``)."""

    fault: str = "raises"

    name = "acme_broken"

    def estimate(self, workload: Workload) -> CostReport:
        """Prices with a fault."""
        report = VectorProcessor().estimate(workload)
        hit = np.broadcast_to(workload.weight_bits == 4, workload.shape)
        if self.fault == "always" or (self.fault == "raises" and hit.any()):
            raise ZeroDivisionError("the table has no entry for 4 bit")
        return replace(report, latency_s=np.where(hit, np.nan, report.latency_s))

    def nonidealities(self, workload: Workload) -> None:
        """None."""
