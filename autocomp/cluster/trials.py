"""Trials of a session as Ray Tune trials."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher as RaySearcher

from autocomp.cluster.connection import Cluster
from autocomp.cluster.worker import Worker
from autocomp.evaluate import Evaluator
from autocomp.rungs import Rungs
from autocomp.session import Session
from autocomp.trial import Status, Trial

T = TypeVar("T")


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
    trainable = tune.with_resources(tune.with_parameters(Worker, **shared), cluster.resources)
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
            self.errors[trial.trial_id] = f"the worker died: {lines[-1].partition('. ')[0]}"  # Ray goes on with general advice
