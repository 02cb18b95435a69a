"""Patterns: which weights of a layer are removed together, on paper and as a mask.

Weights are seen as ``g x n x c x h x w``: groups of the convolution, filters and input channels per group, kernel rows and
columns. What a pattern removes together is one *unit*; a unit of a single weight is fine-grained, whatever the pattern.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import PATTERNS
from autocomp.compression.base import removed_count
from autocomp.compression.layers import Layer
from autocomp.errors import ConfigError
from hwmodels import Pattern, Workload

Ints = NDArray[np.int64]
Dims = tuple[Ints, Ints, Ints, Ints, Ints]
"""``g, n, c, h, w``, of one layer or of many."""

INDEX_BITS = 4  # relative index of Deep Compression and EIE (Han 2016): zeros skipped since the last non-zero
_EDGE = 4  # M of N:M: what sparse tensor cores count within (Mishra, arXiv:2104.08378)


class WeightPattern(Protocol):
    """How the weights of a layer are removed."""

    @property
    def spans(self) -> tuple[int, ...]:
        """The axes of ``g x n x c x h x w`` that a unit extends over, whole; none for single weights."""

    def fits(self, dims: Dims) -> NDArray[np.bool_]:
        """Layers in which the pattern is one of its own."""

    def kept(self, dims: Dims, sparsity: NDArray[np.float64]) -> Ints:
        """Weights that stay."""

    def code(self, dims: Dims) -> Ints:
        """What hardware takes the zeros for, `Pattern`."""

    def index_bits(self, dims: Dims) -> Ints:
        """Position bits beside each non-zero weight."""

    def mask(self, saliency: Tensor, sparsity: float) -> Tensor:
        """Which weights stay, from what each is worth (at least 0), both ``g x n x c x h x w``; of equals the first go."""


@dataclass(frozen=True)
class Units:
    """Units of equal size, the least important of the whole layer go.

    Units share one position of `INDEX_BITS`. A workload counts index bits per non-zero weight, in whole bits; so the share of
    each weight is rounded up, and the size on paper is never less than that of the file.

    Attributes:
        own: what hardware takes the pattern for.
        spans: the axes of ``g x n x c x h x w`` that a unit extends over, whole.
    """

    own: Pattern
    spans: tuple[int, ...] = ()

    def _size(self, dims: Dims) -> Ints:
        return np.asarray(math.prod((np.maximum(dims[axis], 1) for axis in self.spans), start=np.int64(1)))

    def fits(self, dims: Dims) -> NDArray[np.bool_]:
        """Where a unit has more than one weight and is not the whole layer; every layer for single weights."""
        size = self._size(dims)
        return np.asarray((size > 1) & (size < _total(dims))) if self.spans else np.ones(np.shape(dims[0]), bool)

    def kept(self, dims: Dims, sparsity: NDArray[np.float64]) -> Ints:
        """Whole units; those that go are rounded down."""
        size = self._size(dims)
        units = _total(dims) // size
        return np.asarray((units - removed_count(sparsity, units)) * size)

    def code(self, dims: Dims) -> Ints:
        """Units of one weight are fine-grained."""
        return np.where(self._size(dims) > 1, self.own, Pattern.FINE)

    def index_bits(self, dims: Dims) -> Ints:
        """Each weight's share of the position of its unit, rounded up."""
        return -(-INDEX_BITS // self._size(dims))

    def mask(self, saliency: Tensor, sparsity: float) -> Tensor:
        """A unit is worth what its weights are worth together."""
        units = saliency.sum(self.spans, keepdim=True) if self.spans else saliency
        return _without_least(units.flatten(), sparsity).reshape(units.shape).expand(saliency.shape)


@dataclass(frozen=True)
class NofM:
    """At most N non-zeros in each M neighbouring input channels (M = 4; Mishra, arXiv:2104.08378): 2:4 at sparsity 0.5.

    Channels left over when their number is no multiple of M count as a group that zeros fill up.
    """

    m: int = _EDGE
    spans: tuple[int, ...] = ()

    def fits(self, dims: Dims) -> NDArray[np.bool_]:
        """Where there are at least M input channels."""
        return np.asarray(dims[2] >= self.m)

    def kept(self, dims: Dims, sparsity: NDArray[np.float64]) -> Ints:
        """``N`` of each full group, and up to ``N`` of what is left over."""
        channels = np.maximum(dims[2], 1)
        n = self.m - removed_count(sparsity, np.array(self.m))
        per_row = channels // self.m * n + np.minimum(channels % self.m, n)
        return np.asarray(_total(dims) // channels * per_row)

    def code(self, dims: Dims) -> Ints:
        """What sparse tensor cores look for."""
        return np.full(np.shape(dims[0]), Pattern.N_M, np.int64)

    def index_bits(self, dims: Dims) -> Ints:
        """The place among M."""
        return np.full(np.shape(dims[0]), np.ceil(np.log2(self.m)), np.int64)

    def mask(self, saliency: Tensor, sparsity: float) -> Tensor:
        """The N worth most of each M; filled-up places are worth less than any weight."""
        last = saliency.movedim(2, -1)
        channels = last.shape[-1]
        filled = F.pad(last, (0, -channels % self.m), value=-1.0)
        kept = _without_least(filled.reshape(*filled.shape[:-1], -1, self.m), sparsity).flatten(-2)
        return kept[..., :channels].movedim(-1, 2)


WEIGHT_PATTERNS: Mapping[str, WeightPattern] = {
    "fine": Units(Pattern.FINE),  # single weights (Han 2015)
    "vector": Units(Pattern.VECTOR, (4,)),  # rows of a kernel (Mao 2017)
    "strided": Units(Pattern.VECTOR, (3,)),  # weights of a kernel at a stride of its width (Anwar 2017)
    "kernel": Units(Pattern.KERNEL, (3, 4)),  # whole 2-D kernels (Anwar 2017, Mao 2017)
    "group": Units(Pattern.GROUP, (1,)),  # columns of the im2col matrix: one place in all filters (Lebedev 2016, Wen 2016)
    "n_m": NofM(),
}


def dims_of(workload: Workload) -> Dims:
    """The dimensions of every layer's weights, ``... x l`` each; 0 channels in an unused slot."""
    per_group = workload.in_channels // workload.groups
    return workload.groups, workload.gemm_n, per_group, workload.kernel_h, workload.kernel_w


def groups_of(layer: Layer) -> int:
    """Groups of a convolution, 1 for a linear layer."""
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def grouped(values: Tensor, groups: int) -> Tensor:
    """A layer's weight, or what is shaped like it, as ``g x n x c x h x w``."""
    spatial = values.shape[2:] or (1, 1)
    return values.reshape(groups, len(values) // groups, values.shape[1], *spatial)


def dims_of_layer(layer: Layer) -> Dims:
    """The dimensions of one layer's weight."""
    g, n, c, h, w = (np.array(size, np.int64) for size in grouped(layer.weight.detach(), groups_of(layer)).shape)
    return g, n, c, h, w


def check_pattern(name: str, layer: Layer, pattern: str) -> None:
    """Refuse a pattern that a layer of the teacher cannot have.

    Raises:
        ConfigError: if its weights cannot be removed so.
    """
    dims = dims_of_layer(layer)
    if not WEIGHT_PATTERNS[pattern].fits(dims):
        able = [known for known in PATTERNS if known in WEIGHT_PATTERNS and WEIGHT_PATTERNS[known].fits(dims)]
        shape = " x ".join(str(size) for size in layer.weight.shape)
        raise ConfigError(
            f"Pattern '{pattern}' does not fit layer '{name}', {type(layer).__name__} with weights {shape}; it can take {', '.join(able)}."
        )


def _total(dims: Dims) -> Ints:
    """Weights, at least 1 so that an unused slot can be divided."""
    return np.asarray(np.maximum(math.prod(dims), 1))


def _without_least(values: Tensor, sparsity: float) -> Tensor:
    """True for all but the fraction of least values along the last axis."""
    removed = int(removed_count(np.array(sparsity), np.array(values.shape[-1])))
    least = torch.argsort(values, dim=-1, stable=True)[..., :removed]
    return torch.ones_like(values, dtype=torch.bool).scatter_(-1, least, False)
