from __future__ import annotations

import numpy as np
import pytest

from autocomp.searchers.amosa import accept, archived, domination_amount, probability, thinned


def test_domination_amount_is_the_product_over_the_objectives_that_differ() -> None:
    # |0.5 - 0.1| / 1 x |2 - 1| / 4, the second objective is equal: 0.4 x 0.25 = 0.1
    a, b = np.array([[0.5, 3.0, 2.0]]), np.array([0.1, 3.0, 1.0])
    np.testing.assert_allclose(domination_amount(a, b, np.array([1.0, 9.0, 4.0])), [0.1])


def test_a_worse_move_passes_half_of_the_time_when_it_is_hot_and_never_when_it_is_cold() -> None:
    np.testing.assert_allclose(probability(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1e9, 1e-9])), [0.5, 0.5, 0.0], atol=1e-12)
    # 1 / (1 + e)
    assert probability(np.array(2.0), np.array(2.0)) == pytest.approx(0.26894, abs=1e-5)


ARCHIVE = np.array([[0.0, 1.0], [1.0, 0.0], [0.4, 0.4]])


@pytest.mark.parametrize(
    ("current", "new", "share", "jumps_to"),
    [
        # case 1: worse than where it stands; the amount 0.25 x 0.25 = 0.0625 against a temperature of 0.0625
        ((0.25, 0.25), (0.5, 0.5), None, -1),
        # case 2: neither dominates, and no member does: always accepted
        ((0.4, 0.4), (0.3, 0.6), 1.0, -1),
        # case 3: better than where it stands and than the archive: always accepted
        ((0.9, 0.9), (0.3, 0.3), 1.0, -1),
        # case 3: better than where it stands, but (0.4, 0.4) is better yet, by 0.1 x 0.1: half of the chains jump there
        ((0.9, 0.9), (0.5, 0.5), None, 2),
    ],
)
def test_the_three_cases(current: tuple[float, float], new: tuple[float, float], share: float | None, jumps_to: int) -> None:
    count = 4000
    before, after = (np.repeat(np.array([point]), count, axis=0) for point in (current, new))
    accepted, jumps = accept(before, after, ARCHIVE, np.full(count, 0.0625), np.random.default_rng(0))
    assert set(jumps.tolist()) <= {-1, jumps_to}
    if share is not None:
        assert accepted.mean() == share
    elif jumps_to >= 0:
        # 1 / (1 + exp(-0.01)): a bit more than half; whoever does not jump moves
        assert (jumps == 2).mean() == pytest.approx(0.5025, abs=0.03)
        assert ((jumps == 2) ^ accepted).all()
    else:
        # the mean amount of the current point and of (0.4, 0.4): (0.0625 + 0.01) / 2; 1 / (1 + exp(0.58))
        assert accepted.mean() == pytest.approx(1 / (1 + np.exp(0.03625 / 0.0625)), abs=0.03)


def test_a_member_that_is_where_the_chain_stands_counts_once() -> None:
    count = 4000
    current, new = np.repeat(ARCHIVE[[2]], count, axis=0), np.repeat(np.array([[0.5, 0.5]]), count, axis=0)
    accepted, _ = accept(current, new, ARCHIVE, np.full(count, 0.01), np.random.default_rng(0))
    assert accepted.mean() == pytest.approx(1 / (1 + np.e), abs=0.03)  # 0.1 x 0.1 against 0.01


def test_an_archive_within_its_limit_keeps_all_that_nothing_dominates() -> None:
    values = np.concatenate([ARCHIVE, [[0.5, 0.5], [2.0, 2.0]]])
    assert archived(values, soft=3, hard=2).tolist() == [0, 1, 2]


def test_an_archive_beyond_its_limit_keeps_one_of_each_cluster() -> None:
    x = np.array([0.0, 0.01, 0.02, 0.5, 0.51, 1.0])
    line = np.stack([x, 1 - x], axis=1)
    kept = archived(line, soft=5, hard=3)
    # the middle of three; of two equals the first; the lone one
    assert kept.tolist() == [1, 3, 5]
    assert thinned(line[:2], 4).tolist() == [0, 1]
