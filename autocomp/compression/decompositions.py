"""Decompositions of kernels into factors; plain tensor maths, in double precision.

A factor is a tensor of ``inputs x height x width x outputs``. What can be computed at full rank is, once: a lower rank is a slice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from autocomp.errors import ConfigError

SWEEPS = 50
"""Sweeps of an alternating method at most."""

_STOP = 1e-4
"""A sweep that lowers the squared error by a smaller share of itself is the last."""

_ROOM = 3
"""Directions of the Tucker core for each term that is sought in it: terms need not lie in the most important directions."""

_STEP, _LONGER = 0.5, 1.05
"""How far a sweep begins ahead, as a share of the last one's way, and how that grows while it helps (Ang 2020)."""

_EXACT = 1e-14
"""The squared error, as a share of the tensor's own square, at which nothing is left to improve."""

_RIDGE = 1e-9
"""Added to the diagonal of normal equations, as a share of its mean: keeps terms that cancel each other from growing without end."""


class Svd(NamedTuple):
    """``matrix = front @ back`` with the singular values shared evenly, largest first: ``m x k`` and ``k x n``."""

    front: Tensor
    back: Tensor

    def at(self, rank: int) -> tuple[Tensor, Tensor]:
        """The nearest matrix of a lower rank (Eckart and Young 1936)."""
        _check_rank(rank, self.front.shape[1])
        return self.front[:, :rank], self.back[:rank]


class Tucker(NamedTuple):
    """``tensor = front x core x back`` over its first and last axis: ``a x p``, ``p x m x q``, ``q x b``; leading entries first."""

    front: Tensor
    core: Tensor
    back: Tensor

    def at(self, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """The truncated decomposition; its error is at most root 2 times the least possible (De Lathauwer 2000)."""
        _check_rank(first, self.front.shape[1])
        _check_rank(last, self.back.shape[0])
        return self.front[:, :first], self.core[:first, :, :last], self.back[:last]


def svd(matrix: Tensor) -> Svd:
    """The singular value decomposition, by the eigenvectors of the smaller Gram matrix (``m x n``)."""
    if matrix.shape[0] > matrix.shape[1]:
        front, back = svd(matrix.T)
        return Svd(back.T, front.T)
    basis = leading(matrix)
    projected = basis.T @ matrix
    root = projected.norm(dim=1).sqrt().clamp(min=torch.finfo(matrix.dtype).tiny ** 0.25)
    return Svd(basis * root, projected / root[:, None])


def tucker2(tensor: Tensor) -> Tucker:
    """Tucker decomposition of two axes of ``a x m x b``, by the higher-order SVD (De Lathauwer 2000; of kernels, Kim 2015)."""
    front, back = leading(tensor.flatten(1)), leading(tensor.flatten(0, 1).T)
    return Tucker(front, torch.einsum("ap,amb,bq->pmq", front, tensor, back), back.T)


def leading(matrix: Tensor) -> Tensor:
    """Orthonormal left singular vectors of ``m x n``, the most important first: ``m x min(m, n)``.

    Singular values below 1e-8 of the largest are lost in the square, which is below single precision.
    """
    vectors: Tensor = torch.linalg.eigh(matrix @ matrix.T).eigenvectors
    return vectors.flip(1)[:, : min(matrix.shape)]


def cp(kernel: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Canonical polyadic decomposition: ``kernel[c, i, j, n] = sum over r of C[c, r] H[i, r] W[j, r] N[n, r]`` (Lebedev 2014).

    Alternating least squares on the Tucker core; the start is the best
    choice of orthogonal terms, so that a full rank is exact.

    Args:
        kernel: ``c x h x w x n``.
        rank: terms ``r``, at most ``h w min(c, n)``.

    Returns:
        The factors ``c x r``, ``h x r``, ``w x r`` and ``n x r``; each term's size is shared evenly.
    """
    c, h, w, n = kernel.shape
    _check_rank(rank, h * w * min(c, n))
    front, core, back = tucker2(kernel.flatten(1, 2)).at(min(_ROOM * rank, c, h * w * n), min(_ROOM * rank, n, h * w * c))
    core = core.reshape(len(core), h, w, -1)
    factors = _orthogonal_terms(core, rank)
    if rank < h * w * min(len(core), core.shape[-1]):  # otherwise these are all terms there are
        factors = _alternate(core, factors)
    return _balanced([front @ factors[0], factors[1], factors[2], back.T @ factors[3]])


def _orthogonal_terms(kernel: Tensor, rank: int) -> list[Tensor]:
    """The largest terms in separable bases of the kernel's height and width; what they leave is what they do not hold."""
    tall, wide = (leading(kernel.movedim(axis, 0).flatten(1)) for axis in (1, 2))
    places = torch.einsum("chwn,hi,wj->ijcn", kernel, tall, wide).flatten(0, 1)
    left, values, right = torch.linalg.svd(places, full_matrices=False)
    chosen = values.flatten().argsort(descending=True, stable=True)[:rank]
    place, term = chosen // values.shape[1], chosen % values.shape[1]
    i, j = place // wide.shape[1], place % wide.shape[1]
    return [left[place, :, term].T * values[place, term], tall[:, i], wide[:, j], right[place, term].T]


def _alternate(kernel: Tensor, factors: list[Tensor]) -> list[Tensor]:
    """Alternating least squares until it no longer helps.

    Each sweep begins a step ahead in the direction of the last one; a step that was too long is taken back and halved (Ang 2020:
    extrapolation). It takes a third of the sweeps.
    """
    total, best, step = float(kernel.square().sum()), float("inf"), _STEP
    kept, start = factors, factors
    for _ in range(SWEEPS):
        found, error = _sweep(kernel, start)
        if error > best:
            start, step = kept, step / 2
            continue
        last, kept, gain, best = kept, found, best - error, error
        if gain <= _STOP * error or error <= _EXACT * total:
            break
        start, step = [new + step * (new - old) for new, old in zip(kept, last, strict=True)], step * _LONGER
    return kept


def _sweep(kernel: Tensor, factors: list[Tensor]) -> tuple[list[Tensor], float]:
    """One improvement of each factor beside the others, and the squared error then (Kolda and Bader 2009, figure 3.3)."""
    c, h, w, n = factors
    matrix = kernel.flatten(0, 2)  # c h w x n
    gram_h, gram_w, gram_n = h.T @ h, w.T @ w, n.T @ n
    behind = (matrix @ n).reshape(len(c), -1, n.shape[1])
    c = _least_squares((behind * _places(h, w)).sum(1), gram_h * gram_w * gram_n)
    gram_c = c.T @ c
    along = (behind * c[:, None]).sum(0).reshape(len(h), len(w), -1)
    h = _least_squares((along * w).sum(1), gram_c * gram_w * gram_n)
    gram_h = h.T @ h
    w = _least_squares((along * h[:, None]).sum(0), gram_c * gram_h * gram_n)
    gram_w = w.T @ w
    seen, gram = matrix.T @ (c[:, None] * _places(h, w)).flatten(0, 1), gram_c * gram_h * gram_w
    n = _least_squares(seen, gram)
    error = float(kernel.square().sum()) - 2 * float((seen * n).sum()) + float((gram * (n.T @ n)).sum())
    return [c, h, w, n], error


def _places(tall: Tensor, wide: Tensor) -> Tensor:
    """Each term's kernel, ``h w x r``."""
    return (tall[:, None] * wide).flatten(0, 1)


def _least_squares(seen: Tensor, gram: Tensor) -> Tensor:
    """The factor (``d x r``) that fits best beside the others, from what the kernel shows of it and the Gram matrix of the others."""
    ridge = _RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny
    root = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    solved: Tensor = torch.cholesky_solve(seen.T, root)
    return solved.T


def _balanced(factors: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    norms = torch.stack([factor.norm(dim=0) for factor in factors])
    share = norms.prod(0) ** (1 / len(factors))
    c, h, w, n = (factor * (share / norm.clamp(min=torch.finfo(norm.dtype).tiny)) for factor, norm in zip(factors, norms, strict=True))
    return c, h, w, n


def block_term(tensor: Tensor, blocks: int, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """A sum of Tucker decompositions of the first and last axis (Wang 2016): each is fitted to what the others leave, in turn.

    The first turn starts each block from scratch, later ones improve it, so that the error never grows.

    Args:
        tensor: ``a x m x b``.
        blocks: how many, ``g``.
        first: rank of one block on the side of the inputs, ``p``.
        last: and on the side of the outputs, ``q``.

    Returns:
        ``a x (g p)``, cores ``p x m x (g q)`` and ``(g q) x b``.
    """
    _check_rank(first, tensor.shape[0])
    _check_rank(last, tensor.shape[2])
    terms = [(tensor[:, 0, :0], tensor[:0, :, :0], tensor[0, :0])] * blocks
    left, total, before = tensor.clone(), float(tensor.square().sum()), float("inf")
    for _ in range(SWEEPS):
        for i, term in enumerate(terms):
            left += _block(term)
            terms[i] = _refit(left, term, first, last)
            left -= _block(terms[i])
        error = float(left.square().sum())
        if before - error <= _STOP * error or error <= _EXACT * total:
            break
        before = error
    front, core, back = zip(*terms, strict=True)
    return torch.cat(front, 1), torch.cat(core, 2), torch.cat(back, 0)


def _block(term: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    tensor: Tensor = torch.einsum("ap,pmq,qb->amb", *term)
    return tensor


def _refit(tensor: Tensor, term: tuple[Tensor, Tensor, Tensor], first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """One block for a tensor: from scratch by the higher-order SVD, later by one step of orthogonal iteration (De Lathauwer 2000)."""
    front, core, back = term
    if not back.numel():
        return tucker2(tensor).at(first, last)
    seen = torch.einsum("amb,qb->amq", tensor, back).flatten(1)
    front = torch.linalg.qr(seen @ (seen.T @ front)).Q
    core = torch.einsum("ap,amb->pmb", front, tensor)
    seen = core.flatten(0, 1)
    back = torch.linalg.qr(seen.T @ (seen @ back.T)).Q
    return front, core @ back, back.T


def _check_rank(rank: int, full: int) -> None:
    if not 1 <= rank <= full:
        raise ConfigError(f"A rank must lie between 1 and the full rank {full}, but is {rank}.")
