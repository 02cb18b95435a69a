"""Expected hypervolume gain: what a candidate is expected to add to a front, where all costs are known and one value is a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autocomp.pareto import nondominated

Floats = NDArray[np.float64]
TOGETHER = 2**18  # products of candidates, heights and cells that are held in memory at once, for the processor's cache
STEEPEST = 1e-9  # deviation below which a guess counts as known


class GainModel:
    """The front as a landscape over the costs: how good the best member is that costs no more.

    A candidate with costs ``c`` and value ``a`` dominates, at every place ``q >= c`` of the space of costs, what lies between ``a``
    and the landscape ``h(q)``. Its expected gain (Emmerich 2006) is a sum over the heights of the landscape: of the volume beyond ``c``
    that has this height, times the expected improvement ``E max(h - a, 0)`` of a normal guess. Up to each height the landscape
    comes down at one last cost, which is constant in the cells of the grid that the members' other costs span.

    Args:
        front: ``n x m`` points, less is better; only those within the box up to 1 count.
        guessed: the column that is a guess for candidates; the others are costs, known exactly.
        ceiling: the worst guessed value that counts, at most 1; what is worse breaks a limit.
    """

    def __init__(self, front: Floats, guessed: int = 0, ceiling: float = 1.0) -> None:
        inside = front[(front < 1).all(axis=1) & (front[:, guessed] < ceiling)]
        inside = inside[nondominated(inside)] if len(inside) else inside
        costs = [c for c in range(front.shape[1]) if c != guessed]
        self.guessed, self.gridded, self.last = guessed, costs[:-1], costs[-1:]
        self.edges = [np.unique(np.append(inside[:, c], 1.0)) for c in self.gridded]
        self.heights = np.unique(np.append(inside[:, guessed], ceiling))
        # from which last cost on the landscape is no higher than each height; an entry of the grid is the cell that begins at the edge
        # before it, and a member counts from its own edge on
        reached = np.ones([len(self.heights), *(len(edges) + 1 for edges in self.edges)])
        reached[-1] = -np.inf
        places = [np.searchsorted(edges, inside[:, c]) + 1 for c, edges in zip(self.gridded, self.edges, strict=True)]
        if self.last:
            np.minimum.at(reached, (np.searchsorted(self.heights, inside[:, guessed]), *places), inside[:, self.last[0]])
        for axis in range(reached.ndim):
            reached = np.minimum.accumulate(reached, axis=axis)
        self.reached = reached[:, *(slice(0, len(edges)) for edges in self.edges)].reshape(len(self.heights), -1)

    def __call__(self, values: Floats, deviations: Floats) -> Floats:
        """The expected gain of each of ``b x m`` candidates whose guessed value has a standard deviation (``b``), ``b``."""
        rows = max(1, TOGETHER // self.reached.size)
        return np.concatenate(
            [self._some(values[i : i + rows], deviations[i : i + rows]) for i in range(0, len(values), rows)] or [np.zeros(0)]
        )

    def _some(self, values: Floats, deviations: Floats) -> Floats:
        areas = np.ones((len(values), 1))  # of the cells beyond a candidate
        for cost, edges in zip(self.gridded, self.edges, strict=True):
            areas = (areas[:, :, None] * _overlaps(values[:, cost], edges)[:, None]).reshape(len(values), -1)
        if self.last:
            beyond = np.maximum(self.reached, np.clip(values[:, self.last[0]], None, 1.0)[:, None, None])  # b x heights x cells
            below = areas.sum(1, keepdims=True) - np.matmul(beyond, areas[:, :, None])[..., 0]
        else:
            below = np.ones((len(values), len(self.heights)))
        improvements = expected_improvement(self.heights - values[:, self.guessed, None], deviations[:, None])
        return np.asarray((np.diff(below, axis=1, prepend=0.0) * improvements).sum(-1))


def _overlaps(costs: Floats, edges: Floats) -> Floats:
    """How much of each cell of an axis lies beyond a candidate's cost, ``b`` and ``e`` to ``b x e``; the first cell has no lower end."""
    lower = np.concatenate([[-np.inf], edges[:-1]])
    overlaps: Floats = np.maximum(edges - np.maximum(lower, costs[:, None]), 0.0)
    return overlaps


def expected_improvement(margin: Floats, deviation: Floats) -> Floats:
    """``E max(margin - e, 0)`` for a normal ``e`` of mean 0 (Mockus 1978)."""
    spread = np.maximum(deviation, STEEPEST)
    z = margin / spread
    improvement: Floats = margin * ndtr(z) + spread * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return improvement
