from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocomp.pareto import hypervolume
from autocomp.searchers.gain import GainModel, expected_improvement


def test_expected_improvement_by_hand() -> None:
    # of a known value it is the margin; a standard normal at its mean improves by 1 / sqrt(2 pi) = 0.3989 on average
    values = expected_improvement(np.array([0.3, -0.3, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(values, [0.3, 0.0, 0.39894, 0.79788], atol=1e-5)


def test_the_gain_of_an_empty_front_is_the_box() -> None:
    gain = GainModel(np.zeros((0, 3)))
    np.testing.assert_allclose(gain(np.array([[0.5, 0.5, 0.2], [0.5, 1.5, 0.2]]), np.zeros(2)), [0.5 * 0.5 * 0.8, 0.0])


def test_a_ceiling_leaves_nothing_to_win_above_it() -> None:
    gain = GainModel(np.zeros((0, 2)), guessed=0, ceiling=0.4)
    np.testing.assert_allclose(gain(np.array([[0.3, 0.5], [0.5, 0.5]]), np.zeros(2)), [0.1 * 0.5, 0.0])


@given(seed=st.integers(0, 10_000), goals=st.integers(1, 4), members=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_the_gain_of_what_is_known_is_the_difference_of_hypervolumes(seed: int, goals: int, members: int) -> None:
    generator = np.random.default_rng(seed)
    front, candidates = generator.random((members, goals)) * 1.1, generator.random((8, goals)) * 1.2
    guessed, corner = int(generator.integers(goals)), np.ones(goals)
    before = hypervolume(front, corner)
    want = [hypervolume(np.vstack([front, candidate]), corner) - before for candidate in candidates]
    np.testing.assert_allclose(GainModel(front, guessed)(candidates, np.zeros(8)), want, atol=1e-8)


@pytest.mark.parametrize("goals", [2, 3])
def test_the_gain_of_a_guess_is_the_mean_over_what_it_may_be(goals: int) -> None:
    generator = np.random.default_rng(goals)
    gain = GainModel(generator.random((6, goals)), guessed=1)
    candidate = np.full(goals, 0.3)
    draws = np.repeat(candidate[None], 20_000, axis=0)
    draws[:, 1] += generator.normal(0, 0.2, 20_000)
    assert gain(candidate[None], np.array([0.2]))[0] == pytest.approx(gain(draws, np.zeros(20_000)).mean(), rel=0.03)
