"""Baselines: what sets each apart; that they are searchers at all is in test_searchers.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autocomp.errors import ConfigError
from autocomp.searchers import GaussianSearcher, KnapsackSearcher, UniformSearcher
from autocomp.searchers.feasible import uniform_start
from autocomp.searchers.knapsack import SLACK
from autocomp.space import Knob
from autocomp.testing import carried_out, sample_problem, through_a_file
from autocomp.trial import Trial

THREE = tuple(Knob(layer, "weight_bits", (8, 6, 4, 3)) for layer in ("0", "2", "4"))


def test_a_uniform_sweep_goes_on_with_a_finer_grid_when_the_planned_one_is_used_up() -> None:
    problem = sample_problem()
    searcher = UniformSearcher(problem, seed=0, trials=4)
    asked = [searcher.ask(number) for number in range(32)]
    assert asked == [problem.space.decode(vector) for vector in uniform_start(problem, 32)]


def test_a_gaussian_process_goes_on_as_it_was_once_it_models() -> None:
    problem = sample_problem(THREE)
    searcher = GaussianSearcher(problem, seed=0, trials=20)
    for number in range(12):  # Optuna's process begins after 10 trials
        configuration = searcher.ask(number)
        assert configuration is not None
        searcher.tell(carried_out(problem, number, configuration))
    restored = GaussianSearcher(problem, seed=0, trials=20)
    restored.load_state_dict(through_a_file(searcher.state_dict()))
    asked = [searcher.ask(number) for number in (12, 13)]
    assert asked == [restored.ask(number) for number in (12, 13)]
    assert None not in asked


def test_a_knapsack_needs_a_profile() -> None:
    with pytest.raises(ConfigError, match=r"profile\.enabled"):
        KnapsackSearcher(replace(sample_problem(), sensitivity=None), seed=0, trials=4)


def test_a_knapsack_needs_a_cost_that_is_known_on_paper() -> None:
    problem = sample_problem()
    with pytest.raises(ConfigError, match="latency_s"):
        KnapsackSearcher(replace(problem, objectives=problem.objectives[:1]), seed=0, trials=4)


def test_a_knapsack_finds_the_least_sum_of_losses_within_the_budget() -> None:
    problem = sample_problem(THREE)  # 64 configurations, so that all can be looked at
    problem = replace(problem, objectives=(problem.objectives[0], problem.objectives[2]))  # widths hardly change the latency
    searcher = KnapsackSearcher(problem, seed=0, trials=8)
    everything = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    prices = searcher._prices(everything).max(1)
    losses = np.array([sum(layer.loss_of(vector) for layer in searcher.layers) for vector in everything])
    for share in (0.2, 0.5, 0.8):
        budget = prices.min() + share * np.ptp(prices)
        found = searcher._solve(float(budget))
        assert searcher._prices(found[None]).max() <= budget * (1 + SLACK)
        within = losses[prices <= budget * (1 - SLACK)]  # a solution within the slack is good enough
        assert 0 < len(within) < len(losses)
        assert sum(layer.loss_of(found) for layer in searcher.layers) <= within.min() * (1 + 1e-3)  # the gap of the program


def test_knapsack_learns_nothing_from_trials() -> None:
    problem = sample_problem()
    one, other = (KnapsackSearcher(problem, seed=0, trials=8) for _ in range(2))
    for number in range(4):
        configuration = one.ask(number)
        assert configuration is not None
        assert other.ask(number) == configuration
        trial: Trial = carried_out(problem, number, configuration)
        one.tell(trial)
