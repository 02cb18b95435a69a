"""The whole path through the command line, with a real Ray and a real MLflow database."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from autocomp.tasks import DigitsTask

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.mlflow]

Autocomp = Callable[..., subprocess.CompletedProcess[str]]
StopAfter = Callable[..., tuple[int, str, list[str]]]
SMALL = (
    *("task.epochs=12", "finetune.epochs=1", "finetune.polish_epochs=1", "finetune.polish_members=1"),
    *("profile.images=64", "profile.mixtures=8", "profile.pairs=4"),
)
ALONE = (*SMALL, "workers=1")
TRIALS = 8
METRICS = {"accuracy", "latency_s", "energy_j", "size_bytes", "macs", "params"}


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, autocomp: Autocomp, stop_after: StopAfter) -> tuple[Path, list[str]]:
    """A run that was killed in the middle and resumed from another folder; the journal's lines at the kill."""
    folder = tmp_path_factory.mktemp("killed")
    code, _, before = stop_after(folder, 3, signal.SIGKILL, "--trials", str(TRIALS), "workers=2", *SMALL)
    assert code == -signal.SIGKILL
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = autocomp(elsewhere, "resume", str(folder / "run"))
    assert result.returncode == 0, result.stderr
    assert list(elsewhere.iterdir()) == []  # the database stays where the run began
    return folder, before


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "run" / name).read_text())


def test_a_killed_run_loses_and_repeats_no_finished_trial(resumed: tuple[Path, list[str]]) -> None:
    folder, before = resumed
    lines = (folder / "run" / "journal.jsonl").read_text().splitlines()
    ended = [json.loads(line)["id"] for line in lines if "COMPLETE" in line]
    assert sorted(ended) == list(range(TRIALS))
    assert set(before) <= set(lines)
    keys = [json.dumps(json.loads(line)["configuration"]) for line in lines if "COMPLETE" in line]
    assert len(set(keys)) == TRIALS


def test_the_run_folder_holds_what_others_script_against(resumed: tuple[Path, list[str]]) -> None:
    folder, _ = resumed
    summary = read(folder, "summary.json")
    assert set(summary["teacher"]) >= METRICS
    assert set(summary["best"]) >= METRICS | {"trial_id", "test_accuracy"}
    assert summary["trials"] == {"COMPLETE": TRIALS}
    assert {"hypervolume", "reference_point", "front", "wall_s", "image_passes"} <= set(summary)
    trials = pq.read_table(folder / "run" / "trials.parquet").to_pylist()
    assert [row["trial_id"] for row in trials] == list(range(TRIALS))
    assert {row["trial_id"] for row in trials if row["on_front"]} == {member["trial_id"] for member in summary["front"]}
    front = pq.read_table(folder / "run" / "front.parquet")
    assert front.num_rows == len(summary["front"])
    assert any(name.startswith("choice/") and name.endswith("/weight_bits") for name in front.column_names)
    assert "<html" in (folder / "run" / "report.html").read_text()[:200]
    assert (folder / "run" / "config.yaml").exists()


def test_no_front_member_dominates_another(resumed: tuple[Path, list[str]]) -> None:
    members = read(resumed[0], "summary.json")["front"]
    points = [(-m["accuracy"], m["latency_s"], m["energy_j"]) for m in members]
    assert not any(a != b and all(x <= y for x, y in zip(a, b, strict=True)) for a in points for b in points)


def test_mlflow_has_every_trial_once_under_one_parent(resumed: tuple[Path, list[str]]) -> None:
    from autocomp.connection import connect

    client = connect(f"sqlite:///{resumed[0]}/mlflow.db")
    experiment = client.get_experiment_by_name("autocomp")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1
    assert sorted(int(run.data.tags["trial"]) for run in children) == list(range(TRIALS))
    assert {file.path for file in client.list_artifacts(parents[0].info.run_id)} >= {
        "trials.parquet",
        "report.html",
        "front.html",
        "config.yaml",
        "profile.json",
    }


def test_the_best_can_be_pulled_and_reproduces_its_test_accuracy_exactly(
    resumed: tuple[Path, list[str]], tmp_path: Path, autocomp: Autocomp
) -> None:
    folder, _ = resumed
    best = read(folder, "summary.json")["best"]
    uri = f"sqlite:///{folder}/mlflow.db"
    pulled = autocomp(tmp_path, "pull", "digits-fpga@best", "--out", "model", "--uri", uri)
    assert pulled.returncode == 0, pulled.stderr
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.pt2", "weights.safetensors", "configuration.json", "README.md"}
    measured = autocomp(tmp_path, "evaluate", "model", "--json")
    assert measured.returncode == 0, measured.stderr
    found = json.loads(measured.stdout)
    assert found["test_accuracy"] == best["test_accuracy"]
    assert found["reproduced"]


def test_a_finished_run_is_not_run_again(resumed: tuple[Path, list[str]], autocomp: Autocomp) -> None:
    result = autocomp(resumed[0], "resume", "run")
    assert result.returncode == 0
    assert "finished" in result.stderr


def test_an_interrupt_ends_with_130_and_the_command_that_goes_on(tmp_path: Path, stop_after: StopAfter) -> None:
    code, output, before = stop_after(tmp_path, 2, signal.SIGINT, "--trials", "40", "tracking=none", *ALONE)
    assert code == 130
    assert output.rstrip().endswith("autocomp resume run")
    assert "Traceback" not in output
    rows = pq.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    assert len(rows) >= len(before) >= 2


def test_a_limit_that_nothing_can_reach_is_said_before_anything_runs(tmp_path: Path, autocomp: Autocomp) -> None:
    result = autocomp(tmp_path, "search", "--out", "run", "objectives.latency_s.limit=1e-12", *ALONE)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "latency_s" in line
    assert "breaks the limit 1e-12" in line
    assert not (tmp_path / "run").exists()


def test_a_bad_argument_of_the_searcher_is_one_line_and_writes_nothing(tmp_path: Path, autocomp: Autocomp) -> None:
    result = autocomp(tmp_path, "search", "--out", "run", "-q", "+searcher.chains=0", *ALONE)
    assert result.returncode == 2
    assert result.stderr == "autocomp: error: `searcher.chains` must be at least 1, but is 0.\n"
    assert not (tmp_path / "run").exists()


def test_an_accuracy_that_no_trial_reaches_is_said_with_the_closest(tmp_path: Path, autocomp: Autocomp) -> None:
    result = autocomp(tmp_path, "search", "--trials", "2", "--out", "run", "tracking=none", "objectives.accuracy.limit=1.0", *ALONE)
    assert result.returncode == 1
    assert "No trial meets the limit accuracy 1; the closest had 0." in result.stderr
    assert pq.read_table(tmp_path / "run" / "trials.parquet").num_rows == 2


def choices(row: dict[str, Any], knob: str) -> dict[str, Any]:
    """What a trial's row says of one knob, by layer."""
    return {name.split("/")[1]: value for name, value in row.items() if name.startswith("choice/") and name.endswith(f"/{knob}")}


def test_layers_can_be_frozen_and_decide_together(tmp_path: Path, autocomp: Autocomp) -> None:
    rules = [
        "{match:'*',weight_bits:[3,4,6,8],activation_bits:8,sparsity:[0,0.5],together:true}",
        "{match:'*',sparsity:[0,0.25,0.5],together:false}",
        "{position:first,frozen:true}",
    ]
    arguments = (f"space.rules=[{','.join(rules)}]", "objectives.macs.limit=95%", "tracking=none", *ALONE)
    result = autocomp(tmp_path, "search", "--searcher", "rl", "--trials", "5", "--out", "run", *arguments)
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    for row in rows:
        bits, sparsity = choices(row, "weight_bits"), choices(row, "sparsity")
        assert set(choices(row, "activation_bits").values()) == {8}
        assert len({*bits.values()}) == 1
        assert {*bits.values()} <= {3, 4, 6, 8}
        assert len(bits) == len(sparsity) > 2
        assert "conv1" not in bits  # the first layer
    assert max(len(set(choices(row, "sparsity").values())) for row in rows) > 1
    summary = read(tmp_path, "summary.json")
    assert all(row["macs"] <= 0.95 * summary["teacher"]["macs"] for row in rows)
    weights = load_file(tmp_path / "run" / "models" / f"trial-{summary['best']['trial_id']:04d}" / "weights.safetensors")
    teacher = DigitsTask(epochs=12).teacher().get_submodule("conv1").weight
    assert torch.equal(weights["conv1.weight"], teacher)  # type: ignore[arg-type]
