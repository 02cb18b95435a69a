"""Grids: whether stored weights are whole multiples of a step, and of which one.

A compressed network is exported with the values that it computes with. Whatever quantizer made them, values that are
few-bit integers times one step per filter can be written as such integers without a loss; that is found here from the
values alone, so that every quantizer, and every older model folder, is read the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDEST = 16
"""Bits of the finest grid that is looked for."""

_SAMPLE = 8
"""Values that a step is first tried on, which is quick."""

_TOLERANCE = 4e-7
"""Distance from an integer as a share of the largest integer: what a few roundings in float32 may move a value by."""

_SAFE = 63
"""Integers up to here cannot overflow any engine's 16-bit sums of two products: ``2 * 255 * 63 < 2**15``."""


@dataclass(frozen=True)
class Grid:
    """Weights as integers, symmetric around zero.

    Attributes:
        integers: of the weights' shape.
        step: of each filter, ``o``; 1 for a filter of zeros. ``integers * step`` are the weights, up to rounding in float32.
        bits: the fewest, 2 or more, with which ``-(2^(bits-1) - 1) .. 2^(bits-1) - 1`` holds all integers.
    """

    integers: NDArray[np.int64]
    step: NDArray[np.float64]
    bits: int

    def stretched(self) -> Grid:
        """The same weights in finer steps where the integers stay within `_SAFE`: biases are counted in these steps."""
        rows = np.abs(self.integers.reshape(len(self.integers), -1)).max(axis=1, initial=1)
        factor = np.maximum(_SAFE // np.maximum(rows, 1), 1)
        integers = self.integers * factor.reshape(-1, *[1] * (self.integers.ndim - 1))
        return Grid(integers, self.step / factor, self.bits)


def find_grid(weight: NDArray[np.float32], bits: int = WIDEST) -> Grid | None:
    """The coarsest grid of each filter that its weights lie on.

    Args:
        weight: ``o x ...``, one row per filter.
        bits: of the widest grid that will do.

    Returns:
        None if some filter lies on no such grid.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    integers, steps = np.zeros(rows.shape, np.int64), np.ones(len(rows))
    for i, row in enumerate(rows):
        found = _row_step(row, 2 ** (bits - 1) - 1)
        if found is None:
            return None
        steps[i] = found
        integers[i] = np.rint(row / found)
    largest = int(np.abs(integers).max(initial=1))
    return Grid(integers.reshape(weight.shape), steps, max(largest.bit_length() + 1, 2))


def _row_step(row: NDArray[np.float64], high: int) -> float | None:
    """The largest step of which all values are multiples, none above ``high``; the best fit to them."""
    magnitudes = np.unique(np.abs(row[row != 0]))
    if not len(magnitudes):
        return 1.0
    if len(magnitudes) > high:
        return None
    largest = magnitudes[-1]
    sample = magnitudes[np.linspace(0, len(magnitudes) - 1, min(len(magnitudes), _SAMPLE)).astype(int)]
    levels = np.arange(1, high + 1)  # of the largest value: the fewer, the larger the step
    for level in levels[_are_whole(sample[:, None], levels / largest, levels)]:
        if _are_whole(magnitudes[:, None], np.array([level / largest]), level)[0]:
            whole = np.rint(magnitudes * (level / largest))
            return float(whole @ magnitudes / (whole @ whole))
    return None


def _are_whole(values: NDArray[np.float64], per_step: NDArray[np.float64], levels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For which steps all values, ``n x 1``, are whole multiples other than zero."""
    scaled = values * per_step
    whole = np.rint(scaled)
    return np.asarray(((np.abs(scaled - whole) <= _TOLERANCE * levels) & (whole > 0)).all(axis=0))
