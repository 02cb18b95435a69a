"""k-means (Lloyd 1982): of single values by sorting, and of vectors in many sub-spaces at once."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 50
_LEAST = 1e-6
"""Share of the largest centre below which a standard deviation is rounding."""

_LARGEST = 1 << 24
"""Distances that are held at a time."""


def cluster_values(values: Tensor, count: int, initialization: str) -> Tensor:
    """Centres of ``n`` values with a small sum of squared distances, ``count`` of them, rising.

    Sorted values belong to a centre in one stretch, so that a round costs a binary search for each centre. A centre without
    members (``linear`` puts some into the gap around zero that pruning leaves) goes to a stretch with a large error.

    Args:
        values: any number; without any the centres are zero.
        count: of centres.
        initialization: ``linear`` from the smallest value to the largest, ``density`` at equal shares of the values, or
            ``random`` values (Han 2016, section 3.2).
    """
    if not len(values):
        return values.new_zeros(count)
    ordered = values.sort()[0].double()
    sums, squares = (torch.cat([ordered.new_zeros(1), powers.cumsum(0)]) for powers in (ordered, ordered.square()))
    centres = _start(ordered, count, initialization)
    bounds = torch.empty(0)
    for _ in range(_ROUNDS):
        middles = (centres[1:] + centres[:-1]) / 2
        last, bounds = bounds, torch.searchsorted(ordered, middles)
        if torch.equal(last, bounds):
            break
        ends = torch.cat([bounds.new_zeros(1), bounds, bounds.new_full((1,), len(ordered))])
        members = ends.diff().clamp(min=1)
        centres = torch.where(ends.diff() > 0, sums[ends].diff() / members, centres)
        centres = _occupied(centres, squares[ends].diff() / members - centres.square(), ends.diff())
    return centres.to(values.dtype)


def _occupied(centres: Tensor, variances: Tensor, members: Tensor) -> Tensor:
    """The centres, those without members moved a standard deviation beside those with the largest errors."""
    empty = torch.nonzero(members == 0).flatten()
    errors = torch.where(members > 0, variances * members, 0)
    worst = errors.argsort(descending=True, stable=True)[: len(empty)]
    spread = variances[worst].clamp(min=0).sqrt()
    moves = spread > _LEAST * centres.abs().max()  # elsewhere all members are one value
    moved = centres.clone()
    moved[empty[: len(worst)][moves]] = (centres[worst] + spread)[moves]
    return moved.sort()[0]


def _start(ordered: Tensor, count: int, initialization: str) -> Tensor:
    n = len(ordered)
    if initialization == "linear":
        return torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64, device=ordered.device)
    if initialization == "density":
        shares = (torch.arange(count, device=ordered.device) + 0.5) / count
        return ordered[(shares * n).long().clamp(max=n - 1)]
    drawn = torch.randint(n, (count,), generator=torch.Generator().manual_seed(0)).sort()[0]
    return ordered[drawn.to(ordered.device)]


def cluster_vectors(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centres of the vectors of each sub-space, begun at vectors that are drawn, and the centre of each vector.

    Args:
        vectors: ``m x v x w`` (sub-spaces, vectors, width).
        count: of centres in a sub-space, at most ``v``.

    Returns:
        ``m x count x w`` and ``m x v``.
    """
    if count == vectors.shape[1]:
        return vectors.clone(), torch.arange(count, device=vectors.device).expand(len(vectors), -1)
    at_once = max(_LARGEST // (vectors.shape[1] * count), 1)
    parts = [_cluster(part, count) for part in torch.split(vectors, at_once)]
    return torch.cat([centres for centres, _ in parts]), torch.cat([codes for _, codes in parts])


def _cluster(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    drawn = torch.randperm(vectors.shape[1], generator=torch.Generator().manual_seed(0))[:count]
    centres = vectors[:, drawn.to(vectors.device)].contiguous()
    codes = torch.empty(0)
    for _ in range(_ROUNDS):
        last, codes = codes, _nearest(vectors, centres)
        if torch.equal(last, codes):
            break
        where = codes[:, :, None].expand(-1, -1, vectors.shape[2])
        members = torch.zeros_like(centres).scatter_add_(1, where, torch.ones_like(vectors))
        sums = torch.zeros_like(centres).scatter_add_(1, where, vectors)
        centres = torch.where(members > 0, sums / members.clamp(min=1), centres)
    return centres, _nearest(vectors, centres)


def _nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """``argmin |v - c|^2``, without the term that is the same for all centres."""
    distances = torch.baddbmm(centres.square().sum(2)[:, None], vectors, centres.mT, alpha=-2)
    return distances.argmin(2)
