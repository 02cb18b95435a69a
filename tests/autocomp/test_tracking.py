"""Tracking, on a real MLflow database."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autocomp.choice import Choice, Configuration
from autocomp.connection import connect
from autocomp.outcome import FrontMember
from autocomp.tracking import Tracker, Tracking, flatten, is_registered
from autocomp.trial import Status, Trial

pytestmark = pytest.mark.mlflow

CONFIG = {"seed": 1, "searcher": {"name": "annealing", "rates": [0.1, 0.2]}, "limits": {}, "note": "a" * 7000}
TAGS = {"task": "digits", "hw": "zcu102"}
METRICS = {"accuracy": 0.97, "loss": 0.1, "latency_s": 1e-4, "energy_j": 2e-6}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated database; making one takes seconds, copying it nothing."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    """A run folder beside a fresh database."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    path = tmp_path / "runs" / "first"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("seed: 1\n")
    return path


def no_warning(text: str) -> None:
    """Fails the test that was warned."""
    raise AssertionError(text)


def tracker(folder: Path, **settings: Any) -> Tracker:
    """An open tracker on the database beside the run folder."""
    tracking = Tracking(f"sqlite:///{folder.parents[1] / 'mlflow.db'}", **settings)
    opened = Tracker(tracking, model="digits-fpga", folder=folder, warn=no_warning)
    opened.open(CONFIG, TAGS)
    return opened


def trial(number: int, status: Status = Status.COMPLETE, **changes: Any) -> Trial:
    """A trial of two layers."""
    configuration = Configuration({"conv1": Choice(weight_bits=2 + number), "fc": Choice(sparsity=0.5, pattern="fine")})
    return Trial(number, configuration, status, METRICS, fidelity=3.0, seed=number, duration_s=2.0, **changes)


def member(folder: Path, number: int, accuracy: float = 0.98) -> FrontMember:
    """A front member with a file."""
    files = folder / "front" / f"trial-{number}"
    files.mkdir(parents=True, exist_ok=True)
    (files / "model.pt2").write_bytes(bytes([number]))
    return FrontMember(trial(number), {**METRICS, "accuracy": accuracy, "test_accuracy": 0.96}, files)


def children(folder: Path) -> dict[str, Any]:
    """The runs of the database by name."""
    client = connect(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("autocomp").experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert len(runs) == len(found)  # no name twice: nothing was written twice
    return runs


def test_a_search_is_a_parent_run_with_its_settings(folder: Path) -> None:
    tracker(folder).close()
    parent = children(folder)["first"]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["searcher.name"] == "annealing"
    assert parent.data.params["searcher.rates"] == "[0.1, 0.2]"
    assert len(parent.data.params["note"]) == 6000  # MLflow's limit; config.yaml has the whole
    assert parent.data.tags["hw"] == "zcu102"
    client = connect(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["config.yaml"]


def test_a_trial_is_a_child_run_with_decisions_metrics_and_times(folder: Path) -> None:
    open_tracker = tracker(folder)
    open_tracker.log_trial(trial(7))
    runs = children(folder)
    child = runs["trial-0007"]
    assert child.data.tags["mlflow.parentRunId"] == runs["first"].info.run_id
    assert child.data.params == {"conv1/weight_bits": "9", "fc/sparsity": "0.5", "fc/pattern": "fine"}
    assert child.data.metrics == {**METRICS, "fidelity": 3.0, "duration_s": 2.0, "image_passes": 0.0}
    assert child.info.end_time - child.info.start_time == 2000
    assert abs(child.info.end_time / 1000 - time.time()) < 60


def test_the_status_of_a_trial_becomes_that_of_its_run(folder: Path) -> None:
    open_tracker = tracker(folder)
    for number, status in enumerate((Status.COMPLETE, Status.PRUNED, Status.INFEASIBLE, Status.FAILED)):
        open_tracker.log_trial(trial(number, status, reason="because"))
    runs = children(folder)
    assert [runs[f"trial-{n:04d}"].info.status for n in range(4)] == ["FINISHED", "KILLED", "KILLED", "FAILED"]
    assert runs["trial-0002"].data.tags["status"] == "INFEASIBLE"
    assert runs["trial-0003"].data.tags["reason"] == "because"


def test_more_decisions_than_mlflow_takes_at_once_are_all_written(folder: Path) -> None:
    layers = {f"conv{i}": Choice(weight_bits=4, activation_bits=8) for i in range(120)}
    tracker(folder).log_trial(Trial(0, Configuration(layers), Status.COMPLETE, METRICS))
    assert len(children(folder)["trial-0000"].data.params) == 240  # two knobs each


def test_metrics_that_are_not_finite_are_taken(folder: Path) -> None:
    tracker(folder).log_trial(Trial(0, Configuration({}), Status.COMPLETE, {"loss": float("nan"), "latency_s": float("inf")}))
    assert children(folder)["trial-0000"].info.status == "FINISHED"


def test_the_front_becomes_registered_versions_and_the_best_has_the_alias(folder: Path) -> None:
    open_tracker = tracker(folder)
    for number in range(3):
        open_tracker.log_trial(trial(number))
    (folder / "report.html").write_text("<html>")
    versions = open_tracker.log_front([member(folder, 0), member(folder, 2, 0.99)], 2, [folder / "report.html"])
    open_tracker.close()
    client = connect(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    best = client.get_model_version_by_alias("digits-fpga", "best")
    assert int(best.version) == versions[2]
    assert best.tags == TAGS | {"trial": "2", "accuracy": "0.99", "test_accuracy": "0.96"} | {
        "loss": "0.1",
        "latency_s": "0.0001",
        "energy_j": "2e-06",
    }
    runs = children(folder)
    assert best.run_id == runs["trial-0002"].info.run_id
    assert [file.path for file in client.list_artifacts(best.run_id, "model")] == ["model/model.pt2"]
    assert {file.path for file in client.list_artifacts(runs["first"].info.run_id)} == {"config.yaml", "report.html"}
    assert runs["first"].data.metrics["accuracy"] == 0.99


def test_writing_the_front_again_adds_no_version(folder: Path) -> None:
    open_tracker = tracker(folder)
    members = [member(folder, 0), member(folder, 1)]
    assert not is_registered(folder)
    first = open_tracker.log_front(members, 0)
    assert is_registered(folder)
    again = tracker(folder).log_front(members, 1)
    assert first == again
    client = connect(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    assert int(client.get_model_version_by_alias("digits-fpga", "best").version) == first[1]


def test_a_resumed_search_continues_its_run_and_writes_no_trial_twice(folder: Path) -> None:
    before = tracker(folder)
    before.log_trial(trial(0))
    before.log_trial(trial(1))
    before.close("KILLED")
    assert children(folder)["first"].info.status == "KILLED"
    after = tracker(folder)
    assert children(folder)["first"].info.status == "RUNNING"
    for number in range(3):
        after.log_trial(trial(number))
    after.close()
    runs = children(folder)
    assert set(runs) == {"first", "trial-0000", "trial-0001", "trial-0002"}
    assert runs["first"].info.status == "FINISHED"


def test_a_trial_that_was_cut_off_in_mid_writing_is_written_anew(folder: Path) -> None:
    tracker(folder).log_trial(trial(0))
    client = connect(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    parent = children(folder)["first"].info
    client.create_run(parent.experiment_id, tags={"mlflow.parentRunId": parent.run_id, "trial": "1"}, run_name="trial-0001")
    tracker(folder).log_trial(trial(1))
    assert children(folder)["trial-0001"].data.metrics["accuracy"] == 0.97


def test_a_resumed_search_finds_its_database_from_another_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (folder.parents[1], folder):
        monkeypatch.chdir(place)
        opened = Tracker(Tracking(), model="digits-fpga", folder=folder, warn=no_warning)
        opened.open(CONFIG, TAGS)
        opened.log_trial(trial(0))
    assert set(children(folder)) == {"first", "trial-0000"}
    assert not (folder / "mlflow.db").exists()


def test_a_search_whose_database_was_deleted_begins_a_new_run(folder: Path, migrated: Path) -> None:
    tracker(folder).log_trial(trial(0))
    fresh = folder.parents[1] / "other" / "mlflow.db"
    fresh.parent.mkdir()
    shutil.copy(migrated, fresh)
    (folder / "tracking.json").write_text(f'{{"uri": "sqlite:///{fresh}", "run_id": "{"0" * 32}"}}')
    tracker(folder).log_trial(trial(1))
    client = connect(f"sqlite:///{fresh}")
    found = client.search_runs([client.get_experiment_by_name("autocomp").experiment_id])
    assert {run.info.run_name for run in found} == {"first", "trial-0001"}


def test_a_server_that_does_not_answer_is_told_once_and_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    told: list[str] = []
    lost = Tracker(Tracking("http://127.0.0.1:9"), model="m", folder=tmp_path, warn=told.append)
    start = time.perf_counter()
    lost.open(CONFIG, TAGS)
    for number in range(10):
        lost.log_trial(trial(number))
    assert lost.log_front([member(tmp_path, 0)], 0) == {}
    assert not is_registered(tmp_path)
    lost.close()
    assert time.perf_counter() - start < 10
    kinds = [text.removeprefix("MLflow at http://127.0.0.1:9 did not take the search's ").partition(":")[0] for text in told]
    assert kinds == ["run", "front", "end"]  # the trials wait for a while
    assert not any("\n" in text for text in told)
    assert capfd.readouterr().err == ""


def test_trials_that_were_not_taken_are_written_when_the_database_is_back(folder: Path) -> None:
    database = folder.parents[1] / "later" / "mlflow.db"
    database.parent.touch()  # a file where a folder should be: nothing can be written
    told: list[str] = []
    late = Tracker(Tracking(f"sqlite:///{database}"), model="digits-fpga", folder=folder, warn=told.append)
    late.open(CONFIG, TAGS)
    late.log_trial(trial(0))
    late.log_trial(trial(1))
    database.parent.unlink()
    database.parent.mkdir()
    shutil.move(folder.parents[1] / "mlflow.db", database)
    assert late.log_front([member(folder, 1)], 1) == {1: 1}
    client = connect(f"sqlite:///{database}")
    found = client.search_runs([client.get_experiment_by_name("autocomp").experiment_id])
    assert {run.info.run_name for run in found} == {"first", "trial-0000", "trial-0001"}
    assert len(told) == 1


def test_tracking_that_is_switched_off_writes_nothing(tmp_path: Path) -> None:
    off = Tracker(Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", enabled=False), model="m", folder=tmp_path, warn=no_warning)
    off.open(CONFIG, TAGS)
    off.log_trial(trial(0))
    assert off.log_front([], 0) == {}
    off.close()
    assert not list(tmp_path.iterdir())


def test_a_search_writes_its_files_where_it_is_told_to(folder: Path) -> None:
    place = folder.parents[1] / "files"
    tracker(folder, artifact_location=str(place)).log_front([member(folder, 0)], 0)
    assert [path.name for path in place.rglob("*.pt2")] == ["model.pt2"]


def test_making_and_writing_a_new_database_prints_nothing(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from autocomp.tracking import Tracker, Tracking
from autocomp.trial import Status, Trial
from autocomp.choice import Configuration
tracker = Tracker(Tracking(), model="m", folder=Path("run"), warn=print)
tracker.open({CONFIG!r}, {TAGS!r})
tracker.log_trial(Trial(0, Configuration({{}}), Status.COMPLETE))
tracker.close()
"""
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert (result.stdout, result.stderr) == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "run"}


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    told: list[str] = []
    Tracker(Tracking("nothing://me:secret@host/db"), model="m", folder=tmp_path, warn=told.append).open(CONFIG, TAGS)
    assert "nothing://me:***@host/db" in told[0]
    assert "secret" not in told[0]


def test_settings_become_flat_names_and_plain_text() -> None:
    flat = dict(flatten({"a": {"b": {"c": 1.5}, "d": []}, "e": None, "f": "text", "g": {}}))
    assert flat == {"a.b.c": "1.5", "a.d": "[]", "e": "null", "f": "text", "g": "{}"}
