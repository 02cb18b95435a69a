"""Cycles of a matrix product on a systolic array, equal to SCALE-Sim's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.errors import HardwareError
from hwmodels.parameters import Count

Floats = NDArray[np.float64]
Sizes: TypeAlias = tuple[Floats, Floats, Floats]
DataflowName = Literal["ws", "os", "is"]

_M, _K, _N = 0, 1, 2


@dataclass(frozen=True)
class Dataflow:
    """Which dimension of an ``m x k x n`` product lies along the rows and columns of the array; the third is streamed.

    Attributes:
        rows, cols, stream: dimensions, 0 for m, 1 for k, 2 for n.
        loads: passes over the rows that are not computing: 2 where an operand is loaded before the stream, else 1.
    """

    rows: int
    cols: int
    stream: int
    loads: int


DATAFLOWS: Final[dict[str, Dataflow]] = {
    "ws": Dataflow(rows=_K, cols=_N, stream=_M, loads=2),
    "os": Dataflow(rows=_M, cols=_N, stream=_K, loads=1),
    "is": Dataflow(rows=_K, cols=_M, stream=_N, loads=2),
}


def fold_counts(sizes: Sizes, flow: Dataflow, *, rows: Count, cols: Count) -> list[Floats]:
    """Folds of the product along m, k and n; 1 along the streamed dimension.

    The operand that lacks a dimension is touched once per fold of it: the inputs once per fold along n, the weights per fold
    along m, the outputs per fold along k.
    """
    folds = [np.ones(())] * 3
    folds[flow.rows] = np.ceil(sizes[flow.rows] / rows)
    folds[flow.cols] = np.ceil(sizes[flow.cols] / cols)
    return folds


def product_cycles(sizes: Sizes, flow: Dataflow, *, rows: Count, cols: Count, double_buffer: bool = False) -> Floats:
    """Cycles of an ``m x k x n`` product; 0 where the product is empty.

    As SCALE-Sim (Samajdar et al., ISPASS 2020; -1 because it prints the index of the last cycle)::

        ceil(a / rows) * ceil(b / cols) * (loads * rows + cols + stream - 2) - 1

    With double buffers in the array, the next fold is loaded, or the last one drained, in ``rows`` cycles behind the stream of the
    present one, and the array is filled and drained once::

        ceil(a / rows) * ceil(b / cols) * max(stream, rows) + loads * rows + cols - 3
    """
    folds = fold_counts(sizes, flow, rows=rows, cols=cols)
    return folds_cycles(folds[flow.rows] * folds[flow.cols], sizes[flow.stream], flow, rows=rows, cols=cols, double_buffer=double_buffer)


def folds_cycles(count: Floats, stream: Floats, flow: Dataflow, *, rows: Count, cols: Count, double_buffer: bool) -> Floats:
    """Cycles of ``count`` folds through which ``stream`` steps pass, see `product_cycles`."""
    fill = flow.loads * rows + cols - 2
    if double_buffer:
        return np.asarray(count * np.maximum(stream, rows) + (fill - 1) * (count > 0))
    return np.maximum(count * (stream + fill) - 1, 0)


def systolic_cycles(m: ArrayLike, k: ArrayLike, n: ArrayLike, *, rows: Count, cols: Count, dataflow: str) -> NDArray[np.int64]:
    """Compute cycles of an ``m x k x n`` matrix product as SCALE-Sim 3.0.0 prints them, without memory stalls.

    Args:
        m: output pixels; any integer shapes that broadcast.
        k: inputs per output.
        n: output channels.
        rows: processing elements along a column of the array; arrays broadcast, too.
        cols: processing elements along a row of the array.
        dataflow: ``ws``, ``os`` or ``is``.

    Raises:
        HardwareError: on an unknown dataflow, an empty array or negative sizes.
    """
    if dataflow not in DATAFLOWS:
        raise HardwareError(f"`dataflow` must be one of {', '.join(DATAFLOWS)}, but is {dataflow!r}.")
    if np.min(rows) < 1 or np.min(cols) < 1:
        raise HardwareError(f"An array has at least one row and column, but rows={rows}, cols={cols}.")
    sizes = (np.asarray(m, np.float64), np.asarray(k, np.float64), np.asarray(n, np.float64))
    if any((size < 0).any() for size in sizes):
        raise HardwareError("`m`, `k` and `n` must not be negative.")
    return np.asarray(product_cycles(sizes, DATAFLOWS[dataflow], rows=rows, cols=cols), np.int64)
