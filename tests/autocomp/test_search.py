"""The whole path through the command line, with a real Ray and a real MLflow database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from autocomp.tasks import DigitsTask

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.mlflow]

ROOT = Path(__file__).parents[2]
SMALL = ("task.epochs=12", "finetune.epochs=1", "finetune.polish_epochs=1", "finetune.polish_members=1", "workers=2")
TRIALS = 8
METRICS = {"accuracy", "latency_s", "energy_j", "size_bytes", "macs", "params"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autocomp.cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def autocomp(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def stop_after(cwd: Path, trials: int, sent: signal.Signals, *arguments: str) -> tuple[int, str, list[str]]:
    """Start a search, send its process group a signal once some trials are complete; exit code, output and journal lines."""
    journal = cwd / "run" / "journal.jsonl"
    with (cwd / "log").open("w+") as log:
        process = subprocess.Popen(
            command("search", "--out", "run", *arguments),
            cwd=cwd,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
        )
        deadline = time.monotonic() + 240
        while not (journal.exists() and journal.read_text().count("COMPLETE") >= trials):
            assert process.poll() is None, (cwd / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if sent is signal.SIGKILL:
            process.kill()  # the driver alone, as the kernel would when memory runs out
        else:
            os.killpg(process.pid, sent)  # as a terminal does
        code = process.wait(60)
    return code, (cwd / "log").read_text(), [line for line in journal.read_text().splitlines() if "COMPLETE" in line]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that was killed in the middle and resumed from another folder; the journal's lines at the kill."""
    folder = tmp_path_factory.mktemp("killed")
    code, _, before = stop_after(folder, 3, signal.SIGKILL, "--trials", str(TRIALS), *SMALL)
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


def test_the_best_can_be_pulled_and_reproduces_its_test_accuracy_exactly(resumed: tuple[Path, list[str]], tmp_path: Path) -> None:
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


def test_a_finished_run_is_not_run_again(resumed: tuple[Path, list[str]]) -> None:
    result = autocomp(resumed[0], "resume", "run")
    assert result.returncode == 0
    assert "finished" in result.stderr


def test_an_interrupt_ends_with_130_and_the_command_that_goes_on(tmp_path: Path) -> None:
    code, output, before = stop_after(tmp_path, 2, signal.SIGINT, "--trials", "40", "tracking=none", *SMALL)
    assert code == 130
    assert output.rstrip().endswith("autocomp resume run")
    assert "Traceback" not in output
    rows = pq.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    assert len(rows) >= len(before) >= 2


def test_a_limit_that_nothing_can_reach_is_said_before_anything_runs(tmp_path: Path) -> None:
    result = autocomp(tmp_path, "search", "--out", "run", "objectives.latency_s.limit=1e-12", *SMALL)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "latency_s" in line
    assert "breaks the limit 1e-12" in line
    assert not (tmp_path / "run").exists()


def spending(folder: Path, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A random search without profile under a budget: its summary and its trials."""
    result = autocomp(folder, "search", "--searcher", "random", "--out", "run", "tracking=none", *SMALL, *arguments)
    assert result.returncode == 0, result.stderr
    return read(folder, "summary.json"), pq.read_table(folder / "run" / "trials.parquet").to_pylist()


def test_a_budget_of_passes_is_exceeded_by_less_than_a_trial_and_a_resume_adds_none(tmp_path: Path) -> None:
    summary, trials = spending(tmp_path, "--budget", "60000img", "finetune.polish_members=3")
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


def test_a_budget_of_time_is_kept(tmp_path: Path) -> None:
    summary, trials = spending(tmp_path, "--budget", "30s")
    budget = summary["budget"]
    assert (budget["kind"], budget["limit"]) == ("seconds", 30)
    assert budget["spent"] == pytest.approx(summary["wall_s"], abs=1)
    # no trial starts beyond the budget, so that each of two workers is busy no longer than that and one trial more, however slow
    # the machine and the start are
    durations = [trial["duration_s"] for trial in trials]
    assert sum(durations) <= 2 * (30 + max(durations))
    assert len(trials) >= 2
    assert summary["wall_s"] > 10  # the time is made use of


def test_a_budget_that_is_too_small_has_one_trial_and_says_so(tmp_path: Path) -> None:
    result = autocomp(tmp_path, "search", "--searcher", "random", "--budget", "10", "--out", "run", "tracking=none", *SMALL)
    assert result.returncode == 0, result.stderr
    assert "the budget 10 has room for one trial only; give it more" in result.stdout
    assert read(tmp_path, "summary.json")["trials"] == {"COMPLETE": 1}


def test_an_accuracy_that_no_trial_reaches_is_said_with_the_closest(tmp_path: Path) -> None:
    result = autocomp(tmp_path, "search", "--trials", "2", "--out", "run", "tracking=none", "objectives.accuracy.limit=1.0", *SMALL)
    assert result.returncode == 1
    assert "No trial meets the limit accuracy 1; the closest had 0." in result.stderr
    assert pq.read_table(tmp_path / "run" / "trials.parquet").num_rows == 2


def choices(row: dict[str, Any], knob: str) -> dict[str, Any]:
    """What a trial's row says of one knob, by layer."""
    return {name.split("/")[1]: value for name, value in row.items() if name.startswith("choice/") and name.endswith(f"/{knob}")}


@pytest.mark.parametrize("searcher", ["annealing", "rl"])
def test_layers_can_be_frozen_and_decide_together(tmp_path: Path, searcher: str) -> None:
    rules = [
        "{match:'*',weight_bits:[3,4,6,8],activation_bits:8,sparsity:[0,0.5],together:true}",
        "{match:'*',sparsity:[0,0.25,0.5],together:false}",
        "{position:first,frozen:true}",
    ]
    arguments = (f"space.rules=[{','.join(rules)}]", "objectives.macs.limit=95%", "tracking=none", *SMALL)
    result = autocomp(tmp_path, "search", "--searcher", searcher, "--trials", "5", "--out", "run", *arguments)
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


def test_a_run_learns_from_an_earlier_one_even_if_it_is_killed_and_the_earlier_one_is_gone(tmp_path: Path) -> None:
    result = autocomp(tmp_path, "search", "--trials", "4", "--out", "earlier", "tracking=none", *SMALL)
    assert result.returncode == 0, result.stderr
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


def test_what_an_earlier_run_did_best_is_tried_first_where_training_is_another(tmp_path: Path) -> None:
    result = autocomp(tmp_path, "search", "--searcher", "random", "--trials", "4", "--out", "earlier", "tracking=none", *SMALL)
    assert result.returncode == 0, result.stderr
    tried = {json.dumps(row["configuration"]) for row in journal(tmp_path / "earlier")}
    other = ("--searcher", "random", "--trials", "4", "tracking=none", *SMALL, "finetune.batch_size=32")
    result = autocomp(tmp_path, "search", "--out", "run", "--warm-start", "earlier", *other)
    assert result.returncode == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("warm start"))
    count = int(line.split(" best ")[0].rpartition(" ")[2])
    assert line.endswith("configurations are tried first, because training differs")
    assert 1 <= count <= 2  # at most half of the trials
    known = [json.dumps(row["configuration"]) in tried for row in journal(tmp_path / "run") if row["status"] == "RUNNING"]
    assert known[:count] == [True] * count
    assert read(tmp_path, "summary.json")["trials"] == {"COMPLETE": 4}


@pytest.mark.parametrize("given", [["--warm-start", "nowhere"], ["warm_start=nowhere"]])
def test_a_warm_start_from_no_run_is_one_line_and_writes_nothing(tmp_path: Path, given: list[str]) -> None:
    result = autocomp(tmp_path, "search", "--out", "run", *given, *SMALL)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].endswith("'nowhere' holds no run: it has no journal.jsonl.")
    assert not (tmp_path / "run").exists()


def journal(folder: Path) -> list[dict[str, Any]]:
    """Every line of a run's journal."""
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
