"""Progress: what a run tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from autocomp.pareto import ParetoFront
from autocomp.trial import Trial


class Progress(Protocol):
    """Listens to a run; the command line draws it, a library user may ignore it."""

    def stage(self, text: str) -> None:
        """A new part of the run begins."""

    def begin(self, total: int, done: int) -> None:
        """Trials begin: how many are planned, and how many an earlier part of the run finished."""

    def started(self, trial: Trial) -> None:
        """A trial was handed to a worker."""

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """A trial ended; the front is the one after it."""

    def note(self, text: str) -> None:
        """Something went wrong that the run survives."""

    def end(self) -> None:
        """No more trials follow."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, text: str) -> None:
        """Do nothing."""

    def begin(self, total: int, done: int) -> None:
        """Do nothing."""

    def started(self, trial: Trial) -> None:
        """Do nothing."""

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
