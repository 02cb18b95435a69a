"""SparseMatrixVector: an FPGA that multiplies sparse matrices with vectors, as recurrent networks need (ESE)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from hwmodels.batching import in_chunks
from hwmodels.cost import CostReport, Floats
from hwmodels.errors import HardwareError
from hwmodels.fpga import DspName, bram18_blocks, packing_tables
from hwmodels.imbalance import LEAST_DENSITY, expected_maximum, irregularity, run_length_padding
from hwmodels.parameters import Count, Quantity, check_parameters
from hwmodels.technology import ACCUMULATOR_BITS, mac_energy_scale
from hwmodels.traffic import Operands, boundary_bits
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Op, Workload

_TINY: Final = np.finfo(float).tiny


@dataclass(frozen=True, kw_only=True)
class SparseMatrixVector:
    """Processing elements (PEs) that skip zero weights, in channels that share them (ESE, Han et al., FPGA 2017).

    The rows of a matrix lie interleaved over the PEs of a channel. Weights and column pointers stream from DRAM once for as many
    vectors as there are channels; each channel multiplies its own vector. Vectors between two matrices stay on chip. The activations
    of a recurrent network are dense, and zeros among them are not skipped. For each of J columns a PE computes its mu non-zero
    weights of n rows, stored zeros included:

        cycles = J (mu + (1-d)^n) (1 + z cv (D**-1.75 + J**-0.5))            (as EIE, see `hwmodels.skipping`)

    Where pruning balanced the load of the PEs (patterns vector and group), cv = 0 and none is empty: ``J max(mu, 1)``. A layer
    takes the longer of computing and streaming. Every weight is stored with its zero run, as the PEs expect it. Element-wise
    operations run beside the next matrix. Convolutions are refused.

    Attributes:
        name: the device's name.
        pes: PEs of a channel, one multiplier each.
        channels: vectors that are multiplied at once with the same weights.
        fifo_depth: activations queued before each PE.
        run_bits: bits of the zero run before each weight; a longer run costs a stored zero.
        pointer_bits: of the pointer to a column, one per PE and column.
        clock_hz: of the PEs.
        max_bits: widest format; wider networks are priced at this width.
        dsp_type, dsps, bram18: the chip.
        dram_bytes_per_s: rate at which weights and pointers stream in.
        mac_energy_j: of one 16 x 16 bit MAC.
        sram_energy_j_per_bit, dram_energy_j_per_bit: of one bit read or written.
        static_power_w: leakage and clock tree.
    """

    supports: ClassVar[frozenset[Op]] = frozenset({Op.LINEAR})

    name: str
    pes: Count
    channels: Count
    fifo_depth: Count
    run_bits: Count
    pointer_bits: Count
    clock_hz: Quantity
    max_bits: int
    dsp_type: DspName
    dsps: Count
    bram18: Count
    dram_bytes_per_s: Quantity
    mac_energy_j: Quantity
    sram_energy_j_per_bit: Quantity
    dram_energy_j_per_bit: Quantity
    static_power_w: Quantity

    def __post_init__(self) -> None:
        check_parameters(self)

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate.

        Raises:
            HardwareError: if a layer is a convolution.
        """
        self._check(workload)
        work = Operands(workload, self.max_bits)
        density = np.clip(workload.weight_density, LEAST_DENSITY, 1)
        rows = np.ceil(work.n / self.pes)
        padding = run_length_padding(rows, density, index_bits=self.run_bits)
        sets = np.ceil(workload.batch / self.channels) * workload.out_h * workload.out_w
        slices = packing_tables(self.dsp_type, self.max_bits)[1][work.weight_bits, work.activation_bits]
        cycles = sets * work.k * work.runs * slices * self._entries(work, rows, density, padding)
        entries = density * work.n + self.pes * padding
        column_bits = entries * (work.stored_weight_bits + self.run_bits) + self.pes * self.pointer_bits
        stored = work.used * work.k * workload.groups * column_bits
        streamed = stored * (sets * workload.repeats)
        vectors = boundary_bits(work) * workload.batch
        latency_s = np.maximum(cycles / self.clock_hz, (streamed + vectors) / (8 * self.dram_bytes_per_s))
        executed = work.macs * workload.weight_density
        return CostReport(
            names=workload.names,
            latency_s=np.broadcast_to(latency_s, workload.shape),
            energy_parts_j={
                "mac": executed * (self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)),
                "sram": self.sram_energy_j_per_bit * (streamed + executed * (work.activation_bits + 2 * ACCUMULATOR_BITS)),
                "dram": self.dram_energy_j_per_bit * (streamed + vectors),
                "static": self.static_power_w * latency_s,
            },
            cycles=cycles,
            utilization=executed / np.maximum(latency_s * (self.clock_hz * self.pes * self.channels / slices), _TINY),
            dram_bytes=(streamed + vectors) / 8,
            resources=self._resources(work, rows),
            limits={"DSP": np.asarray(self.dsps, np.float64), "BRAM18": np.asarray(self.bram18, np.float64)},
            uncertainty=uncertainty("sparse_fpga"),
        )

    def _check(self, workload: Workload) -> None:
        convolutions = np.broadcast_to((workload.op != Op.LINEAR) & workload.used, workload.shape)
        if convolutions.any():
            layer = workload.names[int(np.argwhere(convolutions)[0][-1])]
            raise HardwareError(
                f"Device '{self.name}' multiplies matrices with vectors, but layer '{layer}' is a convolution; take another device."
            )

    def _entries(self, work: Operands, rows: Floats, density: Floats, padding: Floats) -> Floats:
        """Cycles of one column: the stored weights of a PE, and waiting for the PE with most of them."""
        irregular = irregularity(work.workload)
        mean = np.minimum(rows * density + padding, rows)
        variation = irregular * np.sqrt((1 - density) / np.maximum(rows * density, density))
        queued = np.power(self.fifo_depth, -1.75) + np.maximum(work.k, 1) ** -0.5
        busy = np.maximum(mean + irregular * (1 - density) ** rows, 1)
        entries = busy + mean * (expected_maximum(self.pes) * variation * queued)
        return np.asarray(np.minimum(entries, np.maximum(rows, 1)) * work.used)

    def _resources(self, work: Operands, rows: Floats) -> dict[str, Floats]:
        """DSP slices; block RAMs of the partial sums of every PE, and of weights and vectors, which are double-buffered."""
        units = np.asarray(self.pes * self.channels, np.float64)
        sums = (units * bram18_blocks(rows, ACCUMULATOR_BITS)).max(-1, initial=0)
        vectors = (self.channels * bram18_blocks(work.k, work.activation_bits)).max(-1, initial=0)
        buffers = 2 * np.asarray(self.pes, np.float64)
        return {
            "DSP": units[..., 0] if units.ndim else units,
            "BRAM18": sums + 2 * vectors + (buffers[..., 0] if buffers.ndim else buffers),
        }
