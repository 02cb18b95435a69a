"""Product codebooks, found in the weights: parts of a filter's input channels that take few values together (Gong 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.packing import packed_size, width_of

Floats = NDArray[np.float32]
WIDTHS = (2, 3, 4, 6, 8, 9, 12, 16)
"""Channels of a sub-vector that are tried."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Weights as one codebook for each sub-space.

    Attributes:
        width: channels of a sub-vector; the last sub-space has what is left.
        codebooks: entries of each sub-space, ``n x width``.
        codes: the entry of each sub-vector, ``m x v`` (sub-spaces, places).
    """

    width: int
    codebooks: tuple[Floats, ...]
    codes: NDArray[np.int64]

    @property
    def alphabet(self) -> int:
        """Entries of the largest codebook."""
        return max(len(book) for book in self.codebooks)

    @property
    def size(self) -> int:
        """Bytes of codebooks and packed codes."""
        return sum(book.nbytes for book in self.codebooks) + packed_size(self.codes.size, width_of(self.alphabet))


def places_by_channels(weights: Floats) -> Floats:
    """A kernel ``f x c x ...`` as places (filter and kernel position) by channels, ``v x c``."""
    return np.moveaxis(weights, 1, -1).reshape(-1, weights.shape[1])


def find_vectors(matrix: Floats) -> Vectors | None:
    """The smallest product codebook that gives ``v x c`` exactly, or None."""
    widths = [width for width in WIDTHS if width <= matrix.shape[1]]
    return min(_candidates(matrix, widths), key=lambda vectors: vectors.size, default=None)


def _candidates(matrix: Floats, widths: list[int]) -> Iterator[Vectors]:
    for width in widths:
        starts = range(0, matrix.shape[1], width)
        found: list[tuple[Floats, NDArray[np.int64]]] = []
        for start in starts:
            book, codes = _distinct(matrix[:, start : start + width])
            if not found and 2 * len(book) > len(matrix):  # they do not repeat, and the other sub-spaces will not either
                break
            found.append((book, codes))
        if found:
            yield Vectors(width, tuple(book for book, _ in found), np.stack([codes for _, codes in found]))


_MULTIPLIERS = np.random.default_rng(0).integers(1 << 62, (1 << 63) - 1, 2 * max(WIDTHS), np.uint64) | np.uint64(1)


def _distinct(rows: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The different rows of ``v x w`` and the number of each row among them."""
    bits = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
    keys = (bits * _MULTIPLIERS[: rows.shape[1]]).sum(axis=1, dtype=np.uint64)  # sorting one number is faster than sorting rows
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    if np.array_equal(rows[first][codes], rows):
        return rows[first], codes
    _, first, codes = np.unique(bits, axis=0, return_index=True, return_inverse=True)  # two rows had one key
    return rows[first], codes
