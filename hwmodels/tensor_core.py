"""Tensor cores that know about zeros: N of M weights, and both operands at once."""

from __future__ import annotations

import numpy as np

from hwmodels.imbalance import Floats, irregularity, packed_steps
from hwmodels.mapped import Mapped
from hwmodels.parameters import Count
from hwmodels.traffic import Operands
from hwmodels.workload import Pattern

_WARP_TILE = 32  # edge of the output tile of a warp (Wang et al., ISCA 2021)


def n_m(work: Operands, *, pes: Count, lanes: Count, kept: float) -> Mapped:
    """``kept`` = N/M of the weights of an N:M or group pattern, exactly; all else is computed densely (Mishra et al., arXiv:2104.08378).

    ``lanes`` products of one output go into one of ``pes`` dot-product units; all filters read their inputs by position.
    """
    layer = work.workload
    fits = np.isin(layer.pattern, (Pattern.GROUP, Pattern.N_M)) & (layer.weight_density <= kept)
    share = np.where(fits, kept, 1.0)
    steps = np.ceil(work.k * share / lanes)
    cycles = np.asarray(np.ceil(work.m * work.n / pes) * steps * layer.groups, np.float64)
    return Mapped(cycles, share, share, np.ceil(work.n / _WARP_TILE))


def dual_side(work: Operands, *, pes: Count, lanes: int, weight_lanes: int) -> Mapped:
    """Zeros of both operands in an outer product of packed bitmap vectors (DSTC; Wang et al., ISCA 2021).

    For each of k, a warp multiplies 32 activations with 32 weights; the non-zeros of each are packed, and blocks of
    ``lanes / weight_lanes`` activations (8) by ``weight_lanes`` weights (16) that are empty are skipped. What is lost is the last,
    part-filled block of each: ``E[ceil(X/8)] E[ceil(Y/16)]`` of 4 x 2.
    """
    layer = work.workload
    block = lanes // weight_lanes
    weights = packed_steps(_WARP_TILE, layer.weight_density, block=weight_lanes, irregular=irregularity(layer))
    inputs = packed_steps(_WARP_TILE, layer.activation_density, block=block)
    columns = np.ceil(work.n / _WARP_TILE)
    tiles = np.ceil(work.m / _WARP_TILE) * columns
    share: Floats = layer.weight_density * layer.activation_density
    cycles = tiles * work.k * layer.groups * weights * inputs / pes
    return Mapped(np.asarray(np.maximum(cycles, np.minimum(work.m, 1))), share, share, columns)
