"""What irregular zeros cost: the slowest of many units, broken lanes, and padding of run-length codes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.workload import Pattern, Workload

Floats = NDArray[np.float64]

# Expected maximum of 1, 2, 4, ... 1024 standard normals (Tippett, Biometrika 1925), by quadrature.
_EXPECTED_MAXIMUM: Final = (0.0, 0.564, 1.029, 1.424, 1.766, 2.070, 2.344, 2.595, 2.827, 3.044, 3.248)

# Patterns whose zeros are aligned to the lanes, alike in all units: nothing waits and no lane stays empty.
_ALIGNED: Final = (Pattern.VECTOR, Pattern.GROUP)


def expected_maximum(units: int) -> float:
    """Expected maximum of ``units`` standard normals, interpolated in the logarithm."""
    return float(np.interp(np.log2(units), range(len(_EXPECTED_MAXIMUM)), _EXPECTED_MAXIMUM))


def irregularity(workload: Workload) -> Floats:
    """1 where the zeros of the weights fall anywhere, 0 where they are aligned to the lanes, shape of ``pattern``."""
    return np.where(np.isin(workload.pattern, _ALIGNED), 0.0, 1.0)


def slowest(mean: Floats, density: Floats, *, units: int, most: Floats, irregular: Floats | float = 1.0) -> Floats:
    """Work of the slowest of ``units`` units that each do ``mean`` binomially spread operations, at most ``most``.

    ``mean (1 + z cv)`` with ``cv = sqrt((1 - density) / mean)`` and z the expected maximum of ``units`` normals.
    """
    spread = expected_maximum(units) * irregular * np.sqrt(mean * (1 - density))
    return np.asarray(np.minimum(mean + spread, most))


def lane_steps(work: Floats, *, lanes: int, most: Floats, irregular: Floats | float = 1.0) -> Floats:
    """Steps of ``lanes`` lanes for ``work`` operations whose number is not a multiple of them.

    ``E[ceil(X / lanes)] ~ (mean + (lanes - 1) / 2) / lanes``; at least one, and where all of ``most`` operations are done, exact.
    """
    full = np.ceil(most / lanes)
    ragged = np.maximum((work + irregular * ((lanes - 1) / 2)) / lanes, np.minimum(work, 1))
    return np.where(work < most, np.minimum(ragged, full), full)


def run_length_padding(entries: Floats, density: Floats, *, index_bits: int) -> Floats:
    """Zeros that must be stored because a gap is longer than the index can say, for a column of ``entries``.

    With gaps up to ``g = 2**index_bits``: ``sum_{k>=1, g k < n} (n - g k) d (1-d)**(g k)``, summed as a geometric series.
    """
    gap = 2.0**index_bits
    density = np.clip(density, 1e-6, 1.0)  # at 0 the series has no closed form, and no entries
    terms = np.maximum(np.ceil(entries / gap) - 1, 0)
    if not terms.any():
        return np.zeros(())
    ratio = (1 - density) ** gap
    last = ratio**terms
    plain = ratio * (1 - last) / (1 - ratio)
    weighted = ratio * (1 - (terms + 1) * last + terms * last * ratio) / (1 - ratio) ** 2
    return np.asarray(density * np.maximum(entries * plain - gap * weighted, 0))
