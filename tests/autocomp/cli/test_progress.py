from __future__ import annotations

import io

import pytest
from rich.console import Console

from autocomp.choice import Configuration
from autocomp.cli.progress import watching
from autocomp.objective import Objective
from autocomp.pareto import ParetoFront
from autocomp.trial import Status, Trial

OBJECTIVES = (Objective("accuracy", "max"), Objective("latency_s"))


def trial(number: int, accuracy: float, latency: float) -> Trial:
    return Trial(number, Configuration({}), Status.COMPLETE, {"accuracy": accuracy, "latency_s": latency})


def play(console: Console, *, quiet: bool = False) -> None:
    """A short run: one trial from before, one that is complete, one that failed."""
    front = ParetoFront(OBJECTIVES, [trial(0, 0.9, 1e-5)])
    with watching(console, quiet=quiet) as progress:
        progress.stage("training the teacher")
        for done_probes in (0, 9, 11, 40):
            progress.profiling(40, done_probes)
        progress.begin(3, 1)
        done = trial(1, 0.95, 2e-5)
        progress.started(done)
        front.add(done)
        progress.finished(done, front)
        progress.finished(Trial(2, Configuration({}), Status.FAILED, reason="out of\nmemory"), front)
        progress.note("MLflow [away] is not there")
        progress.end()


def test_without_a_terminal_every_event_is_one_plain_line() -> None:
    console = Console(file=io.StringIO(), width=140)
    play(console)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "training the teacher",
        "11 of 40 probes",
        "40 of 40 probes",
        "3 trials, 1 of them finished before",
        "[2/3] trial 1 complete: accuracy 95.00 %, latency 20.0 µs; front 2",
        "[3/3] trial 2 failed: out of memory; front 2",
        "warning: MLflow [away] is not there",
    ]


def play_with_budget(console: Console) -> None:
    front = ParetoFront(OBJECTIVES, [trial(0, 0.95, 2e-5)])
    with watching(console, quiet=False) as progress:
        progress.begin(0, 1)
        progress.spent(0.25, "20m")
        progress.finished(trial(1, 0.95, 2e-5), front)


def test_a_budget_shows_how_much_of_it_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Console(file=io.StringIO(), width=140)
    play_with_budget(lines)
    assert lines.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "as many trials as the budget has room for, 1 of them finished before",
        "[2] trial 1 complete: accuracy 95.00 %, latency 20.0 µs; front 1; 25% of the trials' part of 20m",
    ]
    monkeypatch.setenv("TERM", "xterm")
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True)
    play_with_budget(terminal)
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "25% of 20m" in drawn
    assert "2/8" in drawn  # two trials in a quarter make eight in all


def test_quiet_says_only_what_must_not_be_missed() -> None:
    console = Console(file=io.StringIO(), width=140)
    play(console, quiet=True)
    assert console.file.getvalue() == "warning: MLflow [away] is not there\n"  # type: ignore[attr-defined]


def test_a_terminal_shows_the_bar_and_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    play(console)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/3" in drawn
    assert "front: 2 trials" in drawn
    assert "95.00 %" in drawn
    assert "warning: MLflow [away] is not there" in drawn
