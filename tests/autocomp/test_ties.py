"""Ties: pairs, balanced groups of a convolution, and what must stay."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autocomp.ties import FROZEN, Ties


def partition(groups: list[int]) -> list[list[int]]:
    """The sets of channels that go together, by their first member."""
    found: dict[int, list[int]] = {}
    for channel, group in enumerate(groups):
        found.setdefault(group, []).append(channel)
    return sorted(found.values())


def test_what_is_tied_to_the_same_channel_is_one_group() -> None:
    ties = Ties()
    first, second = ties.fresh(3), ties.fresh(3)
    ties.tie(first, second)
    ties.tie(first[:1], second[1:2])
    assert partition(ties.resolve().tolist()) == [[0, 1, 3, 4], [2, 5]]


def test_equal_places_of_the_groups_of_a_convolution_go_together() -> None:
    ties = Ties()
    ties.balance(ties.fresh(6), 2)
    assert partition(ties.resolve().tolist()) == [[0, 3], [1, 4], [2, 5]]


def test_what_is_in_every_group_already_ties_nothing_more() -> None:
    ties = Ties()
    channels = ties.fresh(3)
    ties.balance(np.concatenate([channels, channels[[2, 0, 1]]]), 2)
    assert partition(ties.resolve().tolist()) == [[0], [1], [2]]


def test_what_is_in_one_group_more_often_is_made_up_for_by_another() -> None:
    # Pairs (0, 1), (2, 3), (4, 5) lie as 0 1 2 4 | 3 5 6 7: only (0, 1) is uneven, two to none; 6 and 7 make up for it.
    ties = Ties()
    channels = ties.fresh(8)
    ties.tie(channels[0:6:2], channels[1:6:2])
    ties.balance(channels[[0, 1, 2, 4, 3, 5, 6, 7]], 2)
    assert partition(ties.resolve().tolist()) == [[0, 1, 6, 7], [2, 3], [4, 5]]


def test_what_must_stay_keeps_all_that_is_tied_to_it() -> None:
    ties = Ties()
    channels = ties.fresh(4)
    ties.tie(channels[:1], channels[2:3])
    ties.freeze(channels[2:3])
    groups = ties.resolve()
    assert groups[[0, 2]].tolist() == [FROZEN] * 2
    assert len({*groups[[1, 3]].tolist(), FROZEN}) == 3


def test_without_channels_there_are_no_groups() -> None:
    assert Ties().resolve().tolist() == []


@given(st.data())
def test_after_all_ties_every_group_has_equally_many_channels_in_each_group_of_every_convolution(data: st.DataObject) -> None:
    ties = Ties()
    channels = ties.fresh(24)
    numbers = st.integers(0, 23)
    pairs = data.draw(st.lists(st.tuples(numbers, numbers), max_size=6))
    for left, right in pairs:
        ties.tie(channels[[left]], channels[[right]])
    tables = [
        (np.array(data.draw(st.permutations(range(24)))), groups)
        for groups in data.draw(st.lists(st.sampled_from([2, 3, 4, 6]), max_size=3))
    ]
    for order, groups in tables:
        ties.balance(channels[order], groups)
    found = ties.resolve()
    assert all(found[left] == found[right] for left, right in pairs)
    for order, groups in tables:
        rows = found[order].reshape(groups, -1)
        assert all(np.array_equal(np.sort(row), np.sort(rows[0])) for row in rows)
