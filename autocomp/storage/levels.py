"""Levels: the few values that quantized weights take, found in the weights themselves.

Whatever rounded them (a grid, a power-of-two law, a codebook), a weight is ``level x step of its filter``, computed in single
precision; without steps, levels are the values. What is found is checked bit for bit, so that nothing is ever approximated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_SAMPLE = 1 << 16
"""Weights that are looked at first; values that hardly repeat among them are no quantized ones."""

_MOST_LEVELS = 1 << 16
"""Entries of the largest table."""

_SHORT = 16
"""Weights of a filter up to which a step for each may take more than a table."""

_RULER = 256
"""Largest weights of a filter that its step is measured with."""

_MOST_BETWEEN = 64
"""Two neighbouring magnitudes of a filter are tried as 1 to so many steps apart."""

_WIDEST = float(1 << 16)
"""Largest multiple of a step that counts as a level of a grid."""

_TINY = 1e-30
"""A filter whose largest magnitude is below has no step that is a normal number beyond doubt."""

_ROWS = 8
"""Filters that are looked at before all of them are."""

_PROBE = 256
"""Weights of a filter that are looked at before all of them are."""

_NEIGHBOURS = range(-2, 3)
"""Single-precision numbers beside a quotient that are tried as the step, because both its terms are rounded."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Weights ``f x e`` (filters, weights of a filter) as codes.

    Attributes:
        levels: rising, ``n``.
        steps: ``f``, or one for all filters, or None where the levels are the values.
        codes: number of each weight's level, ``f x e``.
    """

    levels: Floats
    steps: Floats | None
    codes: NDArray[np.int64]

    @property
    def zero(self) -> int | None:
        """The code of zero, if there is one."""
        at = int(np.searchsorted(self.levels, 0))
        return at if at < len(self.levels) and self.levels[at] == 0 else None


def find_levels(weights: Floats) -> list[Levels]:
    """A grid for each filter, else a table of all values, else nothing; both where filters are so short that all lie on a grid.

    Args:
        weights: ``f x e``, finite, without negative zeros.
    """
    grid = find_grid(weights)
    if grid and weights.shape[1] > _SHORT:
        return [grid]
    return [found for found in (grid, find_table(weights)) if found]


def find_table(weights: Floats) -> Levels | None:
    """All values that occur, if they are few enough to be worth a table."""
    flat = weights.ravel()
    some = flat[:: max(flat.size // _SAMPLE, 1)]
    nonzero = some[some != 0]
    levels = np.unique(some)
    if 2 * len(levels) > len(nonzero) + 2:
        return None
    codes = np.minimum(np.searchsorted(levels, flat), len(levels) - 1)
    missing = flat[levels[codes] != flat]
    if len(missing):
        levels = np.union1d(levels, np.unique(missing))
        codes = np.searchsorted(levels, flat)
    if len(levels) > min(_MOST_LEVELS, flat.size / 2 + 2):
        return None
    return Levels(levels, None, codes.reshape(weights.shape).astype(np.int64))


def find_grid(weights: Floats) -> Levels | None:
    """Whole multiples of one step for each filter."""
    full = np.flatnonzero(weights.any(axis=1))
    some = full[:: max(len(full) // _ROWS, 1)]
    if len(some) and _steps(weights[some]) is None:
        return None
    steps = np.ones(len(weights), np.float32)
    found = _steps(weights[full])
    if found is None:
        return None
    steps[full] = found
    whole = np.rint(weights / steps[:, None]).astype(np.int64)
    if not len(full) or (found == found[0]).all():
        steps = found[:1] if len(full) else steps[:1]
    return Levels(*_levels_of(whole, steps))


def _levels_of(whole: NDArray[np.int64], steps: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Levels, steps and codes of integers: the whole range, or a list where that saves a bit of every code and more."""
    low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
    occurs = np.flatnonzero(np.bincount((whole - low).ravel(), minlength=high - low + 1))
    saved = (high - low).bit_length() - (len(occurs) - 1).bit_length()
    if saved * whole.size > 32 * len(occurs):
        return (occurs + low).astype(np.float32), steps, np.searchsorted(occurs, whole - low)
    return np.arange(low, high + 1, dtype=np.float32), steps, whole - low


def _steps(rows: Floats) -> Floats | None:
    """The step of each row (``r``, none all zero), the largest that is found; None if a row has none.

    The smallest distance between two magnitudes (or to zero) is taken for 1, 2, ... steps, and then measured ever more exactly
    against longer ones, up to the largest magnitude.
    """
    magnitudes = np.abs(rows)
    ordered = np.sort(magnitudes, axis=1)
    distance, stretches, largest = _smallest_distance(ordered), _stretches(ordered[:, -_RULER:]), ordered[:, -1]
    if largest.min(initial=1) < _TINY:
        return None
    steps = np.zeros(len(rows), np.float32)
    left = np.arange(len(rows))
    for level in range(1, _MOST_BETWEEN + 1):
        tops = np.rint(largest[left] / _measured(stretches[left], distance[left], level, largest[left]))
        if (tops > _WIDEST).any():
            return None
        steps[left] = _first_fit(magnitudes[left], (largest[left] / tops).astype(np.float32))
        left = left[steps[left] == 0]
        if not len(left):
            return steps
    return None


def _stretches(ordered: Floats) -> Floats:
    """Some distances between the magnitudes of a row, and to zero, of every length."""
    lags = [1 << i for i in range(max(ordered.shape[1] - 1, 0).bit_length())]
    return np.concatenate([ordered, *(ordered[:, lag:] - ordered[:, :-lag] for lag in lags)], axis=1)


def _measured(stretches: Floats, distance: NDArray[np.float64], level: int, largest: Floats) -> NDArray[np.float64]:
    """The step of each row (``r``) if a distance is ``level`` steps.

    A stretch says what a step is as exactly as it is long, and so how many steps there are in a stretch that is longer still.
    """
    rounding = largest.astype(np.float64) * 2.0**-23  # half a place of each end
    steps, stretch = distance / level, distance
    for _ in range(4):
        known = steps * stretch / (3 * rounding)  # the number of steps in it is right to a third
        longest = np.where(stretches <= known[:, None], stretches, 0).max(axis=1).astype(np.float64)
        steps = np.where(longest > stretch, longest / np.maximum(np.rint(longest / steps), 1), steps)
        stretch = np.maximum(longest, stretch)
    return steps


def _smallest_distance(ordered: Floats) -> NDArray[np.float64]:
    """Between two magnitudes of a row, or to zero; the mean of those that are alike, because rounding makes them differ."""
    distances = np.diff(ordered, prepend=np.float32(0), axis=1)
    smallest = np.where(distances > 0, distances, np.inf).min(axis=1, keepdims=True)
    alike = (distances > 0) & (distances < 1.02 * smallest.astype(np.float64))
    return np.asarray(distances.sum(axis=1, where=alike, dtype=np.float64) / alike.sum(axis=1))


def _first_fit(magnitudes: Floats, guesses: Floats) -> Floats:
    """A step near each guess of which all magnitudes of the row are whole multiples in single precision, else 0."""
    steps = np.zeros_like(guesses)
    ratio = magnitudes[:, :_PROBE] / guesses[:, None]
    near = (np.abs(ratio - np.rint(ratio)) < 1e-2).all(axis=1)
    for offset in _NEIGHBOURS:
        rows = np.flatnonzero(near & (steps == 0))
        candidates = (guesses[rows].view(np.int32) + np.int32(offset)).view(np.float32)
        whole = np.rint(magnitudes[rows] / candidates[:, None])
        fits = (whole * candidates[:, None] == magnitudes[rows]).all(axis=1)
        steps[rows[fits]] = candidates[fits]
    return steps
