"""Low-bit packing: integers of a few bits each, one behind the other, most significant bit first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.damage import DamageError

Codes = NDArray[np.integer[Any]]
_CHUNK = 1 << 20
"""Codes at a time, a multiple of 8, so that a chunk ends on a whole byte; keeps the memory for single bits small."""


def width_of(alphabet: int) -> int:
    """Bits that a code of 0 to ``alphabet - 1`` takes; none where there is but one."""
    return max(alphabet - 1, 0).bit_length()


def packed_size(count: int, width: int) -> int:
    """Bytes that ``count`` codes of ``width`` bits take."""
    return -(-count * width // 8)


def _word(width: int) -> np.dtype[Any]:
    return np.dtype(">u1" if width <= 8 else ">u2" if width <= 16 else ">u4")


def pack_bits(codes: Codes, width: int) -> bytes:
    """Integers below ``2^width`` (``n``; width 0 to 32) as `packed_size` bytes; the last byte is filled up with zeros."""
    if not width:
        return b""
    word = _word(width)
    parts = []
    for start in range(0, len(codes), _CHUNK):
        part = codes[start : start + _CHUNK].astype(word)
        bits = np.unpackbits(part.view(np.uint8).reshape(len(part), -1), axis=1)
        parts.append(np.packbits(bits[:, bits.shape[1] - width :]))
    return b"".join(part.tobytes() for part in parts)


def unpack_bits(data: bytes, count: int, width: int) -> NDArray[np.int64]:
    """The inverse of `pack_bits`, ``count`` integers.

    Raises:
        DamageError: if the data has another length than so many codes take.
    """
    if len(data) != packed_size(count, width):
        raise DamageError(f"{count} codes of {width} bits take {packed_size(count, width)} bytes, not {len(data)}")
    codes = np.zeros(count, np.int64)
    word = _word(width)
    for start in range(0, count if width else 0, _CHUNK):
        n = min(_CHUNK, count - start)
        part = np.frombuffer(data, np.uint8, packed_size(n, width), start * width // 8)
        bits = np.zeros((n, 8 * word.itemsize), np.uint8)
        bits[:, bits.shape[1] - width :] = np.unpackbits(part, count=n * width).reshape(n, width)
        codes[start : start + n] = np.packbits(bits, axis=1).view(word)[:, 0]
    return codes
