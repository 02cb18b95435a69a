"""Tracking: a search written to MLflow, from the driver only: runs, artifacts and registered models."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from autocomp.connection import absolute, connect, database_file, first_line, pages, public
from autocomp.files import new_file
from autocomp.objective import MEASURED_METRICS, PAPER_METRICS
from autocomp.outcome import FrontMember
from autocomp.trial import Status, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

VERSION_METRICS = (*MEASURED_METRICS, "test_accuracy", *PAPER_METRICS)
MODEL_FOLDER = "model"  # of a child run's artifacts
BEST = "best"  # the alias of the version that the run recommends
RUN_FILE = "tracking.json"  # in the run folder: which MLflow run a resumed search continues, and whether its best is registered

# A pruned trial was stopped on purpose and an infeasible one never ran; only an error is a failure.
RUN_STATUS: Mapping[Status, RunStatus] = {
    Status.COMPLETE: "FINISHED",
    Status.PRUNED: "KILLED",
    Status.INFEASIBLE: "KILLED",
    Status.FAILED: "FAILED",
}
# Limits of MLflow 3.17, mlflow/utils/validation.py.
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 5000
RETRY_AFTER_S = 60.0  # a server that does not answer must not hold up every trial


@dataclass(frozen=True)
class Tracking:
    """Where a search is written.

    Attributes:
        uri: an SQLAlchemy database URL or an MLflow server; ``sqlite:///FILE`` is relative to the working directory.
        artifact_location: folder or URI for files; None for ``mlartifacts`` beside the database, or the server's choice.
        name: of the MLflow experiment that gathers the runs.
        enabled: False writes nothing.
    """

    uri: str = "sqlite:///mlflow.db"
    artifact_location: str | None = None
    name: str = "autocomp"
    enabled: bool = True


def is_registered(folder: Path) -> bool:
    """Whether the run in a folder left its best in a registry."""
    return bool(_remembered(folder).get("registered"))


def _remembered(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested settings as ``("searcher.seed", "1")``; what is not text becomes JSON."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, default=str)


@dataclass(frozen=True)
class _Run:
    """A parent run that was reached: its experiment, and the run id of each trial that it holds."""

    client: MlflowClient
    experiment_id: str
    id: str
    children: dict[int, str]


class Tracker:
    """Writes one search to MLflow: a parent run, a child run for each trial, a registered model for the front.

    A database or server that fails never ends a search: the first failure of each kind is told through ``warn``, trials
    that were not taken are kept and offered again later. Every method can be repeated without writing anything twice.

    Args:
        tracking: where to write.
        model: name of the registered model.
        folder: the run folder; remembers which MLflow run a resumed search continues.
        warn: is told one line about what could not be written.
    """

    def __init__(self, tracking: Tracking, *, model: str, folder: Path, warn: Callable[[str], None]) -> None:
        self._tracking = tracking
        self._model = model
        self._folder = folder
        self._warn = warn
        self._config: Mapping[str, Any] = {}
        self._tags: Mapping[str, str] = {}
        self._run: _Run | None = None
        self._pending: dict[int, tuple[Trial, int]] = {}  # trials that are not written yet, with the time of their end
        self._warned: set[str] = set()
        self._next_attempt = 0.0

    def open(self, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Begin or, where the run folder remembers one, continue the parent run.

        Args:
            config: resolved settings of the search.
            tags: of the parent run and of every registered version: ``task``, ``hw`` and the like.
        """
        self._config, self._tags = config, tags
        self._attempt("run", self._reached)

    def log_trial(self, trial: Trial) -> None:
        """Write a finished trial; one that is written already is left as it is."""
        self._pending[trial.id] = (trial, _now_ms())
        if time.monotonic() >= self._next_attempt:
            self._attempt("trials", self._write_pending)

    def log_front(self, members: Sequence[FrontMember], best: int, files: Sequence[Path] = ()) -> dict[int, int]:
        """Write the front: its models as artifacts and registered versions, the run's files and the best one's metrics.

        Args:
            members: the front; their trials are written first where they are not yet.
            best: trial id of the member that gets the alias ``best``.
            files: of the run, such as the report.

        Returns:
            Registered version of each trial id; empty if the front could not be written.
        """
        self._pending.update({member.trial.id: (member.trial, _now_ms()) for member in members})
        return self._attempt("front", lambda: self._write_front(members, best, files)) or {}

    def close(self, status: RunStatus = "FINISHED") -> None:
        """End the parent run, after one more attempt at what is not written yet."""
        self._attempt("end", lambda: self._end(status))

    def _attempt(self, kind: str, action: Callable[[], T]) -> T | None:
        """What the action returns; None after a failure, told once for each kind, or where tracking is off."""
        if not self._tracking.enabled:
            return None
        try:
            return action()
        except Exception as error:  # whatever a database, a server or an object store raises
            self._next_attempt = time.monotonic() + RETRY_AFTER_S
            if kind not in self._warned:
                self._warned.add(kind)
                self._warn(f"MLflow at {public(self._tracking.uri)} did not take the search's {kind}: {first_line(error)}")
            return None

    def _reached(self) -> _Run:
        """The parent run and what it holds already; from a resumed search where there is one."""
        if self._run is None:
            known = _remembered(self._folder)
            # the remembered address is absolute: a search may be resumed from another directory
            client = connect(uri := known.get("uri") or absolute(self._tracking.uri))
            if not known or not _reopen(client, known["run_id"]):
                known = {"uri": uri, "run_id": self._begin(client, uri)}
                self._remember(known)
            experiment_id = client.get_run(known["run_id"]).info.experiment_id
            self._run = _Run(client, experiment_id, known["run_id"], _finished_children(client, experiment_id, known["run_id"]))
        return self._run

    def _remember(self, known: Mapping[str, Any]) -> None:
        with new_file(self._folder / RUN_FILE) as part:
            part.write_text(json.dumps(known), encoding="utf-8")

    def _begin(self, client: MlflowClient, uri: str) -> str:
        """A new parent run; its id."""
        found = client.get_experiment_by_name(self._tracking.name)
        location = _artifact_location(uri, self._tracking.artifact_location)
        experiment_id = found.experiment_id if found else client.create_experiment(self._tracking.name, artifact_location=location)
        tags = {**self._tags, "model": self._model}
        run_id: str = client.create_run(experiment_id, run_name=self._folder.name, tags=tags).info.run_id
        _log(client, run_id, {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in flatten(self._config)})
        if (self._folder / "config.yaml").exists():
            client.log_artifact(run_id, str(self._folder / "config.yaml"))
        return run_id

    def _write_pending(self) -> None:
        run = self._reached()
        for trial, end_ms in list(self._pending.values()):
            if trial.id not in run.children:
                run.children[trial.id] = _write_trial(run, trial, end_ms)
            del self._pending[trial.id]

    def _write_front(self, members: Sequence[FrontMember], best: int, files: Sequence[Path]) -> dict[int, int]:
        self._write_pending()
        run = self._reached()
        if not run.client.search_registered_models(f"name = '{self._model}'"):
            run.client.create_registered_model(self._model, tags=dict(self._tags))
        versions = {member.trial.id: self._register(run, member) for member in members}
        run.client.set_registered_model_alias(self._model, BEST, str(versions[best]))
        self._remember(_remembered(self._folder) | {"registered": True})
        _log(run.client, run.id, metrics=next(member.metrics for member in members if member.trial.id == best))
        for path in files:
            run.client.log_artifact(run.id, str(path))
        return versions

    def _register(self, run: _Run, member: FrontMember) -> int:
        """The member's version; a new one unless its child run has one already."""
        run_id = run.children[member.trial.id]
        for found in run.client.search_model_versions(f"run_id = '{run_id}'"):
            return int(found.version)
        run.client.log_artifacts(run_id, str(member.folder), MODEL_FOLDER)
        source = f"{run.client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
        metrics = {name: repr(float(member.metrics[name])) for name in VERSION_METRICS if name in member.metrics}
        tags = {**self._tags, "trial": str(member.trial.id), **metrics}
        return int(run.client.create_model_version(self._model, source, run_id, tags=tags).version)

    def _end(self, status: RunStatus) -> None:
        self._write_pending()
        run = self._reached()
        run.client.set_terminated(run.id, status)


def _now_ms() -> int:
    return round(1000 * time.time())


def _artifact_location(uri: str, given: str | None) -> str | None:
    """An absolute URI, so that files are found from every directory; None where a server decides."""
    if given:
        return given if "://" in given else Path(given).resolve().as_uri()
    if uri.startswith("http"):
        return None
    return ((database_file(uri) or Path("mlflow.db").resolve()).parent / "mlartifacts").as_uri()


def _log(client: MlflowClient, run_id: str, params: Mapping[str, Any] | None = None, metrics: Mapping[str, float] | None = None) -> None:
    """One batch, or as many as MLflow's limit on parameters asks for."""
    from mlflow.entities import Metric, Param

    measured = [Metric(name, float(value), _now_ms(), 0) for name, value in (metrics or {}).items()]
    decided = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in (params or {}).items()]
    client.log_batch(run_id, measured, decided[:PARAMS_PER_BATCH])
    for start in range(PARAMS_PER_BATCH, len(decided), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=decided[start : start + PARAMS_PER_BATCH])


def _write_trial(run: _Run, trial: Trial, end_ms: int) -> str:
    """A child run; its id."""
    tags = {
        "mlflow.parentRunId": run.id,
        "trial": str(trial.id),
        "status": str(trial.status),
        "seed": str(trial.seed),
        "configuration": trial.configuration.key,
        "reason": trial.reason[:TAG_LENGTH],
    }
    start_ms = end_ms - round(1000 * trial.duration_s)
    child = run.client.create_run(run.experiment_id, start_time=start_ms, tags=tags, run_name=f"trial-{trial.id:04d}").info.run_id
    effort = {"fidelity": trial.fidelity, "duration_s": trial.duration_s, "image_passes": trial.image_passes}
    _log(run.client, child, trial.configuration.flatten(), {**trial.metrics, **effort})
    run.client.set_terminated(child, RUN_STATUS[trial.status], end_ms)
    return str(child)


def _reopen(client: MlflowClient, run_id: str) -> bool:
    """Mark a run as running again; False if the database does not have it (any more)."""
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _finished_children(client: MlflowClient, experiment_id: str, parent: str) -> dict[int, str]:
    """Run id of each trial that a parent run holds. A child that was cut off in mid-writing is removed."""
    children: dict[int, str] = {}
    for child in pages(client.search_runs, [experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"):
        if child.info.status == "RUNNING":
            client.delete_run(child.info.run_id)
        else:
            children[int(child.data.tags["trial"])] = child.info.run_id
    return children
