"""A whole search on a crossbar, from the command line: accuracy is that of several devices, and its spread is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from autocomp.tasks import DigitsTask


@pytest.mark.slow
@pytest.mark.ray
def test_a_search_on_a_crossbar_tells_the_spread_and_measures_its_front_on_other_devices(
    tmp_path: Path, autocomp: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    space = "space.rules=[{match: '*', weight_bits: [8, 4]}]"
    profile = ("profile.images=32", "profile.mixtures=2", "profile.pairs=0")
    settings = ("task.epochs=2", "finetune=none", "finetune.polish_members=1", "tracking=none", "--out", "run", space, *profile)
    command = ["search", "--hw", "rram", "--searcher", "annealing", "--trials", "2", "--workers", "1", *settings]
    result = autocomp(tmp_path, *command)
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["COMPLETE"] * 2
    assert all(0 <= row["accuracy_std"] < 0.5 for row in rows)
    assert any(row["accuracy_std"] > 0 for row in rows)
    front = pq.read_table(tmp_path / "run" / "front.parquet").to_pylist()  # untrained: the networks of the trials
    tried = {row["trial_id"]: row for row in rows}
    assert any(row["accuracy_std"] != tried[row["trial_id"]]["accuracy_std"] for row in front)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # the untouched network is measured, too, as long as a trial
    spent = json.loads((tmp_path / "run" / "profile.json").read_text())["spent_passes"] + sum(row["image_passes"] for row in rows)
    polished = int(next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("polishing")))
    each = rows[0]["image_passes"]
    assert summary["image_passes"] == pytest.approx(spent + each + polished * (each + len(DigitsTask().test())))
    assert "accuracy_std" in json.dumps(summary)
    assert "Spread of the accuracy over devices" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
