"""What is particular to annealing: on trials alone, as published, and on a surrogate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autocomp.choice import Configuration
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.searchers import AnnealingSearcher, Searcher
from autocomp.searchers.feasible import spread_sample
from autocomp.searchers.gain import GainModel
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Play = Callable[[Searcher, Problem, range], list[Trial]]


def choice(searcher: AnnealingSearcher, moves: Vectors) -> Vectors:
    return searcher.choose(moves, searcher._exact(searcher.problem.paper_metrics(moves)[0]))


def test_the_temperature_falls_geometrically_over_the_planned_trials(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=20, surrogate=False, hottest=1.0, coldest=0.01)
    play(searcher, problem, range(10))
    assert searcher.temperature == pytest.approx(0.1)  # halfway between 1 and 0.01
    play(searcher, problem, range(10, 25))
    assert searcher.temperature == pytest.approx(0.01)


def test_a_stronger_move_that_saves_nothing_is_pointless(toy: Toy, measure: Measure) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=8, surrogate=False)
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
        assert (choice(searcher, np.stack([other_pattern, seven_bits])) == seven_bits).all()
    assert (choice(searcher, other_pattern[None]) == other_pattern).all()  # better than nothing


def test_pointless_moves_are_those_that_a_plain_comparison_finds(toy: Toy, measure: Measure) -> None:
    problem, generator = toy(4), np.random.default_rng(0)
    searcher = AnnealingSearcher(problem, seed=0, trials=40, surrogate=False)
    told = spread_sample(problem.space, generator, 40)
    for number, vector in enumerate(told):
        searcher.tell(measure(problem, number, problem.space.decode(vector)))
    moves = searcher.new(np.concatenate([problem.space.neighbours(vector, generator, 2) for vector in told]))
    known = np.concatenate([searcher.known.vectors, moves])
    costs = np.stack([problem.paper_metrics(known)[0][name] for name in ("latency_s", "energy_j")], axis=1)

    def is_pointless(place: int) -> bool:
        is_no_more = (known <= known[place]).all(1) & (costs <= costs[place]).all(1)
        return bool(is_no_more.sum() > 1)  # one is the move itself

    worth = {move.tobytes() for place, move in enumerate(moves, start=len(known) - len(moves)) if not is_pointless(place)}
    assert 4 < len(worth) < len(moves)
    assert {choice(searcher, moves).tobytes() for _ in range(20 * len(worth))} == worth


def test_trials_that_run_at_the_same_time_ride_different_chains(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40, surrogate=False)
    play(searcher, problem, range(searcher.start))
    for i in range(20, 25):
        searcher.ask(i)
    assert sorted(searcher.riding) == list(range(20, 25))
    assert len(set(searcher.riding.values())) == 5


def test_a_pruned_trial_leaves_archive_and_chains_alone(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40, surrogate=False)
    play(searcher, problem, range(searcher.start))
    archive = searcher.known.archive.tolist()
    configuration = searcher.ask(20)
    assert configuration is not None
    chains = [list(c) for c in searcher.chains]
    great = measure(problem, 20, configuration)
    searcher.tell(replace(great, status=Status.PRUNED, metrics={**great.metrics, "accuracy": 1.0}))
    assert searcher.known.archive.tolist() == archive
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
    searcher = AnnealingSearcher(problem, seed=0, trials=40, surrogate=False, hottest=1e-9, coldest=1e-9)
    play(searcher, problem, range(searcher.start))
    configuration = searcher.ask(20)
    assert configuration is not None
    told = measure(problem, 20, configuration)
    costs = {name: share * problem.baseline[name] for name in ("latency_s", "energy_j")}
    searcher.tell(replace(told, metrics={**told.metrics, **costs, "accuracy": accuracy}))
    assert (searcher.chains[0][0] == len(searcher.known.vectors) - 1) == moves
    assert searcher.chains[0][0] in searcher.known.archive


def test_imagination_counts_on_what_is_running(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40, chains=8, steps=16)
    play(searcher, problem, range(8))
    asked = [searcher.ask(i) for i in range(8, 12)]  # nothing is told: each counts on what the others are expected to give
    expected = searcher.known.forecast(problem.space.encode([c for c in asked if c is not None])).values
    assert np.abs(expected[:, None] - expected).sum(-1)[np.triu_indices(4, 1)].min() > 1e-3
    alone = GainModel(searcher.known.values[searcher.known.archive], guessed=0)(expected[:1], np.zeros(1))
    beside = searcher.known.gain_model()(expected[:1], np.zeros(1))
    assert beside[0] == pytest.approx(0, abs=1e-12) or beside[0] < alone[0]


def test_imagined_chains_go_on_from_real_results(toy: Toy, play: Play) -> None:
    problem = toy()
    searcher = AnnealingSearcher(problem, seed=0, trials=40, chains=8, steps=4)
    play(searcher, problem, range(8))
    anchors = {searcher.known.vectors[row].tobytes() for row in searcher.known.archive}
    places = [place.tobytes() for place in searcher.places]
    begin = [vector.tobytes() for vector in searcher._anchored()]
    assert all(vector in anchors for vector in begin[::2])
    assert begin[1::2] == places[1::2]


def test_a_surrogate_is_worth_many_trials(toy: Toy, play: Play) -> None:
    problem = toy()

    def covered(n: int, *, surrogate: bool) -> float:
        searcher = AnnealingSearcher(problem, seed=1, trials=n, surrogate=surrogate, chains=16, steps=24)
        return ParetoFront(problem.objectives, play(searcher, problem, range(n))).hypervolume(problem.reference_point)

    assert covered(16, surrogate=True) > covered(48, surrogate=False)
