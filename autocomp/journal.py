"""Journal: every trial that was asked for and every one that ended, appended to one file that survives a kill."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from autocomp.trial import Trial

JOURNAL = "journal.jsonl"  # in the folder of a run


class Journal:
    """One JSON line per event. A trial is RUNNING from its first line and ends with its last.

    A line is on disk before the run goes on, so that nothing that ended is lost. A line that a crash cut off is ignored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, trial: Trial) -> None:
        """Write a trial down as it is now."""
        with self.path.open("ab+") as file:
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")
            file.write(json.dumps(trial.to_record()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def trials(self) -> list[Trial]:
        """The last state of every trial, by number; none where there is no journal yet."""
        found: dict[int, Trial] = {}
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                trial = Trial.from_record(json.loads(line))
                found[trial.id] = trial
        return [found[number] for number in sorted(found)]
