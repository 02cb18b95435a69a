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
        self._total = self._done = self._quarter = 0
        self._budget = ""

    def stage(self, text: str) -> None:
        """Print the stage."""
        self._line(text)

    def profiling(self, total: int, done: int) -> None:
        """Print a line for each quarter of the probes."""
        quarter = 4 * done // max(total, 1)
        if quarter != self._quarter:
            self._line(f"{done} of {total} probes")
        self._quarter = quarter

    def begin(self, total: int, done: int) -> None:
        """Print how many trials there will be."""
        self._total, self._done = total, done
        planned = f"{total} trials" if total else "as many trials as the budget has room for"
        self._line(planned + (f", {done} of them finished before" if done else ""))

    def spent(self, share: float, budget: str) -> None:
        """Keep it for the line that follows."""
        self._budget = f"; {share:.0%} of the trials' part of {budget}"

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Print how the trial ended."""
        self._done += 1
        of_all = f"/{self._total}" if self._total else ""
        self._line(f"[{self._done}{of_all}] {in_words(trial)}; front {len(front.trials)}{self._budget}")

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
        self._running = self._done = 0
        self._budget = ""
        self.live = Live(self._bar, console=console, refresh_per_second=4, transient=True)

    def stage(self, text: str) -> None:
        """Put the stage before the bar."""
        self._bar.update(self._trials, description=text)

    def profiling(self, total: int, done: int) -> None:
        """Show the probes in the bar."""
        self._bar.update(self._trials, total=total, completed=done, description="probes of the profile")

    def begin(self, total: int, done: int) -> None:
        """Set the length of the bar."""
        self._done = done
        self._bar.reset(self._trials, total=total or None, completed=done, description="trials")

    def spent(self, share: float, budget: str) -> None:
        """Show it, and how many trials that makes in all."""
        self._budget = f", {share:.0%} of {budget}"
        if share > 0:
            self._bar.update(self._trials, total=max(round((self._done + 1) / share), self._done + 1))

    def started(self, trial: Trial) -> None:
        """Count a running trial."""
        self._running += 1
        self._show_running()

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Move the bar and redraw the front."""
        self._running = max(self._running - 1, 0)
        self._done += 1
        self._bar.advance(self._trials)
        self._show_running()
        members = sorted(front.trials, key=lambda t: -t.metrics["accuracy"])
        rows = [{"trial_id": t.id, **t.metrics} for t in members[:MEMBERS]]
        caption = f"front: {len(members)} trials" + (f", the {MEMBERS} most accurate" if len(members) > MEMBERS else "")
        if members:
            self.live.update(Group(self._bar, front_table(rows, caption=caption)))

    def _show_running(self) -> None:
        self._bar.update(self._trials, description=f"trials, {self._running} running{self._budget}")


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
