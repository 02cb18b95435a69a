"""Ties: which of many channels live or die together, collected bit by bit and resolved at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.int64]
FROZEN = -1


class Ties:
    """Single channels, the labels ``0 .. n - 1``, and what is known of them."""

    def __init__(self) -> None:
        self.count = 0
        self._pairs: list[tuple[Labels, Labels]] = []
        self._tables: list[Labels] = []
        self._frozen: list[Labels] = []

    def fresh(self, n: int) -> Labels:
        """Labels of ``n`` new channels."""
        self.count += n
        return np.arange(self.count - n, self.count)

    def tie(self, left: Labels, right: Labels) -> None:
        """Each channel goes with its partner."""
        self._pairs.append((left, right))

    def balance(self, labels: Labels, groups: int) -> None:
        """The groups of a convolution, consecutive channels each, must stay equally wide."""
        self._tables.append(labels.reshape(groups, -1))

    def freeze(self, labels: Labels) -> None:
        """These channels must stay."""
        self._frozen.append(labels)

    def resolve(self) -> Labels:
        """The group of every channel, `FROZEN` where it must stay."""
        none = np.zeros(0, np.int64)
        left, right = (np.concatenate([none, *(pair[side] for pair in self._pairs)]) for side in (0, 1))
        edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(self.count, self.count))
        group: Labels = connected_components(edges, directed=False)[1].astype(np.int64)
        for table in self._tables:
            group = _balanced(group, table)
        group[np.isin(group, group[np.concatenate([none, *self._frozen])])] = FROZEN
        return group


def _balanced(group: Labels, table: Labels) -> Labels:
    """Unite groups of channels until each has equally many in every row of ``table`` (``rows x places``).

    Most rows hold the same groups already, or single channels, of which equal places are united. Where a shuffle or a
    concatenation has mixed them, one group after the other is added that leaves the rows least uneven.
    """
    present, first, places = np.unique(group[table], return_index=True, return_inverse=True)
    counts = np.stack([np.bincount(row, minlength=len(present)) for row in places.reshape(table.shape)], 1)
    waiting = np.flatnonzero((counts != counts[:, :1]).any(1))
    waiting = waiting[np.argsort(first[waiting])]  # in the order of the first row, then of the second, ...
    united = np.arange(group.max(initial=0) + 1)
    while len(waiting):
        leader, total = waiting[0], counts[waiting[0]]
        waiting = waiting[1:]
        while (total != total[0]).any():
            best = int(np.argmin(_unevenness(total + counts[waiting])))
            total = total + counts[waiting[best]]
            united[present[waiting[best]]] = present[leader]
            waiting = np.delete(waiting, best)
    result: Labels = united[group]
    return result


def _unevenness(counts: Labels) -> Labels:
    """The squared deviations from the mean of each row, added up, in whole numbers."""
    uneven: Labels = counts.shape[1] * (counts**2).sum(1) - counts.sum(1) ** 2
    return uneven
