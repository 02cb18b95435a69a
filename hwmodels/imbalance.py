"""What irregular zeros cost: the slowest of many units, broken lanes, and padding of run-length codes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.parameters import Count, Quantity
from hwmodels.workload import Pattern, Workload

Floats = NDArray[np.float64]

# Expected maximum of 1, 2, 4, ... 1024 standard normals (Tippett, Biometrika 1925), by quadrature.
_EXPECTED_MAXIMUM: Final = (0.0, 0.564, 1.029, 1.424, 1.766, 2.070, 2.344, 2.595, 2.827, 3.044, 3.248)

# Patterns whose zeros are aligned to the lanes, alike in all units: nothing waits and no lane stays empty.
_ALIGNED: Final = (Pattern.VECTOR, Pattern.GROUP, Pattern.N_M)

LEAST_DENSITY: Final = 1e-6  # an empty tensor still divides by its entries in closed forms


def expected_maximum(units: Count) -> Quantity:
    """Expected maximum of ``units`` standard normals, interpolated in the logarithm; shape of ``units``."""
    maximum = np.interp(np.log2(units), range(len(_EXPECTED_MAXIMUM)), _EXPECTED_MAXIMUM)
    return maximum if isinstance(units, np.ndarray) else float(maximum)


def irregularity(workload: Workload) -> Floats:
    """1 where the zeros of the weights fall anywhere, 0 where they are aligned to the lanes, shape of ``pattern``."""
    aligned = (workload.pattern == _ALIGNED[0]) | (workload.pattern == _ALIGNED[1])
    return np.where(aligned, 0.0, 1.0)


def slowest(mean: Floats, density: Floats, *, units: Count, most: Floats, irregular: Floats | float = 1.0) -> Floats:
    """Work of the slowest of ``units`` units that each do ``mean`` binomially spread operations, at most ``most``.

    ``mean (1 + z cv)`` with ``cv = sqrt((1 - density) / mean)`` and z the expected maximum of ``units`` normals.
    """
    spread = expected_maximum(units) * irregular * np.sqrt(mean * (1 - density))
    return np.asarray(np.minimum(mean + spread, most))


def lane_steps(work: Floats, *, lanes: Count, most: Floats, irregular: Floats | float = 1.0) -> Floats:
    """Steps of ``lanes`` lanes for ``work`` operations whose number is not a multiple of them.

    ``E[ceil(X / lanes)] ~ (mean + (lanes - 1) / 2) / lanes``; at least one, and where all of ``most`` operations are done, exact.
    """
    full = np.ceil(most / lanes)
    ragged = np.maximum((work + irregular * ((lanes - 1) / 2)) / lanes, np.minimum(work, 1))
    return np.where(work < most, np.minimum(ragged, full), full)


def filled_blocks(trials: Floats, density: Floats, *, block: Count | Quantity, irregular: Floats | float = 1.0) -> Floats:
    """Blocks of ``block`` that the non-zeros of ``trials`` places fill when they are packed: ``E[ceil(X / block)]``, X binomial.

    ``mean / block`` where zeros are aligned; else each non-empty pack has a last block that is half empty on average:
    ``(mean + (block - 1) / 2 P(X > 0)) / block``. At least that first block, at most what all places fill.

    Args:
        trials: places, ``... x l``.
        density: probability of a non-zero.
        block: places of one block.
        irregular: 0 where the zeros are aligned to the blocks.
    """
    mean = trials * density
    some = 1 - np.exp(trials * np.log1p(-np.minimum(density, 1 - LEAST_DENSITY)))
    full = np.ceil(trials / block)
    ragged = np.maximum((mean + irregular * ((block - 1) / 2) * some) / block, irregular * some)
    return np.asarray(np.where(density < 1, np.minimum(ragged, full), full))


def packed_steps(places: int, density: Floats, *, block: int, irregular: Floats | float = 1.0) -> Floats:
    """`filled_blocks` of one small tile of ``places``, from the normal tails: ``sum_j P(X > j block)``.

    The half-empty last block of `filled_blocks` holds for many blocks; a tile of two to four blocks saturates.
    """
    mean, deviation = places * density, np.sqrt(places * density * (1 - density)) + LEAST_DENSITY
    some = 1 - (1 - density) ** places
    blocks = sum((_normal_tail((start + 0.5 - mean) / deviation) for start in range(block, places, block)), some)
    return np.asarray(irregular * blocks + (1 - irregular) * mean / block)


def _normal_tail(distance: Floats) -> Floats:
    """Probability that a standard normal exceeds ``distance``, within 3e-4 (the tanh form of Page, Applied Statistics 1977)."""
    return np.asarray(0.5 - 0.5 * np.tanh(distance * (0.7978846 + 0.0356774 * distance * distance)))


def run_length_padding(entries: ArrayLike, density: ArrayLike, *, index_bits: Count) -> Floats:
    """Zeros that must be stored because a gap is longer than the index can say, for a column of ``entries``.

    With gaps up to ``g = 2**index_bits``: ``sum_{k>=1, g k < n} (n - g k) d (1-d)**(g k)``, summed as a geometric series.
    """
    gap = 2.0**index_bits
    density = np.clip(density, LEAST_DENSITY, 1.0)  # at 0 the series has no closed form, and no entries
    terms = np.maximum(np.ceil(np.asarray(entries) / gap) - 1, 0)
    if not terms.any():
        return np.zeros(())
    ratio = (1 - density) ** gap
    last = ratio**terms
    plain = ratio * (1 - last) / (1 - ratio)
    weighted = ratio * (1 - (terms + 1) * last + terms * last * ratio) / (1 - ratio) ** 2
    return np.asarray(density * np.maximum(entries * plain - gap * weighted, 0))
