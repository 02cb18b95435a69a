"""The agent's imagined episodes, and what is asked because of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from autocomp.choice import Configuration
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.searchers import AmcSearcher, HaqSearcher, ReinforcementSearcher, Searcher
from autocomp.searchers.agent import Agent
from autocomp.searchers.composition import Composition
from autocomp.searchers.feasible import single_changes, uniform_start
from autocomp.searchers.reinforcement import ANCHORS
from autocomp.searchers.walk import Walk
from autocomp.space import Knob
from autocomp.trial import Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Play = Callable[..., list[Trial]]
SMALL: dict[str, Any] = {"warm_up": 100, "memory": 256, "proposals": 64, "generations": 3}
PUBLISHED: dict[str, Callable[..., Searcher]] = {
    "amc": partial(AmcSearcher, warmup=4, metric="latency_s"),
    "haq": partial(HaqSearcher, warmup=4, metric="energy_j"),
}


def hypervolume(problem: Problem, trials: list[Trial]) -> float:
    return ParetoFront(problem.objectives, trials).hypervolume(problem.reference_point)


def test_a_tiny_space_is_covered_in_few_trials(toy: Toy, measure: Measure, play: Play) -> None:
    problem = toy(3, knobs=tuple(Knob(f"conv{i}", "weight_bits", (8, 6, 4, 3, 2)) for i in range(3)))
    everything = [problem.space.decode(np.array(index)) for index in np.ndindex(5, 5, 5)]
    best = hypervolume(problem, [measure(problem, i, c) for i, c in enumerate(everything)])
    told = play(ReinforcementSearcher(problem, seed=0, trials=30, **SMALL), problem, range(30))
    assert hypervolume(problem, told) > 0.97 * best


def test_what_is_imagined_has_exact_prices_and_the_surrogates_guess(toy: Toy, play: Play) -> None:
    problem = toy(3)
    searcher = ReinforcementSearcher(problem, seed=0, trials=20, **SMALL)
    play(searcher, problem, range(8))
    assert searcher.episodes is not None
    learnt = searcher._learn(searcher.episodes, 1)
    actions, outcomes = searcher.agent.imagined
    assert (searcher.walk.vectors(actions) == searcher.episodes.vectors).all()
    expected = searcher.known.forecast(searcher.episodes.vectors)
    np.testing.assert_allclose(learnt.values, expected.values, rtol=1e-9)
    np.testing.assert_array_equal(learnt.violations, expected.violations)
    np.testing.assert_allclose(outcomes, np.minimum(expected.values, 4.0), rtol=1e-6)
    assert len(searcher.episodes) <= 256
    assert len(searcher.agent.actions) == 8  # trials stay apart


def test_an_agent_that_was_stored_before_its_first_look_looks(toy: Toy) -> None:
    problem = toy(3)
    new, stored = (ReinforcementSearcher(problem, seed=0, trials=20, start=0, **SMALL) for _ in range(2))
    stored.load_state_dict(new.state_dict())
    assert stored.ask(0) == new.ask(0) is not None


def test_a_look_promises_no_less_than_what_the_agent_imagined_before(toy: Toy, play: Play) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    play(searcher, problem, range(8))
    gain = searcher.known.gain_model()

    def promised(vectors: np.ndarray) -> np.ndarray:
        forecast = searcher.known.forecast(vectors)
        return np.where(forecast.violations == 0, gain(forecast.values, forecast.deviations), 0.0)

    for _ in range(2):
        assert searcher.episodes is not None
        imagined = np.concatenate([uniform_start(problem, 64), searcher.episodes.vectors])
        new = np.array([vector for vector in imagined if vector.tobytes() not in searcher.asked])
        found = searcher.look()
        assert promised(found.vectors).max() >= promised(new).max()
        assert len(searcher.episodes) <= searcher.memory
        kept = {vector.tobytes() for vector in searcher.episodes.vectors}
        assert {vector.tobytes() for vector in found.vectors} <= kept  # the agent learns from the best


def test_trials_of_the_front_are_walked_again_although_they_promise_nothing(toy: Toy, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    walked: list[np.ndarray] = []
    redecide = searcher.agent.redecide

    def watched(walks: torch.Tensor, *others: Any) -> torch.Tensor:
        walked.append(searcher.walk.vectors(walks))
        return redecide(walks, *others)

    monkeypatch.setattr(searcher.agent, "redecide", watched)
    play(searcher, problem, range(8))
    walked.clear()
    front = searcher.known.forecast(searcher.known.vectors[searcher.known.archive])
    assert searcher.known.gain_model()(front.values, np.zeros(len(front))).max() < 1e-9
    searcher.look()
    real = {vector.tobytes() for vector in front.vectors}
    shares = [np.mean([vector.tobytes() in real for vector in generation]) for generation in walked]
    assert len(shares) == searcher.generations
    assert shares == pytest.approx([0.5] * len(shares), abs=0.01)  # beside the most promising ones


def test_what_is_asked_promises_no_less_than_any_change_of_a_trial_of_the_front(toy: Toy, play: Play) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, rounds=1, **SMALL)
    play(searcher, problem, range(8))
    gain, front = searcher.known.gain_model(), searcher.known.vectors[searcher.known.archive]

    def promised(vectors: np.ndarray) -> np.ndarray:
        found = searcher.known.forecast(searcher.fresh(vectors))
        return np.where(found.violations == 0, gain(found.values, found.deviations), 0.0)

    best = max(promised(single_changes(problem.space, vector)).max() for vector in front)
    uniform = searcher.fresh(uniform_start(problem, 64))
    useless = searcher.known.forecast(uniform[[promised(uniform).argmin()]])
    (asked,) = searcher.most_promising(useless)
    assert promised(asked[None])[0] >= best > 0


def test_no_trial_is_asked_again_where_nothing_promises_anything(toy: Toy, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    play(searcher, problem, range(8))
    look = searcher.look()
    # a volume of nothing may be a rounding error below zero
    monkeypatch.setattr(searcher.known, "gain_model", lambda known: lambda values, deviations: np.full(len(values), -1e-18))
    assert searcher.anchors()
    (asked,) = searcher.most_promising(look)
    assert asked.tobytes() not in searcher.asked


def test_refinement_begins_at_some_trials_of_a_large_front(toy: Toy, play: Play) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    assert searcher.anchors() == []
    play(searcher, problem, range(20))
    assert len(searcher.known.archive) > ANCHORS
    drawn = [{anchor.vectors[0].tobytes() for anchor in searcher.anchors()} for _ in range(2)]
    front = {vector.tobytes() for vector in searcher.known.vectors[searcher.known.archive]}
    assert len(drawn[0]) == len(drawn[1]) == ANCHORS
    assert drawn[0] != drawn[1]
    assert drawn[0] | drawn[1] <= front


def test_walks_that_break_a_limit_are_mended_and_none_is_lost(toy: Toy) -> None:
    limited = toy(4, latency_s=0.4 * toy(4).baseline["latency_s"])
    free, tight = (ReinforcementSearcher(problem, seed=0, trials=20, start=0, **SMALL) for problem in (toy(4), limited))
    walked, mended = free._walks(), tight._walks()  # of the same untrained agent
    is_broken = tight.known.forecast(walked.vectors).violations > 0
    assert 0 < is_broken.sum() < len(walked) == len(mended)
    assert (mended.violations == 0).all()
    assert {v.tobytes() for v in walked.vectors[~is_broken]} <= {v.tobytes() for v in mended.vectors}


def test_with_many_layers_few_looks_are_divided_into_few_rounds(toy: Toy) -> None:
    few, many = (ReinforcementSearcher(toy(layers), seed=0, trials=20) for layers in (4, 60))
    assert (few.rounds, few.generations) == (12, 12)
    assert (many.rounds, many.generations) == (6, 5)  # of 1024 looks two fifths and a third, 64 at once
    assert ReinforcementSearcher(toy(4), seed=0, trials=20, rounds=3, generations=0).generations == 0


def test_decisions_are_taken_anew_towards_the_actor_and_only_some(toy: Toy) -> None:
    walk = Walk(Composition(toy(4)))
    agent, generator = Agent(walk, 3, seed=0), np.random.default_rng(0)
    with torch.no_grad():
        *_, weight, bias = agent.actor.parameters()
        weight.zero_()
        bias.fill_(4.0)  # an actor that wants 0.98 everywhere
    walks = torch.full((256, walk.length, walk.kinds), 0.5) * walk.mask
    preferences = torch.full((256, 3), 1 / 3)
    anew = agent.redecide(walks, preferences, 0.01, torch.tensor(0.25), generator)
    changed = anew != walks
    assert float(changed.float().sum() / walk.mask.sum() / 256) == pytest.approx(0.25, abs=0.03)
    as_a_whole = [set(changed[w, layer][walk.mask[layer] > 0].tolist()) for w in range(256) for layer in range(walk.length)]
    halves = np.array([len(decided) > 1 for decided in as_a_whole]).reshape(256, -1).any(1).mean()
    assert halves == pytest.approx(0.5, abs=0.1)  # the others take layers as a whole
    assert (anew[:, walk.mask == 0] == 0).all()
    assert float(anew[changed].mean()) == pytest.approx(0.74, abs=0.02)  # halfway between 0.5 and 0.98


def test_pending_trials_are_counted_and_not_asked_again(toy: Toy, play: Play) -> None:
    problem = toy(4)
    searcher = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    play(searcher, problem, range(8))
    asked = [searcher.ask(i) for i in range(8, 16)]
    assert len(set(asked)) == 8
    vectors = problem.space.encode([c for c in asked if c is not None])
    assert set(searcher.known.pending) == set(range(8, 16))
    expected = searcher.known.forecast(vectors)
    without = ReinforcementSearcher(problem, seed=0, trials=40, **SMALL)
    without.load_state_dict(searcher.state_dict())
    without.known.pending = {}
    # what is under way is expected to be there already, so that asking for it again gains next to nothing
    gain, before = (s.known.gain_model()(expected.values, np.zeros(8)).sum() for s in (searcher, without))
    assert gain < 0.01 * before


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_agents_repeat_themselves_with_one_seed_and_go_on_from_a_state(name: str, toy: Toy, measure: Measure) -> None:
    problem = toy(3)

    def go(searcher: Searcher, first: int, last: int) -> list[Configuration]:
        asked = []
        for i in range(first, last):
            configuration = searcher.ask(i)
            assert configuration is not None
            asked.append(configuration)
            searcher.tell(measure(problem, i, configuration))
        return asked

    original, same = (PUBLISHED[name](problem, seed=3, trials=20) for _ in range(2))
    assert go(original, 0, 8) == go(same, 0, 8)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored = PUBLISHED[name](problem, seed=3, trials=20)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert go(restored, 8, 14) == go(original, 8, 14)
