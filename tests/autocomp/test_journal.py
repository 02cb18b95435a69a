from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autocomp.choice import Choice, Configuration
from autocomp.journal import Journal
from autocomp.trial import Status, Trial

RUNNING = Trial(3, Configuration({"a": Choice(weight_bits=4)}), seed=7)
ENDED = replace(RUNNING, status=Status.COMPLETE, metrics={"accuracy": 0.5}, fidelity=2.0)


def test_the_last_line_of_a_trial_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for trial in (RUNNING, replace(RUNNING, id=1), ENDED):
        journal.append(trial)
    assert journal.trials() == [replace(RUNNING, id=1), ENDED]


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal.jsonl").trials() == []


def test_a_line_that_a_crash_cut_off_is_ignored_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(RUNNING)
    with journal.path.open("a") as file:
        file.write('{"id": 4, "configu')
    assert journal.trials() == [RUNNING]
    journal.append(ENDED)
    assert journal.trials() == [ENDED]
