"""Progress: drawn live on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from autocomp.card import show
from autocomp.cli.tables import SHOWN, front_table
from autocomp.pareto import ParetoFront
from autocomp.progress import Progress
from autocomp.trial import Status, Trial

MEMBERS = 8  # members of the front under the bar
SPEED_PERIOD_S = 3600.0  # the remaining time is judged by this much of the past; trials take seconds to minutes


class Quiet(Progress):
    """Says only what must not be missed.

    Args:
        console: what is written to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Print a warning."""
        self._console.print(f"warning: {text}", style="yellow", highlight=False, markup=False)


class Lines(Quiet):
    """A line for each stage and each trial that ended."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._total = self._done = 0

    def stage(self, text: str) -> None:
        """Print the stage."""
        self._line(text)

    def begin(self, total: int, done: int) -> None:
        """Print how many trials there will be."""
        self._total, self._done = total, done
        self._line(f"{total} trials" + (f", {done} of them finished before" if done else ""))

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Print how the trial ended."""
        self._done += 1
        self._line(f"[{self._done}/{self._total}] {in_words(trial)}; front {len(front.trials)}")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Drawing(Quiet):
    """A bar and the current front, redrawn in place; use it as a context.

    Attributes:
        live: what holds the drawing on the screen.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            speed_estimate_period=SPEED_PERIOD_S,
        )
        self._trials = self._bar.add_task("starting", total=None)
        self._running = 0
        self.live = Live(self._bar, console=console, refresh_per_second=4, transient=True)

    def stage(self, text: str) -> None:
        """Put the stage before the bar."""
        self._bar.update(self._trials, description=text)

    def begin(self, total: int, done: int) -> None:
        """Set the length of the bar."""
        self._bar.reset(self._trials, total=total, completed=done, description="trials")

    def started(self, trial: Trial) -> None:
        """Count a running trial."""
        self._running += 1
        self._show_running()

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Move the bar and redraw the front."""
        self._running = max(self._running - 1, 0)
        self._bar.advance(self._trials)
        self._show_running()
        members = sorted(front.trials, key=lambda t: -t.metrics["accuracy"])
        rows = [{"trial_id": t.id, **t.metrics} for t in members[:MEMBERS]]
        caption = f"front: {len(members)} trials" + (f", the {MEMBERS} most accurate" if len(members) > MEMBERS else "")
        if members:
            self.live.update(Group(self._bar, front_table(rows, caption=caption)))

    def _show_running(self) -> None:
        self._bar.update(self._trials, description=f"trials, {self._running} running")


def in_words(trial: Trial) -> str:
    """How a trial ended, in one line."""
    words = f"trial {trial.id} {trial.status.lower()}"
    if trial.status in {Status.FAILED, Status.INFEASIBLE}:
        return f"{words}: {' '.join(trial.reason.split())}"
    values = [f"{name.split('_')[0]} {show(name, trial.metrics[name])}" for name in SHOWN if name in trial.metrics]
    return f"{words}: {', '.join(values)}"


@contextmanager
def watching(console: Console, *, quiet: bool) -> Iterator[Progress]:
    """The progress that fits the console, for the length of a run."""
    if quiet:
        yield Quiet(console)
    elif console.is_terminal:
        drawing = Drawing(console)
        with drawing.live:
            yield drawing
    else:
        yield Lines(console)
