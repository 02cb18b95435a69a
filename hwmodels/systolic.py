"""SystolicArray: an FPGA accelerator made of systolic arrays of DSP slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwmodels.cost import CostReport, Floats
from hwmodels.dataflow import DATAFLOWS, DataflowName, fold_counts, product_cycles
from hwmodels.fpga import BRAM18_BITS, DspName, packing_tables
from hwmodels.parameters import check_parameters
from hwmodels.technology import ACCUMULATOR_BITS, mac_energy_scale
from hwmodels.traffic import Operands, offchip_bits, transfer_s
from hwmodels.workload import Workload

Sizes = tuple[Floats, Floats, Floats]


@cache
def splits(parts: int) -> tuple[tuple[int, int, int], ...]:
    """Ways to write ``parts`` as a product of three: how equal arrays divide pixels, inputs and filters among them."""
    divisors = [d for d in range(1, parts + 1) if parts % d == 0]
    return tuple((m, k, parts // (m * k)) for m in divisors for k in divisors if parts % (m * k) == 0)


@dataclass(frozen=True, kw_only=True)
class SystolicArray:
    """``arrays`` equal systolic arrays that share a buffer and a DRAM.

    How bits enter the cycles: a DSP slice that packs p narrow MACs computes p/2 or p neighbouring pixels for 2 or 1 neighbouring
    filters at once (or the other way round), so the array sees a product with fewer pixels and filters. The several arrays divide
    pixels, filters or inputs (partial sums are added on their way out). The compiler takes, per layer, the division with the fewest
    cycles. Operands wider than a slice take several passes. Zeros inside a weight tensor are computed; they save memory and traffic only.

    A layer takes the longer of computing and transferring, plus the DRAM's latency before the first word. Feature maps and weights
    of every layer travel to and from DRAM. A group of a grouped or depthwise convolution is one product after the other.

    Attributes:
        name: the device's name.
        rows, cols: size of one array in DSP slices.
        arrays: number of arrays.
        dataflow: ``ws``, ``os`` or ``is``.
        overlap_folds: whether a fold is loaded behind the previous one (see `product_cycles`); SCALE-Sim does not.
        clock_hz: of the array.
        max_bits: widest format that the device computes; wider networks are priced at this width.
        dsp_type, dsps, bram18: hard blocks of the chip.
        dram_bytes_per_s, dram_latency_s: peak bandwidth and time to the first word.
        burst_bytes, burst_overhead_bytes: longest burst, and what starting one costs in bytes.
        mac_energy_j: of one 16 x 16 bit MAC.
        sram_energy_j_per_bit, dram_energy_j_per_bit: of one bit read or written.
        static_power_w: leakage and clock tree.
    """

    name: str
    rows: int
    cols: int
    arrays: int
    dataflow: DataflowName
    overlap_folds: bool
    clock_hz: float
    max_bits: int
    dsp_type: DspName
    dsps: int
    bram18: int
    dram_bytes_per_s: float
    dram_latency_s: float
    burst_bytes: int
    burst_overhead_bytes: int
    mac_energy_j: float
    sram_energy_j_per_bit: float
    dram_energy_j_per_bit: float
    static_power_w: float

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def stream_bram18(self) -> int:
        """Block RAMs of the FIFOs at the rows and columns, two each so that one is filled while the other is read."""
        return 2 * self.arrays * (self.rows + self.cols)

    @property
    def chunk_bits(self) -> float:
        """Half of the buffer that the FIFOs leave: what one chunk of a double-buffered operand may take."""
        return max(self.bram18 - self.stream_bram18, 1) * BRAM18_BITS / 2

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        packing, passes = (table[work.weight_bits, work.activation_bits] for table in packing_tables(self.dsp_type, self.max_bits))
        share, product = self._divide(work, packing)
        cycles = product * (work.runs * passes)
        dram_bytes = offchip_bits(work, self.chunk_bits) / 8
        dram_s = transfer_s(
            dram_bytes, bytes_per_s=self.dram_bytes_per_s, burst_bytes=self.burst_bytes, overhead_bytes=self.burst_overhead_bytes
        )
        latency_s = np.maximum(cycles / self.clock_hz, dram_s) + self.dram_latency_s * work.used
        peak = self.clock_hz * self.rows * self.cols * self.arrays * (packing / passes)
        energy_parts_j = {
            "mac": work.macs * (self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)),
            "sram": self.sram_energy_j_per_bit * (self._buffer_bits(work, share) + 8 * dram_bytes),
            "dram": (8 * self.dram_energy_j_per_bit) * dram_bytes,
            "static": self.static_power_w * latency_s,
        }
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=energy_parts_j,
            cycles=cycles,
            utilization=work.macs / np.maximum(latency_s * peak, np.finfo(float).tiny),
            dram_bytes=dram_bytes,
            resources=self._resources(work),
            limits={"DSP": self.dsps, "BRAM18": self.bram18},
        )

    def _divide(self, work: Operands, packing: Floats) -> tuple[Sizes, Floats]:
        """Pixels, inputs and filters that one slice sees in the fastest division, and the cycles of one product."""
        pair = np.minimum(packing, 2)  # products that share one operand lie along one axis, the rest along the other
        rest = packing / pair
        parts = {part for split in splits(self.arrays) for part in split}
        inputs = {part: np.ceil(work.k / part) for part in parts}
        chosen = np.empty(work.workload.shape), np.empty(work.workload.shape), np.empty(work.workload.shape)
        cycles = np.full(work.workload.shape, np.inf)
        for pixel_share, filter_share in ((pair, rest), (rest, pair)):
            pixels = {part: np.ceil(work.m / (part * pixel_share)) for part in parts}
            filters = {part: np.ceil(work.n / (part * filter_share)) for part in parts}
            for m, k, n in splits(self.arrays):
                share = (pixels[m], inputs[k], filters[n])
                tried = product_cycles(share, DATAFLOWS[self.dataflow], rows=self.rows, cols=self.cols, overlap=self.overlap_folds)
                faster = tried < cycles
                for kept, new in zip((*chosen, cycles), (*share, tried), strict=True):
                    np.copyto(kept, new, where=faster)
        return chosen, cycles

    def _buffer_bits(self, work: Operands, share: Sizes) -> Floats:
        """Bits between buffer and arrays: each operand once per fold along the dimension that it lacks (see `fold_counts`)."""
        along_m, along_k, along_n = fold_counts(share, DATAFLOWS[self.dataflow], rows=self.rows, cols=self.cols)
        inputs = work.m * work.k * work.activation_bits * along_n
        weights = work.k * work.n * work.weight_bits * along_m
        outputs = work.m * work.n * (work.activation_bits + 2 * ACCUMULATOR_BITS * np.maximum(along_k - 1, 0))
        return np.asarray((inputs + weights + outputs) * work.runs)

    def _resources(self, work: Operands) -> dict[str, Floats]:
        """DSP slices of the arrays, and block RAMs of the FIFOs and of the largest layer's resident chunk."""
        chunk = np.minimum(np.minimum(work.inputs, work.weights) / work.workload.groups, self.chunk_bits)
        blocks = self.stream_bram18 + 2 * np.ceil(chunk / BRAM18_BITS).max(-1, initial=0)
        return {"DSP": np.asarray(float(self.rows * self.cols * self.arrays)), "BRAM18": blocks}
