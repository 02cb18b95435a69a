"""Runs that begin with what an earlier run learnt, through the command line with a real Ray."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

Autocomp = Callable[..., subprocess.CompletedProcess[str]]
StopAfter = Callable[..., tuple[int, str, list[str]]]
SMALL = (
    *("task.epochs=12", "finetune.epochs=1", "finetune.polish_epochs=1", "finetune.polish_members=1", "workers=1"),
    *("profile.images=64", "profile.mixtures=8", "profile.pairs=4"),
)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "run" / name).read_text())


def journal(folder: Path) -> list[dict[str, Any]]:
    """Every line of a run's journal."""
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, autocomp: Autocomp) -> Path:
    """A run to begin with."""
    folder = tmp_path_factory.mktemp("finished")
    result = autocomp(folder, "search", "--trials", "4", "--out", "earlier", "tracking=none", *SMALL)
    assert result.returncode == 0, result.stderr
    return folder / "earlier"


def test_a_run_learns_from_an_earlier_one_even_if_it_is_killed_and_the_earlier_one_is_gone(
    tmp_path: Path, finished: Path, autocomp: Autocomp, stop_after: StopAfter
) -> None:
    shutil.copytree(finished, tmp_path / "earlier")
    earlier = json.loads((tmp_path / "earlier" / "summary.json").read_text())
    tried = {json.dumps(row["configuration"]) for row in journal(tmp_path / "earlier")}
    warm = ("--trials", "6", "--warm-start", "earlier", "--seed", "1", "tracking=none", *SMALL)
    code, output, _ = stop_after(tmp_path, 2, signal.SIGKILL, *warm)
    assert code == -signal.SIGKILL
    assert "warm start from earlier: 4 of its 4 trials are told to the searcher" in output
    shutil.rmtree(tmp_path / "earlier")
    resumed = autocomp(tmp_path, "resume", "run")
    assert resumed.returncode == 0, resumed.stderr
    rows = [row for row in journal(tmp_path / "run") if row["status"] == "COMPLETE"]
    own = [row for row in rows if not row["reason"]]
    assert len(own) == 6
    assert not {json.dumps(row["configuration"]) for row in own} & tried
    assert len({row["id"] for row in rows}) == len(rows)
    adopted = [row for row in rows if row["reason"]]
    assert all(row["reason"].endswith(" of earlier") and json.dumps(row["configuration"]) in tried for row in adopted)
    summary = read(tmp_path, "summary.json")
    assert summary["trials"] == {"COMPLETE": 6 + len(adopted)}
    assert summary["hypervolume"] > 0.9 * earlier["hypervolume"]  # polished anew


def test_what_an_earlier_run_did_best_is_tried_first_where_training_is_another(tmp_path: Path, finished: Path, autocomp: Autocomp) -> None:
    tried = {json.dumps(row["configuration"]) for row in journal(finished)}
    other = ("--searcher", "random", "--trials", "4", "tracking=none", *SMALL, "finetune.batch_size=32")
    result = autocomp(tmp_path, "search", "--out", "run", "--warm-start", str(finished), *other)
    assert result.returncode == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("warm start"))
    count = int(line.split(" best ")[0].rpartition(" ")[2])
    assert line.endswith("configurations are tried first, because training differs")
    assert 1 <= count <= 2  # at most half of the trials
    known = [json.dumps(row["configuration"]) in tried for row in journal(tmp_path / "run") if row["status"] == "RUNNING"]
    assert known[:count] == [True] * count
    assert read(tmp_path, "summary.json")["trials"] == {"COMPLETE": 4}


@pytest.mark.parametrize("given", [["--warm-start", "nowhere"], ["warm_start=nowhere"]])
def test_a_warm_start_from_no_run_is_one_line_and_writes_nothing(tmp_path: Path, given: list[str], autocomp: Autocomp) -> None:
    result = autocomp(tmp_path, "search", "--out", "run", *given, *SMALL)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.endswith("'nowhere' holds no run: it has no journal.jsonl.")
    assert result.stdout == ""  # it is said before anything is loaded
    assert not (tmp_path / "run").exists()
