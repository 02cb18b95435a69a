"""Expected hypervolume gain: what a candidate is expected to add to a front, where all costs are known and one value is a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autocomp.pareto import nondominated

Floats = NDArray[np.float64]
CELLS = 2**21  # products of candidates and cells of the grid that are held in memory at once
STEEPEST = 1e-9  # deviation below which a guess counts as known


class GainModel:
    """The front as a landscape over the costs: how good the best member is that costs no more.

    A candidate with costs ``c`` and value ``a`` dominates, at every place ``q >= c`` of the space of costs, what lies between ``a``
    and the landscape ``h(q)``. The landscape is constant in the cells of the grid that the members' costs span, so that the expected
    gain (Emmerich 2006) is a sum over cells of a volume and the expected improvement ``E max(h - a, 0)`` of a normal guess.

    Args:
        front: ``n x m`` points, less is better; only those within the box up to 1 count.
        guessed: the column that is a guess for candidates; the others are costs, known exactly.
        ceiling: the worst guessed value that counts, at most 1; what is worse breaks a limit.
    """

    def __init__(self, front: Floats, guessed: int = 0, ceiling: float = 1.0) -> None:
        inside = front[(front < 1).all(axis=1)]
        inside = inside[nondominated(inside)] if len(inside) else inside
        self.costs = [c for c in range(front.shape[1]) if c != guessed]
        self.guessed = guessed
        self.edges = [np.unique(np.append(inside[:, c], 1.0)) for c in self.costs]
        # an entry of the grid is the cell that begins at the edge before it; a member counts from its own edge on
        landscape = np.full([len(edges) + 1 for edges in self.edges], ceiling)
        for member in inside:
            place = tuple(np.searchsorted(edges, member[c]) + 1 for c, edges in zip(self.costs, self.edges, strict=True))
            landscape[place] = min(landscape[place], member[guessed])
        for axis in range(landscape.ndim):
            landscape = np.minimum.accumulate(landscape, axis=axis)
        landscape = landscape[tuple(slice(0, len(edges)) for edges in self.edges)]
        self.heights, of_cell = np.unique(landscape, return_inverse=True)
        # (first axis) x (height, further axes): one matrix product sums the cells of the first axis
        onehot = of_cell.reshape(landscape.shape)[..., None] == np.arange(len(self.heights))
        self.cells = onehot.astype(np.float64)

    def __call__(self, values: Floats, deviations: Floats) -> Floats:
        """The expected gain of each of ``b x m`` candidates whose guessed value has a standard deviation (``b``), ``b``."""
        rows = max(1, CELLS * len(self.cells) // max(self.cells.size, 1))  # the first axis is summed at once
        return np.concatenate(
            [self._some(values[i : i + rows], deviations[i : i + rows]) for i in range(0, len(values), rows)] or [np.zeros(0)]
        )

    def _some(self, values: Floats, deviations: Floats) -> Floats:
        volumes = self.cells
        for axis, (cost, edges) in enumerate(zip(self.costs, self.edges, strict=True)):
            lengths = _overlaps(values[:, cost], edges)
            volumes = np.tensordot(lengths, volumes, 1) if axis == 0 else np.einsum("bi,bi...->b...", lengths, volumes)
        if not self.costs:
            volumes = np.broadcast_to(volumes, (len(values), len(self.heights)))
        improvements = expected_improvement(self.heights - values[:, self.guessed, None], deviations[:, None])
        return np.asarray((volumes * improvements).sum(-1))


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
