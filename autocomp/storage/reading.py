"""A stretch of bytes that is read from front to back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.damage import DamageError


class Reader:
    """Hands out bytes in order, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            DamageError: if there are fewer.
        """
        left = len(self._data) - self._at
        if not 0 <= count <= left:
            raise DamageError(f"{count} bytes are wanted where {left} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """The next ``count`` numbers of a little-endian type."""
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(count * kind.itemsize), kind)

    def close(self) -> None:
        """Nothing may be left.

        Raises:
            DamageError: if there is.
        """
        if self._at != len(self._data):
            raise DamageError(f"{len(self._data) - self._at} bytes are left over")
