"""The only door to Ray: runs a session's trials as Ray Tune trials, and the front's polish as Ray tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

# read by Ray when it is imported
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
# an interruption must reach the driver, which saves and says how to go on; Tune would swallow it
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# the journal keeps the trials; Ray's own snapshots would cost time and are never read
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher as RaySearcher

from autocomp.errors import ClusterError
from autocomp.evaluate import Evaluator
from autocomp.rungs import Rungs
from autocomp.session import Session
from autocomp.trial import Status, Trial

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Cluster:
    """Where trials run.

    Attributes:
        address: of a running Ray, ``auto`` to find one; None starts one on this machine for as long as the run lasts.
        cpus_per_trial: what each trial takes; a fraction shares a core.
        workers: trials at a time; None for as many as there is room for.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    workers: int | None = None

    @contextlib.contextmanager
    def connecting(self) -> Iterator[Callable[[], int]]:
        """A connection to Ray for the length of a block, made in the background: a start takes seconds.

        Gives a function that waits for the connection and returns the number of trials that run at a time. It raises a
        ClusterError if there is no cluster at the address, or it has no room for a single trial.
        """
        was_there = ray.is_initialized()
        # the starting thread lives as long as the connection: Ray's processes end with the thread that made them
        with ThreadPoolExecutor(1) as starter:
            connection = starter.submit(self._connect) if not was_there else None
            try:
                yield lambda: self._workers(connection)
            finally:
                if connection:
                    connection.exception()
                    ray.shutdown()

    def _connect(self) -> None:
        size: dict[str, Any] = {}
        if self.address is None and "RAY_ADDRESS" not in os.environ:  # a Ray of our own
            cpus = self.workers * self.cpus_per_trial if self.workers else os.cpu_count() or 1
            size = {"num_cpus": max(cpus, 1), "include_dashboard": False}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR, **size)
        except ConnectionError as error:
            raise ClusterError(f"No Ray cluster answers at '{self.address}'; start one or set cluster.address=null. ({error})") from error

    def _workers(self, connection: Future[None] | None) -> int:
        if connection:
            connection.result()
        free = ray.available_resources().get("CPU", 0.0)
        room = free / self.cpus_per_trial
        if room < 1:
            raise ClusterError(
                f"A trial needs {self.cpus_per_trial:g} CPUs, but {free:g} CPUs are free on the cluster; "
                "wait for it, add nodes or lower cluster.cpus_per_trial."
            )
        return min(int(room), self.workers or int(room))

    @property
    def threads(self) -> int:
        """Of torch, in each trial."""
        return max(int(self.cpus_per_trial), 1)

    @property
    def resources(self) -> dict[str, float]:
        """What one trial takes, in Ray's words."""
        return {"cpu": self.cpus_per_trial}


def run_trials(session: Session, evaluator: Evaluator, *, cluster: Cluster, workers: int, rungs: Rungs | None) -> None:
    """Run what remains of a session, ``workers`` trials at a time, in reused actors.

    Args:
        session: hands out trials and takes them back.
        evaluator: carries them out.
        cluster: what a trial takes.
        workers: trials at a time.
        rungs: stops trials early; None runs each to its end.
    """
    if not session.remaining:
        return
    shared = {"evaluator": evaluator, "threads": cluster.threads, "levels": rungs.levels if rungs else ()}
    trainable = tune.with_resources(tune.with_parameters(_Worker, **shared), cluster.resources)
    if rungs:
        rungs.restore(session.ended)
    scheduler = _Scheduler(rungs)
    adapter = _Adapter(session, scheduler.errors)
    with tempfile.TemporaryDirectory(prefix="autocomp-") as scratch, _quiet():
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=adapter,
                scheduler=scheduler,
                num_samples=session.remaining,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    if adapter.failure:
        raise adapter.failure


def spread(work: Callable[[T], R], items: Sequence[T], *, cluster: Cluster) -> Iterator[tuple[T, R | Exception]]:
    """Do the same work on every item as Ray tasks; yields each result, or what it failed with, as it arrives."""
    remote = ray.remote(num_cpus=cluster.cpus_per_trial, max_retries=1)(_single_threaded)
    shared = ray.put((work, cluster.threads))
    pending = {remote.remote(shared, item): item for item in items}
    while pending:
        (done,), _ = ray.wait(list(pending))
        item = pending.pop(done)
        try:
            yield item, ray.get(done)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            yield item, cause if isinstance(cause, Exception) else error


def _single_threaded(shared: tuple[Callable[[T], R], int], item: T) -> R:
    work, threads = shared
    torch.set_num_threads(threads)
    return work(item)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune's own messages off the terminal; what matters is said by the session."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Worker(tune.Trainable):  # type: ignore[misc]
    """One actor; carries out one trial after the other. A step is one measurement."""

    def setup(
        self, config: Mapping[str, Any], evaluator: Evaluator | None = None, threads: int = 1, levels: tuple[float, ...] = ()
    ) -> None:
        torch.set_num_threads(threads)
        self.evaluator, self.levels = evaluator, levels
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        trial = Trial.from_record(config["trial"])
        assert self.evaluator is not None
        self.steps = self.evaluator.run(trial.configuration, seed=trial.seed, levels=self.levels)
        self.rungs: list[tuple[float, float, float]] = []

    def step(self) -> dict[str, Any]:
        try:
            _, measured = next(self.steps)
        except Exception as error:  # a failing trial must not take its actor along
            return {"failure": f"{type(error).__name__}: {error}".splitlines()[0], tune.result.DONE: True}
        self.rungs.append((measured.fidelity, measured.metrics["loss"], measured.metrics["accuracy"]))
        return {
            "metrics": dict(measured.metrics),
            "rungs": list(self.rungs),
            "fidelity": measured.fidelity,
            "image_passes": measured.image_passes,
            "duration_s": measured.duration_s,
            "is_last": measured.is_last,
            tune.result.DONE: measured.is_last,
        }


class _Adapter(RaySearcher):  # type: ignore[misc]
    """Ray asks and tells; the session answers. Nothing is ever raised into Ray."""

    def __init__(self, session: Session, errors: Mapping[str, str]) -> None:
        super().__init__()
        self._session: Session | None = session
        self._errors = errors
        self._running: dict[str, Trial] = {}
        self.failure: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._survive(lambda session: session.next())
        if trial is None:
            # while others run, what they teach may free something new; Ray asks again
            return None if self._running and not self.failure else RaySearcher.FINISHED
        self._running[trial_id] = trial
        return {"trial": trial.to_record()}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        trial = self._running.pop(trial_id, None)
        if trial is not None:
            died = self._errors.get(trial_id, "the worker died") if error else ""
            self._survive(lambda session: session.finish(_ended(trial, result or {}, died)))

    def _survive(self, action: Callable[[Session], T]) -> T | None:
        """An exception (a full disk, say) is kept until Ray has ended; no more trials follow it."""
        if self.failure or self._session is None:
            return None
        try:
            return action(self._session)
        except Exception as error:
            self.failure = error
            return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the session is on disk already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a run is taken up from its journal."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None, "_running": {}}


def _metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of one of a worker's results, which Ray hands over flattened."""
    return {key.removeprefix("metrics/"): value for key, value in result.items() if key.startswith("metrics/")}


def _ended(trial: Trial, result: Mapping[str, Any], died: str) -> Trial:
    metrics = _metrics(result)
    if died or "failure" in result or not metrics:
        return replace(trial, status=Status.FAILED, reason=died or result.get("failure") or "the worker gave no result")
    return replace(
        trial,
        status=Status.COMPLETE if result["is_last"] else Status.PRUNED,
        metrics=metrics,
        fidelity=result["fidelity"],
        duration_s=result["duration_s"],
        image_passes=result["image_passes"],
        rungs=tuple(result["rungs"]),
    )


class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops a trial that falls behind its peers at a rung; keeps why a worker died, which Ray tells nobody else in time."""

    def __init__(self, rungs: Rungs | None) -> None:
        super().__init__()
        self.rungs = rungs
        self.errors: dict[str, str] = {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        metrics = _metrics(result)
        if self.rungs is None or not metrics or result["is_last"]:
            return str(TrialScheduler.CONTINUE)
        goes_on = self.rungs.report(trial.config["trial"]["id"], result["fidelity"], metrics)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        with contextlib.suppress(OSError, TypeError):  # Ray wrote none
            lines = Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines()
            self.errors[trial.trial_id] = f"the worker died: {lines[-1]}"
