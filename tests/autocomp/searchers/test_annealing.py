"""What is particular to AMOSA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autocomp.choice import Configuration
from autocomp.problem import Problem
from autocomp.searchers import AnnealingSearcher, Searcher
from autocomp.searchers.annealing import domination_amount, shifted
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Play = Callable[[Searcher, Problem, range], list[Trial]]


def test_domination_amount_is_the_product_over_the_objectives_that_differ() -> None:
    # |0.5 - 0.1| / 1 x |2 - 1| / 4, the second objective is equal: 0.4 x 0.25 = 0.1
    a, b = np.array([[0.5, 3.0, 2.0]]), np.array([0.1, 3.0, 1.0])
    np.testing.assert_allclose(domination_amount(a, b, np.array([1.0, 9.0, 4.0])), [0.1])


def test_the_temperature_falls_geometrically_over_the_planned_trials(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=20, hottest=1.0, coldest=0.01)
    play(searcher, problem, range(10))
    assert searcher.temperature == pytest.approx(0.1)  # halfway between 1 and 0.01
    play(searcher, problem, range(10, 25))
    assert searcher.temperature == pytest.approx(0.01)


def test_moves_stay_in_the_space_and_always_touch_a_free_knob(toy: Toy) -> None:
    space = toy().space
    middle = space.canonical(space.cardinalities // 2)
    moves = shifted(space, middle, np.random.default_rng(0), 400, knobs=2.0)
    assert (moves >= 0).all()
    assert (moves < space.cardinalities).all()
    assert (moves != middle).any(1).mean() > 0.6  # a how-knob of two options is clipped half of the time
    assert (moves[:, space.cardinalities == 1] == 0).all()


def test_a_stronger_move_that_saves_nothing_is_pointless(toy: Toy, measure: Measure) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=8)
    mild = np.zeros(len(problem.space.knobs), np.int64)
    searcher.tell(measure(problem, 0, problem.space.decode(mild)))
    # activation bits have no price here, and the pattern has none either; 7 bits cost less energy than 8
    names = problem.space.names
    half = mild.copy()
    half[names.index("conv0/sparsity")] = 5
    other_pattern = half.copy()
    other_pattern[names.index("conv0/pattern")] = 1
    searcher.tell(measure(problem, 1, problem.space.decode(half)))
    seven_bits = mild.copy()
    seven_bits[names.index("conv0/weight_bits")] = 1
    for _ in range(8):
        assert (searcher.choose(np.stack([other_pattern, seven_bits])) == seven_bits).all()
    assert (searcher.choose(other_pattern[None]) == other_pattern).all()  # better than nothing


def test_trials_that_run_at_the_same_time_ride_different_chains(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40)
    play(searcher, problem, range(searcher.start))
    for i in range(20, 25):
        searcher.ask(i)
    assert sorted(searcher.riding) == list(range(20, 25))
    assert len(set(searcher.riding.values())) == 5


def test_a_pruned_trial_leaves_archive_and_chains_alone(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40)
    play(searcher, problem, range(searcher.start))
    archive = searcher.archive.tolist()
    configuration = searcher.ask(20)
    assert configuration is not None
    chains = [list(c) for c in searcher.chains]
    great = measure(problem, 20, configuration)
    searcher.tell(replace(great, status=Status.PRUNED, metrics={**great.metrics, "accuracy": 1.0}))
    assert searcher.archive.tolist() == archive
    assert searcher.chains == chains
    assert not searcher.riding


@pytest.mark.parametrize(
    ("accuracy", "share", "moves"),
    [
        (0.999, 1e-3, True),  # cases 3b, 3c: better in everything than anything known
        (0.11, 2.0, False),  # case 1: worse in everything, and it is cold
        (0.999, 0.9, True),  # case 2: dearer and more accurate than anything known
    ],
)
def test_a_cold_chain_moves_to_what_nothing_dominates(
    toy: Toy, play: Play, measure: Measure, *, accuracy: float, share: float, moves: bool
) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40, hottest=1e-9, coldest=1e-9)
    play(searcher, problem, range(searcher.start))
    configuration = searcher.ask(20)
    assert configuration is not None
    told = measure(problem, 20, configuration)
    costs = {name: share * problem.baseline[name] for name in ("latency_s", "energy_j")}
    searcher.tell(replace(told, metrics={**told.metrics, **costs, "accuracy": accuracy}))
    assert (searcher.chains[0][0] == len(searcher.vectors) - 1) == moves
    assert searcher.chains[0][0] in searcher.archive
