"""AMOSA, archived simulated annealing for several objectives (Bandyopadhyay 2008): acceptance and archive, for many chains at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from autocomp.pareto import nondominated

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
OVERFLOW = 500.0  # exponent beyond which a probability is zero


def domination_amount(a: Floats, b: Floats, spans: Floats) -> Floats:
    """``prod |f_i(a) - f_i(b)| / R_i`` over the objectives that differ (section III), ``... x m`` to ``...``."""
    gap = np.abs(a - b) / spans
    return np.asarray(np.where(gap > 0, gap, 1.0).prod(-1))


def dominates(a: Floats, b: Floats) -> Mask:
    """Whether ``... x m`` minimised points dominate others, ``...``."""
    return np.asarray((a <= b).all(-1) & (a < b).any(-1))


def probability(amount: Floats, temperature: Floats) -> Floats:
    """Of a worse move: ``1 / (1 + exp(amount / T))``; the paper prints a product, which would heat up as T falls."""
    return np.asarray(1 / (1 + np.exp(np.minimum(amount / temperature, OVERFLOW))))


def accept(current: Floats, new: Floats, archive: Floats, temperature: Floats, generator: np.random.Generator) -> tuple[Mask, Ints]:
    """What ``c`` chains do with one move each: the three cases of AMOSA.

    Args:
        current: values before the move, ``c x m``, less is better.
        new: values after it.
        archive: what is not dominated so far, ``a x m``.
        temperature: of each chain, in units of the domination amount (``c``).
        generator: draws.

    Returns:
        Which moves are accepted (``c``), and to which member of the archive a chain jumps instead, -1 for none (``c``).
    """
    everything = np.concatenate([archive, current, new])
    spans = np.maximum(np.ptp(everything, axis=0), 1e-12)
    above = dominates(archive[None], new[:, None])  # c x a
    amounts = domination_amount(archive[None], new[:, None], spans)
    count = above.sum(1)
    total = np.where(above, amounts, 0.0).sum(1)
    draw = generator.random((2, len(new)))

    is_worse, is_better = dominates(current, new), dominates(new, current)
    # case 1: the current point dominates the new one; average over it and the members that do, too
    is_member = (above & (archive[None] == current[:, None]).all(-1)).any(1)
    own = np.where(is_member, 0.0, domination_amount(current, new, spans))
    worse = (total + own) / np.maximum(count + ~is_member, 1)
    # case 2: neither dominates; the archive decides
    beside = total / np.maximum(count, 1)
    accepted = np.where(is_worse, draw[0] < probability(worse, temperature), (count == 0) | (draw[0] < probability(beside, temperature)))
    # case 3: the new point is better; where the archive has better yet, jump to the least better of those, or go on
    least = np.where(above, amounts, np.inf).argmin(1) if len(archive) else np.full(len(new), -1)
    smallest = np.where(above, amounts, np.inf).min(1, initial=np.inf)
    jumps = is_better & (count > 0) & (draw[1] < 1 / (1 + np.exp(-np.minimum(smallest, OVERFLOW))))
    return np.asarray((accepted | is_better) & ~jumps), np.where(jumps, least, -1)


def thinned(values: Floats, least: int) -> Ints:
    """``least`` of ``a x m`` points that stand for all: single linkage, and of each cluster the member nearest to the others."""
    if len(values) <= least:
        return np.arange(len(values))
    scaled = (values - values.min(0)) / np.maximum(np.ptp(values, axis=0), 1e-12)
    cluster = fcluster(linkage(scaled, "single"), least, "maxclust")
    chosen = []
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        distances = np.abs(scaled[members, None] - scaled[members]).sum((1, 2))
        chosen.append(members[distances.argmin()])
    return np.sort(np.array(chosen, np.int64))


def archived(values: Floats, soft: int, hard: int) -> Ints:
    """Which of ``n x m`` points an archive keeps: those not dominated; of more than ``soft`` of them, ``hard`` that stand for all."""
    members = np.flatnonzero(nondominated(values))
    return members if len(members) <= soft else members[thinned(values[members], hard)]
