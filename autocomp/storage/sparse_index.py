"""Relative index: a non-zero's place as the number of zeros since the last one (Han 2015, figure 2; EIE, Han 2016).

Weights are passed row by row (compressed sparse rows) or column by column (compressed sparse columns), rows being filters;
a row's end is not marked, because the places say where it is. Where a gap exceeds what a code can say, the papers put a
zero in between that takes a value's room; here the largest code skips ahead without a value, which is smaller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.damage import DamageError

WIDTHS = range(1, 9)
"""Bits of a gap that are tried; Deep Compression uses 5 and 8, EIE 4."""


def zeros_before(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many zeros lie between each non-zero and the one before it, from places in rising order."""
    return np.diff(positions, prepend=-1) - 1


def gap_counts(zeros: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How often each of the ``2^width`` codes would be written, from `zeros_before`."""
    skip = (1 << width) - 1
    counts = np.bincount(zeros % skip, minlength=skip + 1)
    counts[skip] = (zeros // skip).sum()
    return counts


def gaps_of(zeros: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Codes of ``width`` bits: ``g`` zeros and then a non-zero; the largest, ``s = 2^width - 1``, means ``s`` zeros and nothing."""
    skip = (1 << width) - 1
    ends = np.cumsum(zeros // skip + 1) - 1
    gaps = np.full(int(ends[-1]) + 1 if len(ends) else 0, skip, np.int64)
    gaps[ends] = zeros % skip
    return gaps


def positions_of(gaps: NDArray[np.int64], width: int, size: int) -> NDArray[np.int64]:
    """The inverse of `zeros_before` and `gaps_of`: places below ``size``.

    Raises:
        DamageError: if the gaps lead beyond the last weight.
    """
    skip = (1 << width) - 1
    ends = np.cumsum(np.where(gaps == skip, skip, gaps + 1))
    if len(ends) and ends[-1] > size:
        raise DamageError(f"the gaps between non-zeros lead to weight {ends[-1]} of {size}")
    return np.asarray(ends[gaps != skip] - 1, np.int64)
