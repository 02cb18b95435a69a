"""Budgets of passes and of time, through the command line with a real Ray."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

Autocomp = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("task.epochs=12", "finetune.epochs=1", "finetune.polish_epochs=1", "finetune.polish_members=1")


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "run" / name).read_text())


def spending(autocomp: Autocomp, folder: Path, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A random search under a budget, which has no use for a profile: its summary and its trials."""
    result = autocomp(folder, "search", "--searcher", "random", "--out", "run", "tracking=none", *SMALL, *arguments)
    assert result.returncode == 0, result.stderr
    assert "profiling" not in result.stdout
    assert not (folder / "run" / "profile.json").exists()
    summary = read(folder, "summary.json")
    assert summary["profile_passes"] == 0
    return summary, pq.read_table(folder / "run" / "trials.parquet").to_pylist()


def test_a_budget_of_passes_is_exceeded_by_less_than_a_trial_and_a_resume_adds_none(tmp_path: Path, autocomp: Autocomp) -> None:
    summary, trials = spending(autocomp, tmp_path, "--budget", "60000img", "workers=2", "finetune.polish_members=3")
    budget = summary["budget"]
    assert (budget["kind"], budget["limit"], budget["spent"]) == ("image_passes", 60000, summary["image_passes"])
    largest = max(trial["image_passes"] for trial in trials)
    assert 0.5 * 60000 < summary["image_passes"] <= 60000 + largest
    assert len(trials) >= 4
    (tmp_path / "run" / "summary.json").unlink()  # as if it had been killed in the polish
    again = autocomp(tmp_path, "resume", str(tmp_path / "run"))
    assert again.returncode == 0, again.stderr
    resumed = read(tmp_path, "summary.json")
    assert resumed["trials"] == summary["trials"]
    assert [m["trial_id"] for m in resumed["front"]] == [m["trial_id"] for m in summary["front"]]


def test_a_budget_of_time_is_kept(tmp_path: Path, autocomp: Autocomp) -> None:
    summary, trials = spending(autocomp, tmp_path, "--budget", "30s", "workers=2")
    budget = summary["budget"]
    assert (budget["kind"], budget["limit"]) == ("seconds", 30)
    assert budget["spent"] == pytest.approx(summary["wall_s"], abs=1)
    # no trial starts beyond the budget, so that each of two workers is busy no longer than that and one trial more, however slow
    # the machine and the start are
    durations = [trial["duration_s"] for trial in trials]
    assert sum(durations) <= 2 * (30 + max(durations))
    assert len(trials) >= 2
    assert summary["wall_s"] > 10  # the time is made use of


def test_a_budget_that_is_too_small_has_one_trial_and_says_so(tmp_path: Path, autocomp: Autocomp) -> None:
    result = autocomp(tmp_path, "search", "--searcher", "random", "--budget", "10", "--out", "run", "tracking=none", "workers=1", *SMALL)
    assert result.returncode == 0, result.stderr
    assert "the budget 10 has room for one trial only; give it more" in result.stdout
    assert read(tmp_path, "summary.json")["trials"] == {"COMPLETE": 1}
