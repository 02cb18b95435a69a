"""AMC and HAQ as published: state, action, reward, schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from autocomp.choice import Choice, Configuration
from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.amc import AmcSearcher
from autocomp.searchers.ddpg import Ddpg
from autocomp.searchers.haq import HaqSearcher
from autocomp.searchers.presets import make_reinforcement
from autocomp.searchers.reinforcement import ReinforcementSearcher
from autocomp.space import Knob
from autocomp.trial import Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
EIGHTHS = tuple(i / 8 for i in range(8))
PRUNING = tuple(knob for i in range(3) for knob in (Knob(f"conv{i}", "sparsity", EIGHTHS), Knob(f"conv{i}", "pattern", ("fine", "filter"))))
BITS = tuple(knob for i in range(3) for knob in (Knob(f"conv{i}", "activation_bits", (8, 4)), Knob(f"conv{i}", "weight_bits", (8, 6, 4))))


def pruned(toy: Toy) -> Problem:
    return toy(3, knobs=PRUNING)


def test_amc_lets_a_layer_keep_what_the_budget_allows_with_later_layers_at_their_least(toy: Toy) -> None:
    problem = pruned(toy)
    searcher = AmcSearcher(problem, seed=0, trials=400, budget=0.5, metric="latency_s")
    macs = problem.workload.macs / problem.workload.macs.sum()  # toy latency is MACs x density, at 8 bits and less than 32 alike
    assert searcher.most == pytest.approx(0.5 * problem.baseline["latency_s"])
    vector = searcher.bare
    for step in range(3):
        # kept so far, this layer's share, and an eighth of what follows
        before = sum(macs[i] * (1 - EIGHTHS[vector[2 * i]]) for i in range(step))
        after = macs[step + 1 :].sum() / 8
        expected = next((o for o, s in enumerate(EIGHTHS) if before + macs[step] * (1 - s) + after <= 0.5), 7)
        assert searcher.bound(vector, step) == expected
        vector[2 * step] = expected


@pytest.mark.parametrize("budget", [0.3, 0.5, 0.9])
def test_amc_keeps_its_budget_and_prunes_filters_alone(budget: float, toy: Toy, measure: Measure) -> None:
    problem = pruned(toy)
    searcher = AmcSearcher(problem, seed=1, trials=40, budget=budget, metric="latency_s", warmup=5)
    asked = []
    for i in range(15):
        configuration = searcher.ask(i)
        assert configuration is not None
        asked.append(configuration)
        assert problem.metrics_of(configuration)["latency_s"] <= budget * problem.baseline["latency_s"] * (1 + 1e-12)
        assert {choice.pattern for choice in configuration.values() if choice.sparsity} <= {"filter"}
        searcher.tell(measure(problem, i, configuration))
    assert len(set(asked)) == 15


def test_amc_sees_ten_features(toy: Toy) -> None:
    problem = pruned(toy)
    searcher = AmcSearcher(problem, seed=0, trials=10, metric="latency_s")
    vector = np.array([4, 1, 2, 1, 0, 0])  # keeps 1/2, 3/4, 1
    states, actions = searcher.described(vector)
    macs = problem.workload.macs / problem.workload.macs.sum()
    assert states.shape == (3, 10)
    assert actions.tolist() == [0.5, 0.75, 1.0]
    assert states[:, 0].tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(states[:, 7], [0, macs[0] / 2, macs[0] / 2 + macs[1] / 4])  # reduced
    np.testing.assert_allclose(states[:, 8], [macs[1] + macs[2], macs[2], 0])  # left to decide
    assert states[:, 9].tolist() == [1.0, 0.5, 0.75]


def test_rewards_are_those_of_the_papers(toy: Toy) -> None:
    trial = Trial(0, Configuration({}), metrics={"accuracy": 0.9, "macs": np.e**10})
    problem = pruned(toy)
    assert AmcSearcher(problem, seed=0, trials=10).reward(trial) == 0.9
    assert AmcSearcher(problem, seed=0, trials=10, reward="accuracy").reward(trial) == pytest.approx(-0.1 * 10)
    # 0.99 of the teacher to 0.9 are 9 points
    assert HaqSearcher(toy(3, knobs=BITS), seed=0, trials=10).reward(trial) == pytest.approx(-0.9)


def test_noise_falls_by_the_schedule_after_warm_up(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = AmcSearcher(pruned(toy), seed=0, trials=10, warmup=3)
    monkeypatch.setattr(searcher.agent, "act", lambda state: 0.5)
    state = np.zeros(10)

    def spread(count: int) -> float:
        searcher.count = count
        return float(np.std([searcher.act(state) for _ in range(1000)]))

    assert spread(0) == pytest.approx(12**-0.5, rel=0.1)  # uniform
    assert spread(3 + 60) == pytest.approx(0.5 * 0.95**60, rel=0.1)  # 0.023, hardly cut
    assert AmcSearcher(pruned(toy), seed=0, trials=40, warmup=0.25).warmup == 10


def test_haq_takes_bits_away_from_the_last_step_backwards(toy: Toy) -> None:
    problem = toy(3, knobs=BITS)
    searcher = HaqSearcher(problem, seed=0, trials=10, budget=1.0, metric="size_bytes")
    names = [problem.space.names[c] for c in searcher.columns]
    assert names[:4] == ["conv0/weight_bits", "conv0/activation_bits", "conv1/weight_bits", "conv1/activation_bits"]

    def size(*bits: int) -> float:
        """Bytes with these weight bits; activations keep their 8."""
        choices = {f"conv{i}": Choice(weight_bits=w, activation_bits=8) for i, w in enumerate(bits)}
        return problem.metrics_of(Configuration(choices))["size_bytes"]

    def bits(most: float) -> list[int]:
        """Weight bits when so many bytes are allowed."""
        searcher.most = most
        configuration = problem.space.decode(searcher.lowered(np.zeros(6, np.int64)))
        return [configuration[f"conv{i}"].weight_bits for i in range(3)]

    slack = 1e-6
    course = [(8, 8, 8), (8, 8, 6), (8, 6, 6), (6, 6, 6), (6, 6, 4)]  # the second round begins at the end again
    for step, lower in pairwise(course):
        assert bits(size(*step) + slack) == list(step)
        assert bits(size(*step) - slack) == list(lower)
    assert bits(1.0) == [4, 4, 4]  # out of reach


def test_haq_divides_the_range_of_an_action_evenly(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = HaqSearcher(toy(1, knobs=(Knob("conv0", "weight_bits", (8, 7, 6, 5, 4, 3, 2)),)), seed=0, trials=10, budget=1.0)

    def width(action: float) -> int:
        monkeypatch.setattr(searcher, "act", lambda state: action)
        return int(8 - searcher.walked()[0])

    # round(1.5 + 7 a), as published
    assert [width(a) for a in (0.0, 0.14, 0.15, 0.5, 0.99, 1.0)] == [2, 2, 3, 5, 8, 8]
    _, actions = searcher.described(np.array([3]))
    assert width(float(actions[0])) == 5


def test_an_episodes_reward_counts_for_every_step(toy: Toy, measure: Measure) -> None:
    problem = pruned(toy)
    searcher = AmcSearcher(problem, seed=0, trials=10, metric="latency_s")
    configuration = searcher.ask(0)
    assert configuration is not None
    trial = measure(problem, 0, configuration)
    searcher.tell(trial)
    assert searcher.count == 1
    np.testing.assert_allclose(searcher.agent.buffer[:, 11], trial.metrics["accuracy"], rtol=1e-6)
    assert searcher.agent.buffer[:, -1].tolist() == [0, 0, 1]
    searcher.tell(replace(trial, id=1, metrics={**trial.metrics, "accuracy": float("nan")}))
    assert searcher.count == 1


def test_ddpg_finds_the_better_action() -> None:
    agent, generator = Ddpg(2, seed=0), np.random.default_rng(0)
    for action in generator.random(200):
        agent.remember(np.array([[0.0, 1.0]]), np.array([action]), 1 - (action - 0.8) ** 2, 1000)
    for _ in range(600):
        agent.improve(generator)
    assert agent.act(np.array([0.0, 1.0])) == pytest.approx(0.8, abs=0.12)


def test_a_preset_names_the_agent(toy: Toy) -> None:
    assert isinstance(make_reinforcement(pruned(toy), seed=0, trials=4), ReinforcementSearcher)
    amc = make_reinforcement(pruned(toy), seed=0, trials=4, preset="amc", budget=0.3)
    assert isinstance(amc, AmcSearcher)
    assert amc.most == 0.3 * pruned(toy).baseline["macs"]
    assert isinstance(make_reinforcement(toy(3, knobs=BITS), seed=0, trials=4, preset="haq"), HaqSearcher)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "nas"}, "must be one of amc, haq or null, but is 'nas'"),
        ({"budget": 0.5}, r"`searcher.budget` is for a published agent"),
        ({"preset": "amc", "warmth": 1}, "unexpected keyword argument 'warmth'"),
        ({"preset": "amc", "budget": 1.5}, "at most 1, a share of the teacher's macs, but is 1.5"),
        ({"preset": "amc", "metric": "accuracy"}, "must be one of latency_s"),
        ({"preset": "amc", "reward": "fun"}, "must be one of budget, accuracy"),
        ({"preset": "amc", "warmup": -1}, "at least 0, but is -1"),
        ({"preset": "haq"}, "decides on weight_bits and activation_bits, but no layer of the space has a choice"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], message: str, toy: Toy) -> None:
    with pytest.raises(ConfigError, match=message):
        make_reinforcement(pruned(toy), seed=0, trials=4, **settings)  # type: ignore[arg-type]
