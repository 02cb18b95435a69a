"""Outcome: what a finished run has to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocomp.objective import Objective
from autocomp.sensitivity import Sensitivity
from autocomp.trial import Trial


@dataclass(frozen=True)
class FrontMember:
    """A front trial after polishing, with its exported files.

    Attributes:
        trial: as the search saw it.
        metrics: measured after polishing, among them ``accuracy`` (validation) and ``test_accuracy``.
        folder: what `autocomp.export.write_model` wrote.
    """

    trial: Trial
    metrics: Mapping[str, float]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        name: of the run or its registered model.
        trials: all of them, in the order in which they ended.
        front: empty if nothing met the limits.
        best: trial id of the recommended member; None if the front is empty.
        baseline: the teacher's metrics.
        reference: the corner that hypervolume is measured to, metric values.
        objectives: what was searched for.
        config: the settings of the run.
        hardware: name of the hardware model that set the prices.
        sensitivity: what was measured before the first trial; None if nothing was.
        uncertainty: factors (``latency``, ``energy``) within which nine of ten published figures lie; empty where none are known.
    """

    name: str
    trials: Sequence[Trial]
    front: Sequence[FrontMember]
    best: int | None
    baseline: Mapping[str, float]
    reference: Mapping[str, float]
    objectives: Sequence[Objective]
    config: Mapping[str, Any]
    hardware: str = ""
    uncertainty: Mapping[str, float] = field(default_factory=dict)
    sensitivity: Sensitivity | None = None

    @property
    def recommended(self) -> FrontMember | None:
        """The best member."""
        return next((member for member in self.front if member.trial.id == self.best), None)
