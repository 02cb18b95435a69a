"""The factors of a layer's weights: which decomposition a kind of factorization is, and what of it is kept for the next trial."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from autocomp.compression.decompositions import Svd, Tucker, block_term, cp, svd, tucker2
from autocomp.compression.factor_cache import FactorCache, content_key
from autocomp.compression.kinds import KINDS, Kernel, Layout

CACHE = FactorCache()
"""One per process; all of it can be computed again, so it is never pickled."""


def kernel_of(weight: Tensor) -> Kernel:
    """The sides of a weight tensor, ``n x c x h x w`` or ``n x c``."""
    n, c, h, w = (*weight.shape, 1, 1)[:4]
    return Kernel(*(np.asarray(side) for side in (c, n, h, w)))


def factors(kind: str, weight: Tensor, layout: Layout) -> list[Tensor]:
    """The weights of each part of a chain, as a convolution has them: ``outputs x inputs / groups x height x width``.

    Those that are nearest to ``n x c x h x w`` or ``n x c`` in squares, as far as the decomposition finds them.
    """
    n, c, h, w = (*weight.shape, 1, 1)[:4]
    channels = (c, *(int(width) for width in layout.widths), n)
    found = _truncated(_Request(kind, weight, channels[1:-1], int(np.max(layout.groups))))
    shapes = [
        (channels[i] // int(layout.groups[i]), h if part.rows else 1, w if part.columns else 1, channels[i + 1])
        for i, part in enumerate(KINDS[kind].parts)
    ]
    return [factor.reshape(shape).permute(3, 0, 1, 2) for factor, shape in zip(found, shapes, strict=True)]


class _Request(NamedTuple):
    kind: str
    weight: Tensor
    widths: tuple[int, ...]
    groups: int

    @property
    def kernel(self) -> Tensor:
        """The weights as ``c x h x w x n``."""
        return self.weight.reshape((*self.weight.shape, 1, 1)[:4]).permute(1, 2, 3, 0).double()

    @property
    def ahead(self) -> int:
        """Inputs of one output of the first part: the rows at which the kernel is cut."""
        _, c, h, w = (*self.weight.shape, 1, 1)[:4]
        first = KINDS[self.kind].parts[0]
        return int(c) * (h if first.rows else 1) * (w if first.columns else 1)

    def cached(self, form: Hashable, compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """A decomposition of these weights in the precision of the weights."""
        return CACHE.get((content_key(self.weight), form), lambda: tuple(part.to(self.weight).contiguous() for part in compute()))


def _truncated(wanted: _Request) -> tuple[Tensor, ...]:
    if wanted.kind == "cp":
        return wanted.cached(("cp", wanted.widths), lambda: _cp(wanted))
    if wanted.kind == "block_term":
        return wanted.cached(("block_term", wanted.widths), lambda: _block_term(wanted))
    if len(wanted.widths) == 1:
        pair = wanted.cached(("svd", wanted.ahead), lambda: svd(wanted.kernel.reshape(wanted.ahead, -1)))
        return Svd(*pair).at(*wanted.widths)
    outputs = len(wanted.weight)
    triple = wanted.cached(("tucker", wanted.ahead), lambda: tucker2(wanted.kernel.reshape(wanted.ahead, -1, outputs)))
    return Tucker(*triple).at(*wanted.widths)


def _cp(wanted: _Request) -> tuple[Tensor, ...]:
    *first, last = cp(wanted.kernel, wanted.widths[0])
    return *first, last.T


def _block_term(wanted: _Request) -> tuple[Tensor, ...]:
    first, last = (width // wanted.groups for width in wanted.widths)
    return block_term(wanted.kernel.flatten(1, 2), wanted.groups, first, last)
