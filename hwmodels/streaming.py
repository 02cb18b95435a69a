"""StreamingDataflow: an FPGA on which every layer has an engine of its own, and images stream through all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.batching import in_chunks
from hwmodels.cost import CostReport, Floats
from hwmodels.folding import Engines, Folding, shortest
from hwmodels.fpga import LUTRAM_DEPTH, SYNTHESIZED, URAM_WIDTH, DspName, MacStyle, MacUnit, bram18_blocks, mac_table, uram_blocks
from hwmodels.parameters import Count, Quantity, check_parameters
from hwmodels.technology import mac_energy_scale
from hwmodels.traffic import Operands, boundary_bits
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Workload

# Control of one engine (Blott et al., FINN-R, TRETS 2018; so in Xilinx' FINN).
_ENGINE_LUTS: Final = 300.0
# Address counter of a block RAM (assumed). A memory one weight wide takes no fewer LUTs when it outgrows them.
_ADDRESS_LUTS: Final = 16.0
_TINY: Final = np.finfo(float).tiny
_SERIAL: Final = ("bit_serial", "composable")


@dataclass(frozen=True, kw_only=True)
class StreamingDataflow:
    """A dataflow design (FINN, Umuroglu et al., FPGA 2017): one engine per layer, all weights on chip, feature maps in streams.

    The folding is chosen per candidate: the shortest interval between two images for which the engines fit in LUTs, DSP blocks
    and block RAMs, every engine as small as that interval allows. A network that does not fit at all gets the smallest engines and
    is infeasible. Zeros are computed; what removes channels or narrows weights makes engines smaller, and so the whole faster.

    How a pass is timed: a stage is the reading of the first kernel rows, and the engine's cycles; the first and last stage take at
    least their transfer from and to DRAM. An image waits in each stage for the rows that the next one needs, then for the rest of
    the stage that has most left. Where engines take over whole maps, that is the sum of all stages. Every further image of a batch
    follows one interval, the longest stage, later. The pass is split over the layers as their waiting is. Thus the throughput is
    ``batch / latency`` at a large batch, or ``1 / interval_s(workload)``.

    Attributes:
        name: the device's name.
        mac_style: see `hwmodels.fpga.mac_table`; ``auto`` gives the DSP blocks to the layers where they save most LUTs each.
        clock_hz: of the engines.
        max_bits: widest format that the device computes; wider networks are priced at this width.
        slice_bits: ``composable`` only: width of one slice.
        parallel_windows: whether multipliers may share out the positions of a kernel; FINN's first window unit passes one per cycle.
        row_pipelining: whether an engine starts with the rows of its first kernel position; otherwise with the whole map.
        dsp_type, dsps, luts, ffs, bram18, urams: the chip.
        routed_fraction: share of the LUTs that a design can fill and still reach the clock.
        dram_bytes_per_s: of the images that stream in and the results that stream out.
        mac_energy_j: of one 16 x 16 bit MAC in a DSP block.
        lut_energy_j: of one LUT of a multiplier in one cycle.
        sram_energy_j_per_bit, dram_energy_j_per_bit: of one bit read or written.
        static_power_w: leakage, clock tree and host.
    """

    name: str
    mac_style: MacStyle
    clock_hz: Quantity
    max_bits: int
    dsp_type: DspName
    dsps: Count
    luts: Count
    ffs: Count
    bram18: Count
    routed_fraction: Quantity
    dram_bytes_per_s: Quantity
    mac_energy_j: Quantity
    lut_energy_j: Quantity
    sram_energy_j_per_bit: Quantity
    dram_energy_j_per_bit: Quantity
    static_power_w: Quantity
    urams: Quantity = 0.0
    slice_bits: int = 2
    parallel_windows: bool = False
    row_pipelining: bool = False

    def __post_init__(self) -> None:
        check_parameters(self)

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    def interval_s(self, workload: Workload) -> Floats:
        """Seconds between two images, ``...``: the inverse of the throughput."""
        one, two = (self.estimate(workload.replace(batch=np.full((), images))).total_latency_s for images in (1, 2))
        return np.asarray(two - one)

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        engines = self._engines(work)
        ordered = engines.by_saving() if self.mac_style == "auto" else engines
        interval = self._interval(ordered, (*workload.shape[:-1], 1))
        folding = engines.folded(interval)
        cycles = engines.cycles(folding) + _window(work)[0] * workload.repeats  # a pixel of the first window per cycle
        transferred = boundary_bits(work)
        stage_s = np.maximum(cycles / self.clock_hz, transferred / (8 * self.dram_bytes_per_s))
        interval_s = _longest(stage_s)
        latency_s = self._latency_s(workload, stage_s, interval_s)
        offered = folding.multipliers * (workload.batch * interval_s * self.clock_hz)
        needs = self._needs(ordered, ordered.folded(interval)) | {"FF": self._flip_flops(work, folding)}
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=self._energy_parts_j(work, folding, transferred * workload.batch) | {"static": self.static_power_w * latency_s},
            cycles=cycles * workload.batch,
            utilization=work.macs * self._passes(work) / np.maximum(offered, _TINY),
            dram_bytes=transferred * workload.batch / 8,
            resources={name: np.broadcast_to(need, interval.shape)[..., 0] for name, need in needs.items()},
            limits=self._limits(),
            uncertainty=uncertainty("streaming"),
        )

    def _latency_s(self, workload: Workload, stage_s: Floats, interval_s: Floats) -> Floats:
        """What each layer adds to the pass: its waiting, and by that its share of the rest of the pass."""
        waiting_s = stage_s * np.minimum(workload.kernel_h / workload.in_h, 1) if self.row_pipelining else stage_s
        rest_s = _longest(stage_s - waiting_s) + (workload.batch - 1) * interval_s
        return np.asarray(waiting_s * (1 + rest_s / np.maximum(_total(waiting_s), _TINY)))

    def _table(self, style: str | None = None) -> MacUnit:
        """Multipliers by width, of this design's style or of another."""
        return mac_table(style or self.mac_style, self.dsp_type, slice_bits=self.slice_bits)

    def _passes(self, work: Operands) -> Floats | float:
        """Cycles of one multiplication; a serial multiplier takes several."""
        return self._table().passes[work.weight_bits, work.activation_bits] if self.mac_style in _SERIAL else 1.0

    def _engines(self, work: Operands) -> Engines:
        layer = work.workload
        mac_luts, mac_dsps, saved_luts = self._multipliers(work)
        inputs, taps = layer.in_channels // layer.groups, layer.kernel_h * layer.kernel_w
        if self.parallel_windows:
            inputs, taps = inputs * taps, np.ones((), np.int64)
        rows, row_bits = _window(work)
        shallow = rows <= LUTRAM_DEPTH
        return Engines(
            inputs=np.asarray(inputs, np.float64),
            outputs=np.asarray(layer.out_channels, np.float64),
            steps=np.asarray(layer.out_h * layer.out_w * layer.repeats * taps * self._passes(work) * work.used),
            stored_bits=work.weights,
            read_bits=self._read_bits(work),
            mac_luts=mac_luts,
            mac_dsps=mac_dsps,
            saved_luts=saved_luts,
            lane_luts=SYNTHESIZED * _accumulator_bits(work) * (1 + work.activation_bits),
            fixed_luts=work.used * (_ENGINE_LUTS + np.where(shallow, row_bits, 0)),
            fixed_bram18=work.used * np.where(shallow, 0, bram18_blocks(rows, row_bits)),
        )

    def _multipliers(self, work: Operands) -> tuple[Floats, Floats, Floats]:
        """LUTs and DSP blocks of a multiplier, and the LUTs that it saves where it may be of either kind."""
        widths = work.weight_bits, work.activation_bits
        table = self._table("dsp" if self.mac_style == "auto" else self.mac_style)
        share = 1 / table.macs if self.mac_style in _SERIAL else 1 / table.rate
        luts, dsps = table.luts * share, table.dsps * share
        if self.mac_style != "auto":
            return luts[widths], dsps[widths], np.zeros(())
        in_luts = self._table("lut").luts
        saved = np.maximum(in_luts - luts, 0)
        return in_luts[widths], np.where(saved > 0, dsps, 0)[widths], saved[widths]

    def _read_bits(self, work: Operands) -> Floats:
        """Bits of its weight that a multiplier reads per cycle."""
        at_once = {"bit_serial": 1, "composable": self.slice_bits}.get(self.mac_style, self.max_bits)
        return np.asarray(np.minimum(work.stored_weight_bits, at_once), np.float64)

    def _interval(self, engines: Engines, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The shortest interval for which the engines of each candidate fit the chip."""

        def fits(interval: NDArray[np.int64]) -> NDArray[np.bool_]:
            needs, limits = self._needs(engines, engines.folded(interval)), self._limits()
            return np.asarray(reduce(np.logical_and, (need <= limits[name] for name, need in needs.items())))

        return shortest(fits, shape)

    def _needs(self, engines: Engines, folding: Folding) -> dict[str, Floats]:
        """What the whole design takes of the chip, ``... x 1``.

        Weights lie in LUTs where one LUT is as deep (FINN's SFC-max: 16 words in LUTs, LFC-max: 128 words in block RAMs; recalled).
        """
        luts, dsps = engines.logic(folding)
        if self.mac_style == "auto":
            wanted = dsps
            dsps = np.clip(self.dsps - np.cumsum(wanted, -1) + wanted, 0, wanted)
            luts = luts - dsps * (engines.saved_luts / np.maximum(engines.mac_dsps, _TINY))
        depth, width = engines.memory(folding)
        shallow = depth <= LUTRAM_DEPTH
        luts = luts + np.where(shallow, width, np.minimum(width, _ADDRESS_LUTS))
        blocks = _total(engines.fixed_bram18 + np.where(shallow, 0, bram18_blocks(depth, width)))
        needs = {"LUT": _total(luts), "DSP": _total(dsps), "BRAM18": blocks, "URAM": np.zeros(())}
        if np.any(self.urams):  # what block RAMs cannot hold goes to UltraRAMs, at the mean rate of all memories
            wide = np.maximum(width, URAM_WIDTH)  # a word may hold what several cycles read
            rate = _total(np.where(shallow, 0, uram_blocks(depth * width / wide, wide))) / np.maximum(blocks, 1)
            spilled = np.maximum(blocks - self.bram18, 0)
            needs |= {"BRAM18": blocks - spilled, "URAM": spilled * rate}
        return needs

    def _energy_parts_j(self, work: Operands, folding: Folding, offchip_bits: Floats) -> dict[str, Floats]:
        """Joules by part: the weights are read for every MAC, an input once for all lanes of its group."""
        shared = np.ceil(work.n / np.maximum(folding.lanes, 1)) / np.maximum(work.n, 1)
        buffer_bits = work.macs * (work.stored_weight_bits + work.activation_bits * shared)
        buffer_bits += (work.inputs + work.outputs) * work.workload.repeats
        return {
            "mac": work.macs * self._mac_energy_j(work),
            "sram": self.sram_energy_j_per_bit * buffer_bits,
            "dram": self.dram_energy_j_per_bit * offchip_bits,
        }

    def _mac_energy_j(self, work: Operands) -> Floats:
        """Joules of one MAC; under ``auto`` of the cheaper kind."""
        in_dsp = self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)
        if self.mac_style == "dsp":
            return in_dsp
        table = self._table("lut" if self.mac_style == "auto" else self.mac_style)
        in_luts = self.lut_energy_j * (table.luts / table.rate)[work.weight_bits, work.activation_bits]
        return np.asarray(np.minimum(in_dsp, in_luts) if self.mac_style == "auto" else in_luts)

    def _flip_flops(self, work: Operands, folding: Folding) -> Floats:
        """Registers behind the multipliers, and accumulators, ``... x 1``."""
        table = self._table("lut" if self.mac_style == "auto" else self.mac_style)
        of_multipliers = folding.multipliers * (table.ffs / table.macs)[work.weight_bits, work.activation_bits]
        return _total(of_multipliers + folding.lanes * _accumulator_bits(work))

    def _limits(self) -> dict[str, float | Floats]:
        chip = {"LUT": self.luts * self.routed_fraction, "FF": self.ffs, "DSP": self.dsps, "BRAM18": self.bram18, "URAM": self.urams}
        return {name: np.asarray(limit, np.float64) for name, limit in chip.items()}


def _total(array: Floats) -> Floats:
    return np.asarray(array.sum(-1, keepdims=True))


def _longest(array: Floats) -> Floats:
    return np.asarray(array.max(-1, keepdims=True, initial=0))


def _window(work: Operands) -> tuple[Floats, Floats]:
    """Depth and width of the memory that holds the rows under a kernel, a pixel per word; 0 where the kernel is one pixel."""
    layer = work.workload
    spatial = (layer.kernel_h * layer.kernel_w > 1) * work.used
    return spatial * (layer.kernel_h * layer.in_w), spatial * (layer.in_channels * work.activation_bits)


def _accumulator_bits(work: Operands) -> Floats:
    """Width of a sum of ``k`` products."""
    return np.asarray(work.weight_bits + work.activation_bits + np.ceil(np.log2(np.maximum(work.k, 1))))
