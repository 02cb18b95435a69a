"""Contract tests that every searcher passes; needs pytest.

class TestMySearcher(SearcherContract):
    @pytest.fixture
    def make(self):
        return MySearcher
"""

# ruff: noqa: D102  (the name of a test is its docstring)
from __future__ import annotations

import io
import itertools
import math
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choices, Configuration
from autocomp.compression import default_methods
from autocomp.errors import UnreachableLimitError
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.searchers.base import Searcher
from autocomp.searchers.feasible import spread_sample
from autocomp.sensitivity import Probe, Sensitivity, singles
from autocomp.space import Knob, SearchSpace
from autocomp.tracing import trace
from autocomp.trial import Status, Trial
from hwmodels import load_device

Make = Callable[..., Searcher]
SHAPE = (1, 16, 16)
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "sparsity": (0.0, 0.25, 0.5, 0.75),
    "pattern": ("fine", "filter"),
    "weight_bits": (8, 6, 4, 3),
    "activation_bits": (8, 6, 4),
}
SMALL = (Knob("0", "weight_bits", (8, 4)), Knob("2", "sparsity", (0.0, 0.5)), Knob("2", "pattern", ("fine", "filter")))
TOGETHER = (
    Knob("0", "sparsity", (0.0, 0.25, 0.5, 0.75), ("2",)),
    Knob("0", "pattern", ("fine", "filter"), ("2",)),
    Knob("0", "weight_bits", (8, 6, 4, 3), ("2", "4")),
    Knob("4", "activation_bits", (8, 6, 4), ("7",)),
)
MANY = 1_000  # trials that a searcher must be able to know
ASK_S = 5.0  # seconds that an ask may take then, on a slow machine
BYTES = 50e6  # that its state may have


def sample_problem(knobs: Sequence[Knob] | None = None, **limits: float) -> Problem:
    """Accuracy against latency and energy of a small network on an FPGA, with a sensitivity profile.

    Args:
        knobs: the decisions; None for filters, weights and bits of every layer.
        limits: the worst value of some metrics, ``latency_s`` as a share of the teacher's.
    """
    convolutions = [layer for i, o in ((1, 8), (8, 16), (16, 16)) for layer in (nn.Conv2d(i, o, 3, padding=1), nn.ReLU())]
    network = normalize(nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * 256, 10)).eval(), SHAPE)
    assert network is not None
    workload, methods = trace(network, SHAPE).replace(batch=1), default_methods(channel_map(network, SHAPE))
    if knobs is None:
        last = workload.names[-1]
        knobs = [Knob(n, k, o[:1] if (n, k) == (last, "pattern") else o) for n in workload.names for k, o in OPTIONS.items()]
    space = SearchSpace(workload.names, tuple(knobs))
    problem = Problem(workload, space, methods, load_device("zcu102"), (Objective("latency_s"),), {})
    baseline = {"accuracy": 0.95, "loss": 0.2, **problem.metrics_of(Configuration({}))}
    objectives = (
        Objective("accuracy", "max", limits.get("accuracy")),
        Objective("latency_s", limit=limits["latency_s"] * baseline["latency_s"] if "latency_s" in limits else None),
        Objective("energy_j"),
    )
    probes = [_probe(problem, configuration) for configuration in _probed(space)]
    sensitivity = Sensitivity(baseline["accuracy"], 256, 0.0, tuple(probes))
    return replace(problem, objectives=objectives, baseline=baseline, sensitivity=sensitivity)


def _probed(space: SearchSpace) -> list[Configuration]:
    return [*singles(space), *(space.decode(v) for v in spread_sample(space, np.random.default_rng(0), 8 if space.knobs else 0))]


def _damage(problem: Problem, configuration: Configuration) -> float:
    """What a configuration does to the network, nats: each layer has a sensitivity of its own."""
    table = Choices.of([configuration], problem.workload.names)
    weights = 0.2 + np.abs(np.sin(5.0 * np.arange(len(table.layers))))
    bits = 4.0 ** (2 - table.weight_bits.astype(float)) + 4.0 ** (2 - table.activation_bits.astype(float))
    return float((weights * (table.sparsity**2 + bits)[0]).sum())


def _probe(problem: Problem, configuration: Configuration) -> Probe:
    damage = _damage(problem, configuration)
    return Probe(configuration, damage, 0.95 * math.exp(-damage))


def carried_out(problem: Problem, number: int, configuration: Configuration, status: Status = Status.COMPLETE) -> Trial:
    """A trial as it ends: training makes half of the damage good."""
    if status not in (Status.COMPLETE, Status.PRUNED):
        return Trial(number, configuration, status, reason="for the test")
    damage = _damage(problem, configuration) / 2
    measured = {"accuracy": 0.95 * math.exp(-damage), "loss": 0.2 + damage}
    return Trial(
        number, configuration, status, problem.metrics_of(configuration) | measured, fidelity=3.0 if status is Status.COMPLETE else 1.0
    )


def through_a_file(state: Any) -> Any:
    """A state as it comes back from disk."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def shuffled_run(searcher: Searcher, problem: Problem, numbers: range) -> list[Configuration | None]:
    """Four at a time, told newest first, with every status in turn; what was asked."""
    asked: list[Configuration | None] = []
    statuses = itertools.cycle(Status(s) for s in ("COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "FAILED", "INFEASIBLE", "COMPLETE"))
    for first in numbers[::4]:
        batch = {number: searcher.ask(number) for number in range(first, min(first + 4, numbers.stop))}
        asked += batch.values()
        for number, configuration in reversed(batch.items()):
            if configuration is not None:
                searcher.tell(carried_out(problem, number, configuration, next(statuses)))
    return asked


class SearcherContract:
    """Inherit, and give a fixture ``make``: a searcher from ``problem``, ``seed`` and ``trials``."""

    def test_everything_asked_is_feasible_in_the_space_and_new(self, make: Make) -> None:
        problem = sample_problem(latency_s=0.6)
        searcher = make(problem=problem, seed=1, trials=24)
        asked = [c for c in shuffled_run(searcher, problem, range(24)) if c is not None]
        assert isinstance(searcher, Searcher)
        assert len(set(asked)) == 24
        assert all(problem.space.contains(c) for c in asked)
        assert problem.feasible(problem.space.encode(asked)).all()

    def test_layers_that_decide_together_are_asked_alike(self, make: Make) -> None:
        problem = sample_problem(TOGETHER, latency_s=0.8)
        searcher = make(problem=problem, seed=1, trials=12)
        asked = [c for c in shuffled_run(searcher, problem, range(12)) if c is not None]
        assert len(set(asked)) == 12
        assert all(problem.space.contains(c) for c in asked)
        assert problem.feasible(problem.space.encode(asked)).all()
        restored = make(problem=problem, seed=1, trials=12)
        restored.load_state_dict(through_a_file(searcher.state_dict()))
        assert restored.ask(12) == searcher.ask(12)

    def test_same_seed_and_same_tells_give_the_same_asks(self, make: Make) -> None:
        problem = sample_problem()
        first, second = (shuffled_run(make(problem=problem, seed=3, trials=16), problem, range(16)) for _ in range(2))
        assert first == second

    def test_a_state_that_went_through_a_file_goes_on_with_the_same_asks(self, make: Make) -> None:
        problem = sample_problem()
        original = make(problem=problem, seed=5, trials=28)
        shuffled_run(original, problem, range(14))
        pending = {number: original.ask(number) for number in (14, 15)}  # under way while the state is taken
        snapshot = original.state_dict()
        saved = through_a_file(snapshot)

        def finish(searcher: Searcher) -> list[Configuration | None]:
            for number, configuration in pending.items():
                assert configuration is not None
                searcher.tell(carried_out(problem, number, configuration))
            return shuffled_run(searcher, problem, range(16, 24))

        asked = finish(original)
        for state in (saved, snapshot):  # a snapshot does not change while the search goes on
            restored = make(problem=problem, seed=5, trials=28)
            restored.load_state_dict(state)
            assert finish(restored) == asked

    def test_trials_under_way_are_not_asked_again(self, make: Make) -> None:
        problem = sample_problem()
        searcher = make(problem=problem, seed=2, trials=16)
        asked = [searcher.ask(number) for number in range(12)]
        assert len(set(asked) - {None}) == 12

    def test_a_small_space_is_exhausted_once_and_then_none(self, make: Make) -> None:
        problem = sample_problem(SMALL)
        searcher = make(problem=problem, seed=0, trials=10)
        # 2 widths x (dense, fine, filter): the pattern of a dense layer makes no difference
        asked = shuffled_run(searcher, problem, range(8))
        assert len(set(asked[:6]) - {None}) == 6
        assert asked[6:] == [None, None]

    def test_a_space_without_decisions_has_one_configuration(self, make: Make) -> None:
        problem = sample_problem(())
        searcher = make(problem=problem, seed=0, trials=3)
        assert [searcher.ask(number) for number in range(3)] == [Configuration({}), None, None]

    def test_a_failed_trial_is_not_asked_again(self, make: Make) -> None:
        problem = sample_problem(SMALL)
        searcher = make(problem=problem, seed=0, trials=10)
        asked = []
        for number in range(8):
            configuration = searcher.ask(number)
            asked.append(configuration)
            if configuration is not None:
                searcher.tell(carried_out(problem, number, configuration, Status.FAILED))
        assert len(set(asked) - {None}) == 6

    def test_trials_that_someone_else_asked_for_are_taken_in_and_not_asked(self, make: Make) -> None:
        problem = sample_problem(SMALL)
        searcher = make(problem=problem, seed=0, trials=10)
        known = {problem.space.decode(v) for v in problem.space.sample(np.random.default_rng(0), 3)}
        for number, configuration in enumerate(known):
            searcher.tell(carried_out(problem, number, configuration))
        searcher.tell(Trial(3, Configuration.unflatten({"elsewhere/weight_bits": 4}), Status.COMPLETE, {"accuracy": 1.0}))
        asked = {searcher.ask(number) for number in range(4, 12)} - {None}
        assert len(asked) == 6 - len(known)
        assert not asked & known

    def test_diverged_trials_do_no_harm(self, make: Make) -> None:
        problem = sample_problem(accuracy=0.5)
        searcher = make(problem=problem, seed=0, trials=10)
        for number in range(10):
            configuration = searcher.ask(number)
            assert configuration is not None
            trial = carried_out(problem, number, configuration)
            searcher.tell(replace(trial, metrics={**trial.metrics, "accuracy": math.nan, "loss": math.nan}))

    def test_a_limit_that_nothing_meets_is_named(self, make: Make) -> None:
        problem = sample_problem(latency_s=1e-6)
        with pytest.raises(UnreachableLimitError, match="latency_s"):
            make(problem=problem, seed=0, trials=4).ask(0)

    def test_many_trials_take_bounded_time_and_memory(self, make: Make) -> None:
        problem = sample_problem()
        searcher = make(problem=problem, seed=0, trials=2 * MANY)
        for number, vector in enumerate(spread_sample(problem.space, np.random.default_rng(1), MANY)):
            searcher.tell(carried_out(problem, number, problem.space.decode(vector)))
        searcher.ask(MANY)  # may take in what it was told
        begin = time.perf_counter()
        assert searcher.ask(MANY + 1) is not None
        assert time.perf_counter() - begin < ASK_S
        assert len(pickle.dumps(searcher.state_dict())) < BYTES
