"""Registry, on a real MLflow database with models that a real search's tracker wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autocomp.choice import Choice, Configuration
from autocomp.errors import UnknownNameError, UsageError
from autocomp.export import load_network, read_record, write_model
from autocomp.outcome import FrontMember
from autocomp.registry import list_models, pull
from autocomp.tracking import Tracker, Tracking
from autocomp.trial import Status, Trial

pytestmark = pytest.mark.mlflow

METRICS = {"accuracy": 0.97, "test_accuracy": 0.1 + 0.2, "latency_s": 1.25e-4}


def network(seed: int) -> nn.Module:
    """A linear classifier."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()


def record(trial: int) -> dict[str, Any]:
    """What the run tells about the classifier."""
    return {
        "name": "digits-fpga",
        "version": "0.1.0",
        "task": "digits",
        "hw": "zcu102",
        "trial": trial,
        "seed": 0,
        "input_shape": [1, 2, 2],
        "mean": [0.5],
        "std": [0.5],
        "metrics": METRICS,
        "teacher": METRICS,
        "configuration": {"fc/weight_bits": 4},
        "config": {},
        "data": {},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where a search registered trials 0 and 5, the best being 5."""
    path = tmp_path_factory.mktemp("search")
    tracker = Tracker(Tracking(f"sqlite:///{path / 'mlflow.db'}"), model="digits-fpga", folder=path / "run", warn=pytest.fail)
    tracker.open({"seed": 0}, {"task": "digits", "hw": "zcu102"})
    members = []
    for number in (0, 5):
        write_model(path / "front" / str(number), network(number), record(number))
        trial = Trial(number, Configuration({"fc": Choice(weight_bits=4)}), Status.COMPLETE, METRICS)
        members.append(FrontMember(trial, METRICS, path / "front" / str(number)))
    tracker.log_front(members, 5)
    tracker.close()
    return path


@pytest.fixture
def uri(place: Path) -> str:
    """Of the database."""
    return f"sqlite:///{place / 'mlflow.db'}"


def test_models_are_listed_with_alias_trial_and_metrics(uri: str) -> None:
    rows = list_models(uri)
    assert [(row["name"], row["version"], row["aliases"], row["trial"]) for row in rows] == [
        ("digits-fpga", 2, ["best"], 5),
        ("digits-fpga", 1, [], 0),
    ]
    assert rows[0]["metrics"] == METRICS  # bit for bit, although tags are text
    assert (rows[0]["task"], rows[0]["hw"]) == ("digits", "zcu102")
    assert rows[0]["created"].endswith("+00:00")


@pytest.mark.parametrize(
    ("reference", "trial"),
    [("digits-fpga", 5), ("digits-fpga@best", 5), ("digits-fpga:1", 0), ("digits-fpga/2", 5), ("models:/digits-fpga@best", 5)],
)
def test_a_pulled_model_computes_what_was_registered(uri: str, tmp_path: Path, reference: str, trial: int) -> None:
    out = pull(reference, uri=uri, out=tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {"model.pt2", "weights.safetensors", "configuration.json", "README.md"}
    assert read_record(out) == record(trial)
    images = torch.randn(5, 1, 2, 2)
    with torch.inference_mode():
        assert torch.equal(load_network(out)(images), network(trial)(images))


def test_a_model_is_pulled_from_another_working_directory(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{os.path.relpath(place / 'mlflow.db')}"
    assert (pull("digits-fpga", uri=uri, out=Path("here")) / "model.pt2").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_reading_a_missing_database_says_where_it_looked_and_creates_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=str(tmp_path / "mlflow.db")):
        list_models("sqlite:///mlflow.db")
    with pytest.raises(UsageError, match=str(tmp_path / "mlflow.db")):
        pull("digits-fpga", uri="sqlite:///mlflow.db", out=Path("out"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all " * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        list_models(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_server_that_does_not_answer_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:9 cannot be read"):
        pull("digits-fpga", uri="http://127.0.0.1:9", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digit-fpga", "There is no registered model 'digit-fpga'. Did you mean 'digits-fpga'? Known: digits-fpga."),
        ("digits-fpga@bets", "There is no alias of the model 'digits-fpga', 'bets'. Did you mean 'best'? Known: best."),
        ("digits-fpga:3", "There is no version of the model 'digits-fpga', '3'. Known: 1, 2."),
    ],
)
def test_an_unknown_name_alias_or_version_lists_what_there_is(uri: str, tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        pull(reference, uri=uri, out=tmp_path / "out")
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reference", ["", "@best", "digits-fpga@", "digits-fpga:best", "a@b@c"])
def test_a_malformed_reference_is_a_usage_error(uri: str, tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="NAME, NAME@ALIAS or NAME:VERSION"):
        pull(reference, uri=uri, out=tmp_path / "out")


def test_a_folder_that_is_not_empty_is_left_alone(uri: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="must be new or empty"):
        pull("digits-fpga", uri=uri, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_pulling_leaves_the_pickle_switch_as_it_was(uri: str, tmp_path: Path) -> None:
    pull("digits-fpga", uri=uri, out=tmp_path / "out")
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" not in os.environ
