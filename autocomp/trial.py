"""Trial: one configuration, evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from autocomp.choice import Configuration


class Status(StrEnum):
    """How a trial ended."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"  # stopped early by the scheduler; its metrics hold at its fidelity
    INFEASIBLE = "INFEASIBLE"  # breaks a limit or does not fit the device; never ran
    FAILED = "FAILED"  # an error; says nothing about the configuration


@dataclass(frozen=True)
class Trial:
    """One configuration and what became of it.

    Attributes:
        id: number within the run, from 0.
        configuration: what was tried.
        status: see `Status`.
        metrics: measured and priced values by name; empty until something was measured.
        fidelity: epochs of fine-tuning behind the metrics.
        seed: of the trial's own random numbers.
        reason: why the trial was infeasible or failed; empty otherwise.
        duration_s: seconds on the worker.
        image_passes: compute spent, one per image forward and three per image trained.
        rungs: what was measured on the way and at the end: fidelity, loss and accuracy of each.
    """

    id: int
    configuration: Configuration
    status: Status = Status.RUNNING
    metrics: Mapping[str, float] = field(default_factory=dict)
    fidelity: float = 0.0
    seed: int = 0
    reason: str = ""
    duration_s: float = 0.0
    image_passes: float = 0.0
    rungs: tuple[tuple[float, float, float], ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "id": self.id,
            "configuration": self.configuration.flatten(),
            "status": str(self.status),
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "fidelity": self.fidelity,
            "seed": self.seed,
            "reason": self.reason,
            "duration_s": self.duration_s,
            "image_passes": self.image_passes,
            "rungs": [list(rung) for rung in self.rungs],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Trial:
        """The inverse of `to_record`."""
        changed = {"configuration": Configuration.unflatten(record["configuration"]), "status": Status(record["status"])}
        return cls(**{**record, **changed, "rungs": tuple(map(tuple, record.get("rungs", ())))})
