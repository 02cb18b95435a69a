"""Against a real Ray, started once for this file; the evaluator is a stand-in through its own seam."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autocomp.budget import Budget, Effort, Ledger
from autocomp.choice import Configuration
from autocomp.cluster import Cluster, spread
from autocomp.cluster.trials import run_trials
from autocomp.errors import ClusterError
from autocomp.evaluate import Measurement
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.rungs import Rungs
from autocomp.searchers import RandomSearcher
from autocomp.session import Session
from autocomp.trial import Status

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EPOCHS = 2


class Pretender:
    """Pretends to evaluate: what happens depends on the sum of the configuration's weight bits."""

    def __init__(self, behaviour: Callable[[Configuration], float]) -> None:
        self.behaviour = behaviour

    def run(self, configuration: Configuration, *, seed: int, levels: Sequence[float]) -> Iterator[tuple[nn.Module | None, Measurement]]:
        for epoch in range(EPOCHS + 1):
            loss = self.behaviour(configuration)
            metrics = {"accuracy": 1 - loss, "loss": loss, "latency_s": loss, "energy_j": loss}
            yield None, Measurement(float(epoch), metrics, 1.0, 0.0, epoch == EPOCHS)


def bits(configuration: Configuration) -> int:
    return sum(choice.weight_bits for choice in configuration.values())


def steady(configuration: Configuration) -> float:
    return bits(configuration) / 100


def raises_on_an_odd_sum(configuration: Configuration) -> float:
    if bits(configuration) % 2:
        raise ArithmeticError("odd\nsecond line")
    return steady(configuration)


def dies_on_an_odd_sum(configuration: Configuration) -> float:
    if bits(configuration) % 2:
        os._exit(1)
    return steady(configuration)


def square(number: int) -> int:
    if number == 3:
        raise ArithmeticError("three")
    return number * number


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield Cluster()
    ray.shutdown()


@pytest.fixture
def session(toy: Callable[..., Problem], tmp_path: Path) -> Session:
    problem = toy()
    searcher, fallback = (RandomSearcher(problem, seed=seed, trials=8) for seed in (1, 2))
    nowhere: Callable[[Any], None] = lambda trial: None  # noqa: E731
    return Session(problem, searcher, fallback=fallback, folder=tmp_path, total=8, seed=0, progress=Progress(), on_end=nowhere)


def run(session: Session, behaviour: Callable[[Configuration], float], rungs: Rungs | None = None) -> None:
    pretender: Any = Pretender(behaviour)
    run_trials(session, pretender, cluster=Cluster(), workers=2, rungs=rungs)


def test_every_trial_comes_back_with_its_last_metrics(session: Session) -> None:
    run(session, steady)
    assert [t.id for t in session.ended] == list(range(8))
    for trial in session.ended:
        assert trial.status is Status.COMPLETE
        assert trial.fidelity == EPOCHS
        assert trial.metrics["loss"] == steady(trial.configuration)
    assert session.remaining == 0


def test_a_trial_tells_what_was_measured_on_the_way(session: Session) -> None:
    run(session, steady)
    for trial in session.ended:
        loss = steady(trial.configuration)
        assert trial.rungs == tuple((float(epoch), loss, 1 - loss) for epoch in range(EPOCHS + 1))
    assert [t.rungs for t in session.journal.trials()] == [t.rungs for t in session.ended]


def test_trials_go_on_until_the_budget_has_no_room_for_another(session: Session) -> None:
    # a trial costs 1 pass; 5 of 8 are the trials' part, and two run at a time
    session.total = sys.maxsize
    session.ledger = Ledger(Budget.parse("8img"), Effort(1, 1, 3, 0.5), 2, 0.0)
    run(session, steady)
    assert len(session.ended) == 5
    assert session.ledger.spent == 5
    assert session.remaining == 0


def test_a_trial_that_raises_fails_alone_and_says_why_in_one_line(session: Session) -> None:
    run(session, raises_on_an_odd_sum)
    for trial in session.ended:
        is_odd = bits(trial.configuration) % 2 == 1
        assert trial.status is (Status.FAILED if is_odd else Status.COMPLETE)
        assert trial.reason == ("ArithmeticError: odd" if is_odd else "")
    assert {t.status for t in session.ended} == {Status.FAILED, Status.COMPLETE}


def test_a_worker_that_dies_fails_its_trial_and_the_run_goes_on(session: Session) -> None:
    session.total = 4
    run(session, dies_on_an_odd_sum)
    assert len(session.ended) == 4
    for trial in session.ended:
        is_odd = bits(trial.configuration) % 2 == 1
        assert trial.status is (Status.FAILED if is_odd else Status.COMPLETE)
        assert trial.reason.startswith("the worker died" if is_odd else "")
        assert ". " not in trial.reason  # not all that Ray has to say


def test_rungs_stop_what_falls_behind(session: Session) -> None:
    run(session, steady, Rungs(session.problem.objectives, eta=2, levels=(0.0,)))
    stopped = [t for t in session.ended if t.status is Status.PRUNED]
    assert stopped
    for trial in stopped:
        assert trial.fidelity == 0
        assert trial.metrics["loss"] > min(t.metrics["loss"] for t in session.ended)


def test_work_that_is_spread_gives_results_and_failures() -> None:
    found = dict(spread(square, [2, 3, 4], cluster=Cluster()))
    assert (found[2], found[4]) == (4, 16)
    assert isinstance(found[3], ArithmeticError)


def test_a_trial_that_no_node_has_room_for_is_refused_at_once() -> None:
    with Cluster(cpus_per_trial=64).connecting() as connected, pytest.raises(ClusterError, match=r"needs 64 CPUs, but \d CPUs are free"):
        connected()


def test_workers_are_as_many_as_there_is_room_for() -> None:
    wait_until_free()
    with Cluster(cpus_per_trial=0.5).connecting() as connected:
        assert connected() == 4
    with Cluster(workers=1).connecting() as connected:
        assert connected() == 1


def wait_until_free() -> None:
    """Ray takes a moment to notice that a task has ended."""
    import ray

    for _ in range(100):
        if ray.available_resources().get("CPU") == 2:
            return
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("autocomp.cluster", {"ray.tune", "pandas", "optuna", "scipy.stats", "mlflow"}),
        ("autocomp.cluster.worker", {"autocomp.session", "autocomp.searchers", "optuna", "mlflow"}),
    ],
)
def test_workers_start_without_what_only_the_driver_needs(module: str, kept_out: set[str]) -> None:
    script = f"import sys, autocomp.polish, autocomp.profile_plan, {module}; print(*sorted({kept_out} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
