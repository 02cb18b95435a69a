"""The walk over the layers and the actor-critic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from autocomp.problem import Problem
from autocomp.searchers.agent import Agent, draw_preferences, regret
from autocomp.searchers.composition import Composition
from autocomp.searchers.walk import Walk
from autocomp.space import Knob

Toy = Callable[..., Problem]
UNEVEN = (
    Knob("conv0", "weight_bits", (8, 6, 4, 2)),
    Knob("conv1", "activation_bits", (8,)),
    Knob("conv2", "sparsity", (0.0, 0.25, 0.5)),
    Knob("conv2", "pattern", ("filter",)),
    Knob("conv2", "weight_bits", (8, 4)),
)


@given(seed=st.integers(0, 2**31))
def test_a_walk_ends_in_the_vector_that_it_came_from(toy: Toy, seed: int) -> None:
    space = toy(3, knobs=UNEVEN).space
    walk = Walk(Composition(toy(3, knobs=UNEVEN)))
    vectors = space.sample(np.random.default_rng(seed), 5)
    assert (walk.vectors(walk.actions(vectors)) == vectors).all()


def test_only_layers_with_a_decision_are_walked(toy: Toy) -> None:
    walk = Walk(Composition(toy(3, knobs=UNEVEN)))
    assert (walk.length, walk.kinds) == (2, 2)  # conv0 and conv2; sparsity and weight bits
    assert walk.mask.tolist() == [[0, 1], [1, 1]]
    # bits 8, 6, 4, 2: option 1 of 0..3 is 1/3; sparsity option 2 of 0..2 is 1; bits option 1 of 0..1 is 1
    torch.testing.assert_close(walk.actions(np.array([[1, 0, 2, 0, 1]])), torch.tensor([[[0, 1 / 3], [1.0, 1.0]]]))


def test_a_state_knows_what_came_before_and_not_what_comes(toy: Toy) -> None:
    walk = Walk(Composition(toy(4)))
    preferences = torch.tensor([[0.2, 0.3, 0.5]] * 2)
    actions = torch.rand(1, walk.length, walk.kinds).repeat(2, 1, 1)
    actions[1, 2] = 1 - actions[1, 2]
    first, second = walk.states(actions, preferences)
    assert first.shape == (walk.length, walk.width)
    torch.testing.assert_close(first[:3], second[:3])  # layer 2 is decided after its state is seen
    assert (first[3] != second[3]).any()
    torch.testing.assert_close(first[:, -3:], preferences[0].expand(walk.length, 3))


def test_regret_is_the_worst_weighted_goal_and_a_little_of_all() -> None:
    # max(0.5 x 0.4, 0.25 x 0.2, 0.25 x 0.6) = 0.2; sum 0.2 + 0.05 + 0.15 = 0.4, a tenth of it 0.04
    value = regret(torch.tensor([0.4, 0.2, 0.6]), torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(value, torch.tensor(0.24))


def test_proposals_stay_in_their_range_and_follow_the_noise(toy: Toy) -> None:
    walk = Walk(Composition(toy(3)))
    agent = Agent(walk, 3, seed=0)
    preferences = draw_preferences(np.random.default_rng(0), 1, 3).expand(64, -1)
    spreads = []
    for noise in (0.5, 0.02):
        actions, expected = agent.propose(preferences, noise, np.random.default_rng(1))
        assert ((actions >= 0) & (actions <= 1)).all()
        assert expected.shape == (64, 3)
        spreads.append(float(actions[:, 0].std(0).mean()))
    assert spreads[0] > 4 * spreads[1]


def test_the_critic_learns_what_an_action_costs(toy: Toy) -> None:
    # a world of one layer, where the outcome is the strength itself and its opposite: nothing to bootstrap
    problem = toy(1, knobs=(Knob("conv0", "weight_bits", tuple(range(16, 1, -1))),))
    walk = Walk(Composition(problem))
    agent = Agent(walk, 3, seed=0, rate=5e-3)
    generator = np.random.default_rng(0)
    for option in generator.integers(0, 15, 60):
        strength = option / 14
        agent.remember(np.array([option]), np.array([strength, 1 - strength, 1 - strength]))
    for _ in range(400):
        agent.improve(generator)
    preferences = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.475, 0.475]])
    actions, _ = agent.propose(preferences, 1e-3, generator)
    careful, thrifty = actions[:, 0, 0].tolist()
    assert careful < 0.3
    assert thrifty > 0.7
