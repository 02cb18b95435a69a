"""FpgaChip: what accelerators on an FPGA share: hard blocks, DRAM, energies, and how the price of a layer follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from hwmodels.cost import CostReport, Floats
from hwmodels.fpga import BRAM18_BITS, FLOAT_BITS, URAM_BITS, DspName, MacUnit, lut_mac_ffs, lut_mac_luts, mac_table
from hwmodels.fusion import fused_blocks
from hwmodels.layer_shapes import LayerShapes
from hwmodels.parameters import Count, Quantity, check_parameters
from hwmodels.technology import mac_energy_scale
from hwmodels.tile_costs import Lanes, Memory, Number
from hwmodels.tiling import choose_tiling
from hwmodels.traffic import Operands
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Workload

EngineStyle: TypeAlias = Literal["dsp", "lut", "bit_serial", "composable"]

_URAM_BLOCKS = URAM_BITS / BRAM18_BITS  # 18 Kb blocks in an UltraRAM
_TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Computed:
    """What an engine takes for each layer, ``... x l`` or broadcastable.

    Attributes:
        cycles: of computing, nothing else.
        peak: MACs per cycle with every multiplier busy.
        buffer_bits: between buffers and engine.
        multiplications: in MACs; fewer than the layer's MACs where an algorithm saves some.
    """

    cycles: Floats
    peak: Floats
    buffer_bits: Floats
    multiplications: Floats


@dataclass(frozen=True, kw_only=True)
class FpgaChip:
    """The chip, the board and the tiling of an accelerator that computes one layer after the other.

    A layer takes the longer of computing and transferring, since buffers are double; control, and what moves before the engine can
    start and after it stops, add to computing, and the DRAM's latency to everything (see `hwmodels.tiling`)::

        max(cycles + tiles * control_cycles + fill, transfer) + latency
        cycles + tiles * control_cycles + transfer + latency                  without overlap

    Each started burst loses the time of ``burst_overhead_bytes``; how long bursts are follows from the tile. Feature maps travel as
    the layer table says them: a map that is pooled afterwards leaves the chip whole. Zeros inside a weight tensor are computed; they
    save memory and traffic only.

    At 32 bit an engine computes in floating point, and narrower operands only save traffic. Other engines pack narrow operands into
    their multipliers (see `hwmodels.fpga`), or take several passes for wide ones.

    Attributes:
        name: the device's name.
        clock_hz: of the engine.
        max_bits: widest format that the device computes; wider networks are priced at this width.
        mac_style: what multipliers are made of, see `hwmodels.fpga.mac_table`.
        dsp_type, dsps, luts, ffs, bram18, urams: hard blocks of the chip (Intel's 20 Kb blocks count as 10/9 of 18 Kb).
        logic_macs: multipliers that are made of LUTs beside those in DSP blocks.
        unit_luts, unit_ffs: LUTs and flip-flops beside each multiplier: its share of multiplexers, buffers' addresses and control.
        vector_lanes: multipliers of a separate unit for depthwise layers, 0 for none.
        control_cycles: what starting the engine on a tile costs.
        tile_rows, tile_cols: output pixels of a tile where the design fixes them, 0 where the best is chosen.
        overlap_transfers: whether the next tile is loaded while this one is computed.
        port_bytes: bytes per cycle that the ports between engine and DRAM carry, 0 where they are no limit.
        dram_bytes_per_s, dram_latency_s: peak bandwidth, and time to a layer's first word.
        burst_bytes, burst_overhead_bytes: longest burst, and what starting one costs in bytes.
        mac_energy_j: of one 16 x 16 bit MAC.
        sram_energy_j_per_bit, dram_energy_j_per_bit: of one bit read or written.
        static_power_w: leakage, clock tree and whatever of the board is counted.
    """

    name: str
    clock_hz: Quantity
    max_bits: int
    mac_style: EngineStyle = "dsp"
    dsp_type: DspName
    dsps: Count
    luts: Count
    ffs: Count
    bram18: Count
    urams: Quantity = 0.0
    logic_macs: Quantity = 0.0
    unit_luts: Quantity = 0.0
    unit_ffs: Quantity = 0.0
    vector_lanes: Quantity = 0.0
    control_cycles: Quantity = 0.0
    tile_rows: Quantity = 0.0
    tile_cols: Quantity = 0.0
    overlap_transfers: bool = True
    port_bytes: Quantity = 0.0
    dram_bytes_per_s: Quantity
    dram_latency_s: Quantity
    burst_bytes: Count
    burst_overhead_bytes: Quantity
    mac_energy_j: Quantity
    sram_energy_j_per_bit: Quantity
    dram_energy_j_per_bit: Quantity
    static_power_w: Quantity

    def __post_init__(self) -> None:
        check_parameters(self)

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    @property
    def floating(self) -> bool:
        """Whether the multipliers are single-precision."""
        return self.max_bits == FLOAT_BITS

    def packing(self, work: Operands) -> tuple[Floats, Floats]:
        """Products that a multiplier of ``max_bits`` yields at once at each layer's widths, and the cycles that it takes for them."""
        table = mac_table(self.mac_style, self.dsp_type)
        if self.floating:
            return np.ones(()), np.ones(())
        own = table.at(self.max_bits, self.max_bits)
        return (table.macs / own.macs)[work.weight_bits, work.activation_bits], table.passes[work.weight_bits, work.activation_bits]

    def with_vector_unit(self, work: Operands, computed: Computed) -> Computed:
        """The same with depthwise layers on the vector unit where that is faster."""
        lanes = np.asarray(self.vector_lanes, np.float64)
        depthwise = LayerShapes(work).depthwise
        if not (lanes > 0).any() or not depthwise.any():
            return computed
        alone = work.macs / np.maximum(lanes, _TINY)
        cycles = np.where(depthwise & (lanes > 0), np.minimum(computed.cycles, alone), computed.cycles)
        return replace(computed, cycles=cycles, peak=computed.peak + lanes)

    def priced(
        self, work: Operands, computed: Computed, lanes: Lanes, *, units: Number, fifo: Number = 0, growth: Number = 1.0
    ) -> CostReport:
        """The report.

        Args:
            work: the operands.
            computed: what the engine takes.
            lanes: what it computes at once, which shapes the buffers.
            units: its multipliers.
            fifo: 18 Kb blocks that are no buffer.
            growth: words of a weight in DRAM.
        """
        reserved = fused_blocks(work, lanes.rows) + fifo
        tiling = choose_tiling(self._memory(lanes, reserved), work, computed.cycles, weight_growth=growth)
        latency_s = tiling.cycles / self.clock_hz + self.dram_latency_s * work.used
        dram_bits = tiling.dram_bits
        energy_parts_j = {
            "mac": computed.multiplications * (self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)),
            "sram": self.sram_energy_j_per_bit * (computed.buffer_bits + dram_bits),
            "dram": self.dram_energy_j_per_bit * dram_bits,
            "static": self.static_power_w * latency_s,
        }
        return CostReport(
            names=work.workload.names,
            latency_s=latency_s,
            energy_parts_j=energy_parts_j,
            cycles=computed.cycles,
            utilization=work.macs / np.maximum(latency_s * (self.clock_hz * computed.peak), _TINY),
            dram_bytes=dram_bits / 8,
            resources=self._resources(units, (tiling.blocks + reserved * work.used).max(-1, initial=0)),
            limits=self._limits(),
            uncertainty=uncertainty("unrolled"),  # systolic arrays have none of their own: they share all but the cycles
        )

    def _memory(self, lanes: Lanes, reserved: Number) -> Memory:
        """What tiles are cut for, with the block RAMs that ``reserved`` leaves."""
        return Memory(
            lanes=lanes,
            blocks=self.bram18 + _URAM_BLOCKS * self.urams - reserved,
            bits_per_cycle=self._bits_per_cycle(),
            burst_bytes=self.burst_bytes,
            burst_overhead_bytes=self.burst_overhead_bytes,
            control_cycles=self.control_cycles,
            overlaps=self.overlap_transfers,
            tile_rows=self.tile_rows,
            tile_cols=self.tile_cols,
        )

    def _bits_per_cycle(self) -> Floats:
        """What DRAM and ports let through."""
        ports = np.where(np.asarray(self.port_bytes) > 0, self.port_bytes, np.inf)
        return np.asarray(8 * np.minimum(self.dram_bytes_per_s / self.clock_hz, ports))

    def _unit(self) -> MacUnit:
        """One multiplier of the widest format."""
        return mac_table(self.mac_style, self.dsp_type).at(self.max_bits, self.max_bits)

    def _resources(self, units: Number, blocks: Floats) -> dict[str, Floats]:
        """Hard blocks of multipliers and buffers; what block RAMs cannot hold goes to UltraRAMs."""
        unit, width = self._unit(), np.asarray(float(self.max_bits))
        inside = np.maximum(np.asarray(units) + self.vector_lanes - self.logic_macs, 0) / unit.macs
        logic = np.minimum(self.logic_macs, np.asarray(units))
        spilled = np.minimum(np.ceil(np.maximum(blocks - _per_candidate(self.bram18), 0) / _URAM_BLOCKS), _per_candidate(self.urams))
        needs = {
            "DSP": np.ceil(inside * unit.dsps),
            "LUT": inside * unit.luts + logic * lut_mac_luts(width, width) + units * self.unit_luts,
            "FF": inside * unit.ffs + logic * lut_mac_ffs(width, width) + units * self.unit_ffs,
        }
        memory = {"BRAM18": np.maximum(blocks - spilled * _URAM_BLOCKS, 0), "URAM": spilled}
        return {name: _per_candidate(need) for name, need in needs.items()} | memory

    def _limits(self) -> dict[str, Floats]:
        chip: dict[str, Number] = {"DSP": self.dsps, "LUT": self.luts, "FF": self.ffs, "BRAM18": self.bram18, "URAM": self.urams}
        return {name: _per_candidate(limit) for name, limit in chip.items()}


def _per_candidate(value: Number) -> Floats:
    """A number, or a parameter of one value per candidate (``b x 1``) as ``b``."""
    array = np.asarray(value, np.float64)
    return array[:, 0] if array.ndim == 2 else array
