from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autocomp.pareto import hypervolume
from autocomp.problem import Problem
from autocomp.searchers.knowledge import Forecast
from autocomp.searchers.tempering import Chains, moved, pushed
from autocomp.space import Knob, Vectors

Toy = Callable[..., Problem]


def prices(problem: Problem) -> Callable[[Vectors], Forecast]:
    """Two costs, both known: how mild bits are; how far sparsity is from a half, and half of how strong bits are."""

    def look(vectors: Vectors) -> Forecast:
        share = vectors / np.maximum(problem.space.cardinalities - 1, 1)
        bits, sparsity = (share[:, [k.name == name for k in problem.space.knobs]] for name in ("weight_bits", "sparsity"))
        values = np.stack([1 - bits.mean(1), np.abs(sparsity - 0.5).mean(1) + bits.mean(1) / 2], axis=1)
        metrics, violations = problem.assess(vectors)
        return Forecast(vectors, values, np.zeros(len(vectors)), violations, metrics)

    return look


def test_moves_stay_in_the_space_and_most_of_them_change_something(toy: Toy) -> None:
    space = toy().space
    middle = space.canonical(space.cardinalities // 2)
    moves = moved(space, np.repeat(middle[None], 400, axis=0), np.random.default_rng(0), np.full(400, 2.0))
    assert (moves >= 0).all()
    assert (moves < space.cardinalities).all()
    assert (moves != middle).any(1).mean() > 0.6  # a how-knob of two options is clipped half of the time
    assert (moves[:, space.cardinalities == 1] == 0).all()
    kinds = np.array([knob.name for knob in space.knobs])
    wide = [(move != middle)[kinds == "weight_bits"].all() for move in moves]
    assert 0.005 < np.mean(wide) < 0.1  # a tenth moves one kind in all layers, one kind of four


def test_half_of_the_moves_change_two_knobs_of_a_layer(toy: Toy) -> None:
    knobs = tuple(Knob(f"conv{i}", name, (8, 6, 4, 3, 2)) for i in range(2) for name in ("weight_bits", "activation_bits"))
    space = toy(2, knobs=knobs).space
    moves = moved(space, np.full((2000, 4), 2), np.random.default_rng(0), np.zeros(2000))
    changed = (moves != 2).reshape(2000, 2, 2)
    assert (changed.all(2).any(1)).mean() == pytest.approx(0.5 * 0.9, abs=0.04)
    assert (changed.all(1).any(1)).mean() == pytest.approx(0.1, abs=0.03)  # those that shift one kind in all layers
    assert (changed.sum((1, 2)) == 1).mean() == pytest.approx(0.5 * 0.9, abs=0.04)


def test_chains_find_more_than_chance_and_remember_each_candidate_once(toy: Toy) -> None:
    problem = toy()
    generator = np.random.default_rng(0)
    chains = Chains(problem.space, prices(problem), np.geomspace(1e-4, 1e-2, 8))
    start = problem.space.sample(generator, 8)
    places, met = chains.walk(start, 100, generator)
    assert places.shape == start.shape
    assert len({row.tobytes() for row in met.vectors}) == len(met)
    assert problem.feasible(met.vectors).all()
    chance = prices(problem)(problem.space.sample(generator, 8 * 101)).values
    corner = np.ones(2)
    assert 1 - hypervolume(met.values, corner) < 0.8 * (1 - hypervolume(chance, corner))


def test_what_breaks_a_limit_is_behind_everything_else(toy: Toy) -> None:
    problem = toy(latency_s=6e-4)
    vectors = problem.space.sample(np.random.default_rng(1), 200)
    forecast = prices(problem)(vectors)
    broken = forecast.violations > 0
    assert 0 < broken.sum() < 200
    assert pushed(forecast)[broken].min() > forecast.values[~broken].max()
