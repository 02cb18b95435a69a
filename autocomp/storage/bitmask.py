"""Bitmask: one bit per weight says whether it is stored (as the sparse formats of SCNN and Cambricon-S do)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.damage import DamageError


def write_mask(positions: NDArray[np.int64], size: int) -> bytes:
    """The places of non-zeros among ``size`` weights, in ``ceil(size / 8)`` bytes, most significant bit first."""
    mask = np.zeros(size, np.uint8)
    mask[positions] = 1
    return np.packbits(mask).tobytes()


def read_mask(data: bytes, size: int) -> NDArray[np.int64]:
    """The inverse of `write_mask`: places in rising order.

    Raises:
        DamageError: if the mask has another length.
    """
    if len(data) != -(-size // 8):
        raise DamageError(f"a mask of {size} weights takes {-(-size // 8)} bytes, not {len(data)}")
    return np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8), count=size))
