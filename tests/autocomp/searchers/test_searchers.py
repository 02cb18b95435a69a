"""What every searcher must do, run on each of them."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autocomp.choice import Configuration
from autocomp.errors import UnreachableLimitError
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.searchers import AnnealingSearcher, EvolutionSearcher, RandomSearcher, ReinforcementSearcher, Searcher
from autocomp.space import Knob
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Play = Callable[[Searcher, Problem, range], list[Trial]]
SEARCHERS = {"random": RandomSearcher, "annealing": AnnealingSearcher, "rl": ReinforcementSearcher, "nsga2": EvolutionSearcher}
SMALL = (Knob("conv0", "weight_bits", (8, 4)), Knob("conv1", "sparsity", (0.0, 0.5)), Knob("conv1", "pattern", ("fine", "filter")))


@pytest.fixture(params=SEARCHERS)
def make(request: pytest.FixtureRequest) -> Callable[..., Searcher]:
    return SEARCHERS[request.param]


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def shuffled_run(searcher: Searcher, problem: Problem, measure: Measure, *, first: int, n: int) -> list[Configuration | None]:
    """Four at a time, told newest first, with every status in turn; what was asked."""
    asked: list[Configuration | None] = []
    statuses = itertools.cycle(Status(s) for s in ("COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "FAILED", "INFEASIBLE", "COMPLETE"))
    for begin in range(first, first + n, 4):
        batch = {i: searcher.ask(i) for i in range(begin, begin + 4)}
        asked += batch.values()
        for i, configuration in reversed(batch.items()):
            assert configuration is not None
            status = next(statuses)
            trial = replace(measure(problem, i, configuration), status=status)
            searcher.tell(trial if status in ("COMPLETE", "PRUNED") else replace(trial, metrics={}))
    return asked


def test_everything_asked_is_feasible_contained_and_new(make: Callable[..., Searcher], toy: Toy, measure: Measure) -> None:
    problem = toy(latency_s=6e-4)
    searcher = make(problem, seed=1, trials=40)
    asked = [c for c in shuffled_run(searcher, problem, measure, first=0, n=40) if c is not None]
    assert isinstance(searcher, Searcher)
    assert len(set(asked)) == 40
    assert all(problem.space.contains(c) for c in asked)
    assert problem.feasible(problem.space.encode(asked)).all()


def test_same_seed_and_same_tells_give_the_same_asks(make: Callable[..., Searcher], toy: Toy, measure: Measure) -> None:
    problem = toy()
    runs = [shuffled_run(make(problem, seed=seed, trials=24), problem, measure, first=0, n=24) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_a_state_that_went_through_a_file_goes_on_with_the_same_asks(make: Callable[..., Searcher], toy: Toy, measure: Measure) -> None:
    problem = toy()
    original = make(problem, seed=5, trials=40)
    shuffled_run(original, problem, measure, first=0, n=20)
    pending = {i: original.ask(i) for i in (20, 21)}  # running while the state is taken
    snapshot = original.state_dict()
    saved = through_a_file(snapshot)

    def finish(searcher: Searcher) -> list[Configuration | None]:
        for i, configuration in pending.items():
            assert configuration is not None
            searcher.tell(measure(problem, i, configuration))
        return shuffled_run(searcher, problem, measure, first=22, n=12)

    asked = finish(original)
    for state in (saved, snapshot):  # a snapshot does not change while the search goes on
        restored = make(problem, seed=5, trials=40)
        restored.load_state_dict(state)
        assert finish(restored) == asked


def test_a_small_space_is_exhausted_once_and_then_none(make: Callable[..., Searcher], toy: Toy, play: Play) -> None:
    problem = toy(2, knobs=SMALL)
    # 2 bit widths x (dense, fine, filter): the pattern of a dense layer makes no difference
    told = play(make(problem, seed=0, trials=10), problem, range(10))
    assert len({t.configuration for t in told}) == len(told) == 6


def test_a_space_without_decisions_has_one_configuration(make: Callable[..., Searcher], toy: Toy, play: Play) -> None:
    problem = toy(2, knobs=())
    assert [t.configuration for t in play(make(problem, seed=0, trials=3), problem, range(3))] == [Configuration({})]


def test_a_failed_trial_teaches_nothing_and_is_not_asked_again(make: Callable[..., Searcher], toy: Toy) -> None:
    problem = toy(2, knobs=SMALL)
    searcher = make(problem, seed=0, trials=10)
    asked = []
    for i in range(8):
        configuration = searcher.ask(i)
        asked.append(configuration)
        if configuration is not None:
            searcher.tell(Trial(i, configuration, Status.FAILED, reason="worker died"))
    assert len(set(asked[:6]) - {None}) == 6
    assert asked[6:] == [None, None]


def test_foreign_trials_are_taken_in_and_not_asked(make: Callable[..., Searcher], toy: Toy, measure: Measure) -> None:
    problem = toy(2, knobs=SMALL)
    searcher = make(problem, seed=0, trials=10)
    known = [problem.space.decode(v) for v in problem.space.sample(np.random.default_rng(0), 3)]
    for i, configuration in enumerate(known):
        searcher.tell(measure(problem, i, configuration))
    searcher.tell(Trial(3, Configuration.unflatten({"elsewhere/weight_bits": 4}), Status.COMPLETE, {"accuracy": 1.0}))
    asked = {searcher.ask(i) for i in range(4, 12)} - {None}
    assert len(asked) == 6 - len(set(known))
    assert not asked & set(known)


def test_diverged_trials_do_no_harm(make: Callable[..., Searcher], toy: Toy, measure: Measure) -> None:
    problem = toy(accuracy=0.5)
    searcher = make(problem, seed=0, trials=12)
    for i in range(12):
        configuration = searcher.ask(i)
        assert configuration is not None
        trial = measure(problem, i, configuration)
        searcher.tell(replace(trial, metrics={**trial.metrics, "accuracy": math.nan, "loss": math.nan}))


def test_a_limit_that_nothing_meets_is_named(make: Callable[..., Searcher], toy: Toy) -> None:
    with pytest.raises(UnreachableLimitError, match=r"latency_s .* breaks the limit 1e-09"):
        make(toy(latency_s=1e-9), seed=0, trials=4).ask(0)


def hypervolume(problem: Problem, trials: list[Trial]) -> float:
    return ParetoFront(problem.objectives, trials).hypervolume(problem.reference_point)


@pytest.mark.parametrize(("name", "arguments"), [("annealing", {}), ("rl", {"start": 0}), ("nsga2", {"population": 8})])
def test_a_learning_searcher_beats_chance(name: str, arguments: dict[str, Any], toy: Toy, play: Play) -> None:
    problem, trials = toy(), 40

    def mean(make: Callable[..., Searcher], **options: Any) -> float:
        runs = [play(make(problem, seed=seed, trials=trials, **options), problem, range(trials)) for seed in range(2)]
        return float(np.mean([hypervolume(problem, run) for run in runs]))

    assert mean(SEARCHERS[name], **arguments) > 1.15 * mean(RandomSearcher)
