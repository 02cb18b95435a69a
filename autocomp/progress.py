"""Progress: what a run tells whoever watches it."""

from __future__ import annotations

from autocomp.pareto import ParetoFront
from autocomp.trial import Trial


class Progress:
    """Listens to a run and does nothing; the command line draws what it hears, a library user may override what matters."""

    def stage(self, text: str) -> None:
        """A new part of the run begins."""

    def profiling(self, total: int, done: int) -> None:
        """So many of the probes of the sensitivity profile are done."""

    def begin(self, total: int, done: int) -> None:
        """Trials begin: how many are planned (0 for as many as fit a budget), and how many an earlier part of the run finished."""

    def started(self, trial: Trial) -> None:
        """A trial was handed to a worker."""

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """A trial ended; the front is the one after it."""

    def spent(self, share: float, budget: str) -> None:
        """So much of what a budget leaves for trials is spent, in [0, 1]; said just before a trial's end is."""

    def note(self, text: str) -> None:
        """Something went wrong that the run survives."""

    def end(self) -> None:
        """No more trials follow."""
