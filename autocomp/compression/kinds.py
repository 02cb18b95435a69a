"""Kinds of factorization: into which smaller layers a kernel is split, and how wide they are.

Every kind is a chain of parts without an activation function in between. A part either carries the kernel's height (and with it
stride, padding and dilation along that side) or is 1 pixel high; its width likewise. All functions take numbers or arrays, so that
the shapes on paper and those of the network come from the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Fractions = NDArray[np.float64]
Ranks = tuple[Ints, ...]

BLOCKS = 4
"""Blocks of a block-term decomposition, where the kernel has as many channels; a choice of ours, Wang 2016 tunes it per layer."""


class Kernel(NamedTuple):
    """The sides of a convolution's weights (of many layers, if arrays); a linear layer is a 1 x 1 kernel."""

    inputs: Ints
    outputs: Ints
    height: Ints
    width: Ints

    @property
    def area(self) -> Ints:
        """Places of one channel."""
        return self.height * self.width


class Part(NamedTuple):
    """One layer of a chain.

    Attributes:
        rows, columns: whether it carries the kernel's height and its width; it is 1 pixel there otherwise.
    """

    rows: bool
    columns: bool


POINT, TALL, WIDE, WHOLE = Part(False, False), Part(True, False), Part(False, True), Part(True, True)


class Layout(NamedTuple):
    """The channels of a chain of ``p`` parts.

    Attributes:
        widths: channels between the parts (``p - 1``).
        groups: of each part (``p``).
    """

    widths: Ranks
    groups: Ranks


@dataclass(frozen=True)
class Kind:
    """A way to split a kernel.

    Attributes:
        parts: the layers that take its place, in order.
        ranks: of the decomposition, at a fraction of those at which any kernel is computed exactly (not by blocks: a few of
            them are not enough for every kernel).
        layout: channels and groups at given ranks.
        sides: how many of the kernel's two sides must be longer than a pixel for the split to be another than a simpler kind's.
        is_linear: whether linear layers are split, instead of convolutions.
    """

    parts: tuple[Part, ...]
    ranks: Callable[[Kernel, Fractions], Ranks]
    layout: Callable[[Ranks], Layout]
    sides: int = 0
    is_linear: bool = False

    def splits(self, kernel: Kernel, groups: Ints, is_linear: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a layer is of the sort that this kind splits."""
        long_sides = (kernel.height > 1).astype(int) + (kernel.width > 1)
        return np.asarray((groups == 1) & (is_linear == self.is_linear) & (long_sides >= self.sides))

    def can_be_lowered(self, kernel: Kernel) -> NDArray[np.bool_]:
        """Whether every rank of the kernel is above one."""
        return np.asarray(np.minimum.reduce(np.broadcast_arrays(*self.ranks(kernel, np.ones(())))) > 1)

    def at(self, kernel: Kernel, fraction: Fractions) -> Layout:
        """Channels and groups at a fraction of the full ranks."""
        return self.layout(self.ranks(kernel, fraction))


def _plain(ranks: Ranks) -> Layout:
    return Layout(ranks, (np.ones((), np.int64),) * (len(ranks) + 1))


def _cp_layout(ranks: Ranks) -> Layout:
    (rank,), one = ranks, np.ones((), np.int64)
    return Layout((rank, rank, rank), (one, rank, rank, one))


def _block_layout(ranks: Ranks) -> Layout:
    """Blocks of equal ranks, rounded down so that they have no more channels than the Tucker decomposition at the same fraction."""
    one = np.ones((), np.int64)
    blocks = np.minimum(np.minimum(*ranks), BLOCKS)
    return Layout(tuple(rank // blocks * blocks for rank in ranks), (one, blocks, one))


def _rank(fraction: Fractions, full: Ints) -> Ints:
    """The nearest rank that is not zero."""
    return np.asarray(np.maximum(np.rint(fraction * full), 1), np.int64)


def _svd_out(k: Kernel, fraction: Fractions) -> Ranks:
    return (_rank(fraction, np.minimum(k.inputs * k.area, k.outputs)),)


def _svd_in(k: Kernel, fraction: Fractions) -> Ranks:
    return (_rank(fraction, np.minimum(k.inputs, k.outputs * k.area)),)


def _spatial(k: Kernel, fraction: Fractions) -> Ranks:
    return (_rank(fraction, np.minimum(k.inputs * k.height, k.outputs * k.width)),)


def _three(k: Kernel, fraction: Fractions) -> Ranks:
    """Filters first, as ``svd_out``; then the same share of the spatial rank that so many filters have."""
    (filters,) = _svd_out(k, fraction)
    return *_spatial(k._replace(outputs=filters), fraction), filters


def _tucker(k: Kernel, fraction: Fractions) -> Ranks:
    return *_svd_in(k, fraction), *_svd_out(k, fraction)


def _cp(k: Kernel, fraction: Fractions) -> Ranks:
    """Every place of the kernel is a matrix of rank ``min(inputs, outputs)``: so many terms are enough for any kernel."""
    return (_rank(fraction, k.area * np.minimum(k.inputs, k.outputs)),)


def _lesser(k: Kernel, fraction: Fractions) -> Ranks:
    return (_rank(fraction, np.minimum(k.inputs, k.outputs)),)


KINDS: Mapping[str, Kind] = {
    # Denil 2013, Zhang 2015: kh x kw with r filters, then 1 x 1
    "svd_out": Kind((WHOLE, POINT), _svd_out, _plain),
    # the same on the side of the inputs: 1 x 1 to r channels, then kh x kw
    "svd_in": Kind((POINT, WHOLE), _svd_in, _plain, sides=1),
    # Jaderberg 2014, scheme 2: kh x 1 with r filters, then 1 x kw
    "spatial": Kind((TALL, WIDE), _spatial, _plain, sides=2),
    # Zhang 2015, asymmetric 3-d: kh x 1, 1 x kw, 1 x 1
    "three": Kind((TALL, WIDE, POINT), _three, _plain, sides=2),
    # Kim 2015: 1 x 1, a core kh x kw, 1 x 1
    "tucker2": Kind((POINT, WHOLE, POINT), _tucker, _plain, sides=1),
    # Lebedev 2014: 1 x 1, kh x 1 depthwise, 1 x kw depthwise, 1 x 1
    "cp": Kind((POINT, TALL, WIDE, POINT), _cp, _cp_layout, sides=2),
    # Wang 2016: 1 x 1, a core kh x kw in groups, 1 x 1
    "block_term": Kind((POINT, WHOLE, POINT), _tucker, _block_layout, sides=1),
    "svd": Kind((WHOLE, POINT), _lesser, _plain, is_linear=True),
}
