"""SystolicArray: an FPGA accelerator made of systolic arrays of multipliers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from hwmodels.batching import in_chunks
from hwmodels.chip import Computed, FpgaChip
from hwmodels.cost import CostReport, Floats
from hwmodels.dataflow import DATAFLOWS, DataflowName, Sizes, fold_counts, folds_cycles
from hwmodels.parameters import Count
from hwmodels.technology import ACCUMULATOR_BITS
from hwmodels.tile_costs import Lanes, Number
from hwmodels.traffic import Operands
from hwmodels.workload import Workload

Divisors: TypeAlias = tuple[Floats, Floats, Floats]

# Ways to divide a product among arrays along pixels, inputs and filters: one axis (0, 1, 2) takes what the given factors of the
# others leave. Every way to divide up to seven arrays is among them, and the balanced ones for more.
_DIVISIONS: Final = (
    (0, (1, 1, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 1)),
    *((0, (1, inputs, filters)) for inputs, filters in ((1, 2), (1, 4), (2, 1), (2, 2), (2, 4))),
    *((2, (pixels, inputs, 1)) for pixels, inputs in ((2, 1), (4, 1), (1, 2), (2, 2), (4, 2))),
)


def splits(arrays: Count) -> list[Divisors]:
    """Ways to divide pixels, inputs and filters among a number of arrays, or each of several numbers (``b x 1``).

    The three factors of a way multiply to ``arrays``; where one of them is no whole number it is NaN, so that every comparison says
    that the way is not faster.
    """
    number = np.asarray(arrays, np.float64)
    found: list[Divisors] = []
    for axis, factors in _DIVISIONS:
        left = number / np.prod(factors)
        whole = np.where(left == np.floor(left), left, np.nan)
        way = tuple(whole if other == axis else np.asarray(float(factor)) for other, factor in enumerate(factors))
        known = number.ndim == 0 and any(all(a == b for a, b in zip(way, old, strict=True)) for old in found)
        if not known and not np.all(np.isnan(whole)):
            found.append((way[0], way[1], way[2]))
    return found


@dataclass(frozen=True, kw_only=True)
class SystolicArray(FpgaChip):
    """``arrays`` equal systolic arrays that share buffers and a DRAM.

    How bits enter the cycles: a multiplier that packs p narrow MACs computes p/2 or p neighbouring pixels for 2 or 1 neighbouring
    filters at once (or the other way round), so the array sees a product with fewer pixels and filters. The several arrays divide
    pixels, filters or inputs (partial sums are added on their way out). The compiler takes, per layer, the division with the fewest
    cycles. Operands wider than a multiplier take several passes. A group of a grouped or depthwise convolution is one product after
    the other, so a depthwise layer keeps one column busy.

    Attributes:
        rows, cols: size of one array in multipliers.
        arrays: number of arrays.
        dataflow: ``ws``, ``os`` or ``is``.
        weight_double_buffer: whether a fold is loaded behind the previous one (see `product_cycles`); SCALE-Sim does not.
    """

    rows: Count
    cols: Count
    arrays: Count
    dataflow: DataflowName
    weight_double_buffer: bool

    @property
    def stream_bram18(self) -> Number:
        """Block RAMs of the FIFOs at the rows and columns, two each so that one is filled while the other is read."""
        return 2 * self.arrays * (self.rows + self.cols)

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        macs, passes = self.packing(work)
        share, product = self._divide(work, macs)
        units = self.rows * self.cols * self.arrays
        computed = Computed(
            cycles=np.asarray(product * (work.runs * passes)),
            peak=units * (macs / passes),
            buffer_bits=self._buffer_bits(work, share),
            multiplications=work.macs,
        )
        lanes = Lanes(filters=self.cols * self.arrays, channels=self.rows)
        return self.priced(work, self.with_vector_unit(work, computed), lanes, units=units, fifo=self.stream_bram18)

    def _divide(self, work: Operands, macs: Floats) -> tuple[Sizes, Floats]:
        """Pixels, inputs and filters that one multiplier sees in the fastest division, and the cycles of one product."""
        flow, rows, cols = DATAFLOWS[self.dataflow], self.rows, self.cols
        shape = np.broadcast_shapes(work.workload.shape, *(np.shape(array) for array in (macs, self.arrays, rows, cols)))
        chosen = np.empty(shape), np.empty(shape), np.empty(shape)
        cycles = np.full(shape, np.inf)
        for share, folds in self._ways(work, macs):
            tried = folds_cycles(
                folds[flow.rows] * folds[flow.cols], share[flow.stream], flow, rows=rows, cols=cols, double_buffer=self.weight_double_buffer
            )
            faster = tried < cycles
            for kept, new in zip((*chosen, cycles), (*share, tried), strict=True):
                np.copyto(kept, new, where=faster)
        return chosen, cycles

    def _ways(self, work: Operands, macs: Floats) -> Iterator[tuple[list[Floats], list[Floats]]]:
        """Pixels, inputs and filters of one multiplier, and their folds, for every way to divide a product."""
        pair = np.minimum(macs, 2)  # products that share one operand lie along one axis, the rest along the other
        rest, one = macs / pair, np.ones(())
        packed = [(pair, one, rest), (rest, one, pair)] if np.any(macs > 1) else [(one, one, one)]
        flow, sizes = DATAFLOWS[self.dataflow], (work.m, work.k, work.n)
        lengths = {flow.rows: self.rows, flow.cols: self.cols}
        known: dict[tuple[int, bytes, int], tuple[Floats, Floats]] = {}  # many ways divide an axis alike

        def divided(axis: int, factor: Floats, packing: int) -> tuple[Floats, Floats]:
            key = axis, factor.tobytes(), packing if axis != 1 else 0
            if key not in known:
                share = np.ceil(sizes[axis] / (factor * packed[packing][axis]))
                known[key] = share, np.ceil(share / lengths[axis]) if axis in lengths else share
            return known[key]

        for way in splits(self.arrays):
            for packing in range(len(packed)):
                parts = [divided(axis, factor, packing) for axis, factor in enumerate(way)]
                yield [share for share, _ in parts], [folds for _, folds in parts]

    def _buffer_bits(self, work: Operands, share: Sizes) -> Floats:
        """Bits between buffer and arrays: each operand once per fold along the dimension that it lacks (see `fold_counts`)."""
        along_m, along_k, along_n = fold_counts(share, DATAFLOWS[self.dataflow], rows=self.rows, cols=self.cols)
        inputs = work.m * work.k * work.activation_bits * along_n
        weights = work.k * work.n * work.weight_bits * along_m
        outputs = work.m * work.n * (work.activation_bits + 2 * ACCUMULATOR_BITS * np.maximum(along_k - 1, 0))
        return np.asarray((inputs + weights + outputs) * work.runs)
