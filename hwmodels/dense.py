"""DenseAccelerator: ASICs that compute every product: TPU, DaDianNao, BitFusion, stochastic computing, arrays below stacked DRAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hwmodels.arithmetic import MacName, mac_table
from hwmodels.batching import in_chunks
from hwmodels.cost import CostReport, Floats
from hwmodels.errors import DeviceError
from hwmodels.loop_orders import SPILL_BITS, Streams, offchip_bits, power_of_two, tiled_axis
from hwmodels.parameters import Count, Quantity, check_parameters
from hwmodels.technology import (
    ACCUMULATOR_BITS,
    DRAMS,
    DramName,
    MemoryName,
    memory_energy_pj_per_bit,
    node_energy_scale,
    stochastic_energy_pj,
)
from hwmodels.traffic import Operands
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Workload

_PJ: Final = 1e-12
_MIB: Final = 2.0**20
_WEIGHT_MEMORY: Final = "MiB of weight memory"


@dataclass(frozen=True, eq=False)
class Mapped:
    """A layer on the array, ``... x l``.

    Attributes:
        steps: folds along the reduction.
        pixels: output pixels that are computed, edge tiles in full where tiles are fixed.
        weights: bits of the weights as they are moved.
        cycles: of the whole layer.
        dram_bits: between chip and DRAM.
        busy_s: seconds of computing or moving, whichever takes longer.
    """

    steps: Floats
    pixels: Floats
    weights: Floats
    cycles: Floats
    dram_bits: Floats
    busy_s: Floats

    def where(self, chosen: NDArray[np.bool_], other: Mapped) -> Mapped:
        """This where ``chosen``, else the other."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Mapped(**{name: np.where(chosen, mine, theirs) for name, (mine, theirs) in pairs.items()})


@dataclass(frozen=True, kw_only=True)
class DenseAccelerator:
    """``arrays`` of ``rows`` inputs x ``cols`` filters with a buffer per operand and a DRAM; zeros are computed like other numbers.

    The rows reduce inputs into a sum per column. A layer takes the longest of computing and moving its operands, whose tiles and
    loop order are the best of those in `hwmodels.loop_orders`. Several arrays divide pixels or filters, whichever is faster.
    Energies follow from the node, the widths and the buffer sizes by the laws of `hwmodels.technology`.

    Multipliers (``mac``):
        parallel: one product per cycle; operands wider than ``unit_bits`` take a pass for each part (TPU: half speed at 8 x 16 bit).
        composable: a unit of ``unit_bits`` falls apart into ``(unit / bw)(unit / ba)`` products along the rows, down to bricks of
            ``brick_bits``; wider operands take passes (BitFusion: Sharma et al., ISCA 2018).
        stochastic: a gate multiplies two streams of bits, a bit per cycle. Their length is 2**bits of the wider operand unless
            ``stream_length`` says otherwise. A shorter stream is faster but noisier: the error of a product has a standard
            deviation of up to ``1 / sqrt(length)``; it is not applied to the accuracy.

    Attributes:
        name: the device's name.
        mac: see above.
        rows, cols, arrays: multipliers.
        clock_hz: of the arrays.
        unit_bits, brick_bits, max_bits: width of one multiplier, of its bricks, and the widest format; wider networks are priced at it.
        stationary: whether weights are shifted into the array and stay for all pixels of a fold (systolic), else they are read from
            their buffer for every product. A fold then takes at least ``rows`` cycles, and weights are stored in tiles of the array.
        unroll: where whole patches are laid along the rows: ``never``, ``chip`` (any layer, by the array's input logic), or ``host``
            (the input of the first layer that is priced, each of whose pixels arrives once per patch that it is in).
        weight_buffer_bytes, input_buffer_bytes, output_buffer_bytes: on-chip memories, double-buffered.
        weight_banks, input_banks, output_banks: memories that each of them consists of.
        weight_memory: ``sram`` or ``edram``.
        weights_on_chip: whether all weights live in their buffer; then they cause no DRAM traffic and must fit.
        maps_on_chip: whether feature maps stay in the input buffer where input and output fit together.
        fixed_tiles: whether tiles hold the whole batch and edge tiles are computed and moved in full (loops of fixed length).
        wide_results: whether every pass reads sums (at first biases) and writes them at accumulator width.
        dram: kind of main memory; gives the energy per bit.
        dram_bytes_per_s: its bandwidth.
        overhead_fraction: of the time in which neither array nor memory bus works: hazards, synchronisation, host.
        node_nm: technology.
        static_power_w: leakage and clock tree.
        unit_area_mm2: of one multiplier with its share of the array; ``sram_area_mm2_per_mib`` of the buffers; ``other_area_mm2``.
        register_energy_j: of the registers beside a multiplier, per product of the widest operands; follows the widths.
        stream_length: ``stochastic`` only; 0: 2**bits.
    """

    name: str
    mac: MacName
    rows: Count
    cols: Count
    arrays: Count
    clock_hz: Quantity
    unit_bits: int
    max_bits: int
    stationary: bool
    unroll: Literal["never", "chip", "host"]
    weight_buffer_bytes: Quantity
    input_buffer_bytes: Quantity
    output_buffer_bytes: Quantity
    weights_on_chip: bool
    maps_on_chip: bool
    dram: DramName
    dram_bytes_per_s: Quantity
    node_nm: Quantity
    static_power_w: Quantity
    unit_area_mm2: Quantity
    sram_area_mm2_per_mib: Quantity
    other_area_mm2: Quantity
    weight_banks: Count = 1
    input_banks: Count = 1
    output_banks: Count = 1
    weight_memory: MemoryName = "sram"
    fixed_tiles: bool = False
    wide_results: bool = False
    overhead_fraction: float = 0.0
    brick_bits: int = 2
    register_energy_j: Quantity = 0.0
    stream_length: Quantity = 0.0

    def __post_init__(self) -> None:
        check_parameters(self)
        if self.overhead_fraction == 1:
            raise DeviceError("`overhead_fraction` must be below 1, or nothing is ever computed, but is 1.")
        if self.mac == "composable" and (self.unit_bits % self.brick_bits or not _is_power_of_two(self.unit_bits // self.brick_bits)):
            raise DeviceError(
                f"`unit_bits` must be a power of two times `brick_bits`, but unit_bits={self.unit_bits}, brick_bits={self.brick_bits}."
            )

    @property
    def units(self) -> Count:
        """Multipliers of all arrays."""
        return self.rows * self.cols * self.arrays

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: binary arithmetic is exact, and the noise of bit streams is not passed on (see ``mac``)."""

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        gain, passes, mac_j = self._multiplier(work)
        mapped = self._map(work, gain, passes)
        latency_s = np.broadcast_to(mapped.busy_s / (1 - self.overhead_fraction), workload.shape)
        peak = self.units * self.clock_hz * (gain / passes)
        energy_parts_j = {
            "mac": work.macs * mac_j,
            "register": work.macs * (work.weight_bits + work.activation_bits) * (self.register_energy_j / (2 * self.max_bits)),
            "sram": self._sram_j(work, mapped),
            "dram": mapped.dram_bits * DRAMS[self.dram].energy_j_per_bit,
            "static": latency_s * self.static_power_w,
        }
        weight_mib = (work.packed_weights / (8 * _MIB)).sum(-1) if self.weights_on_chip else None
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=energy_parts_j,
            cycles=mapped.cycles,
            utilization=np.minimum(work.macs / np.maximum(latency_s * peak, np.finfo(float).tiny), 1),
            dram_bytes=mapped.dram_bits / 8,
            area_mm2=self._area_mm2(),
            resources={} if weight_mib is None else {_WEIGHT_MEMORY: weight_mib},
            limits={} if weight_mib is None else {_WEIGHT_MEMORY: self.weight_buffer_bytes / _MIB},
            uncertainty=uncertainty("dense"),
        )

    def _multiplier(self, work: Operands) -> tuple[Floats, Floats, Floats]:
        """Products per unit and pass, passes (cycles) per product, and joules of one product."""
        table = mac_table(self.mac, self.unit_bits, self.brick_bits)
        gain, passes, energy_pj = (values[work.weight_bits, work.activation_bits] for values in table)
        if self.mac == "stochastic":
            passes = np.where(np.asarray(self.stream_length) > 0, self.stream_length, passes)
            energy_pj = stochastic_energy_pj(passes)
        return gain, passes, energy_pj * (_PJ * node_energy_scale(self.node_nm))

    def _map(self, work: Operands, gain: Floats, passes: Floats) -> Mapped:
        """The layer on the array."""
        if self.unroll != "host":
            return self._mapped(work, gain, passes, patches=self.unroll == "chip")
        plain, unrolled = (self._mapped(work, gain, passes, patches=patches) for patches in (False, True))
        return unrolled.where(np.cumsum(work.used, axis=-1) == 1, plain)  # the first layer that is used

    def _mapped(self, work: Operands, gain: Floats, passes: Floats, *, patches: bool) -> Mapped:
        """The layer with whole patches along the rows, or only input channels."""
        taps = np.asarray(work.workload.kernel_h * work.workload.kernel_w, np.float64)
        lanes = self.rows * gain
        steps = np.ceil(work.k / lanes) if patches else taps * np.ceil(work.k / taps / lanes)
        pixels, map_bits = self._tiled_map(work, moved_as_patches=patches and self.unroll == "host")
        cycles = steps * self._shared_cycles(work, pixels, passes) * work.runs
        if self.stationary:
            cycles = cycles + work.used * (self.rows + self.cols)
        weights = self._moved_weights(work, steps, gain)
        streams = self._streams(work, pixels, map_bits, weights, spread=np.ones(()) if patches else taps)
        dram_bits = self._dram_bits(streams) * work.workload.repeats
        busy_s = np.maximum(cycles / self.clock_hz, dram_bits / (8 * self.dram_bytes_per_s))
        return Mapped(steps, pixels, weights, cycles, dram_bits, busy_s)

    def _shared_cycles(self, work: Operands, pixels: Floats, passes: Floats) -> Floats:
        """Cycles of one fold of the reduction for all filters, the arrays sharing pixels or filters."""
        by_pixels = np.ceil(work.n / self.cols) * self._fold(np.ceil(pixels / self.arrays) * passes)
        by_filters = np.ceil(work.n / (self.cols * self.arrays)) * self._fold(pixels * passes)
        return np.minimum(by_pixels, by_filters) * work.used

    def _fold(self, computing: Floats) -> Floats:
        """Cycles of one fold: those of computing, but not fewer than the next weights need to be shifted in."""
        return np.maximum(computing, self.rows) if self.stationary else computing

    @property
    def _tile_pixels(self) -> Quantity:
        """Output pixels whose sums for one width of the array fill half of the output buffer."""
        return np.maximum(np.floor(self.output_buffer_bytes * (8 / 2 / ACCUMULATOR_BITS) / self.cols), 1)

    def _tiled_map(self, work: Operands, *, moved_as_patches: bool) -> tuple[Floats, Floats]:
        """Pixels that are computed, and bits of the inputs with the borders that neighbouring tiles both read.

        Tiles are squares of a power of two. Patches that arrive as such have no neighbours.
        """
        layer = work.workload
        channel_bits = layer.batch * layer.in_channels * work.activation_bits * work.used
        if moved_as_patches:
            patch_pixels = layer.out_h * layer.out_w * layer.kernel_h * layer.kernel_w
            return work.m, patch_pixels * channel_bits
        images = layer.batch if self.fixed_tiles else 1
        side = power_of_two(np.maximum(np.sqrt(self._tile_pixels / images), 1))
        rows, read_rows = tiled_axis(work, "h", side, fixed=self.fixed_tiles)
        columns, read_columns = tiled_axis(work, "w", side, fixed=self.fixed_tiles)
        return layer.batch * rows * columns * work.used, read_rows * read_columns * channel_bits

    def _moved_weights(self, work: Operands, steps: Floats, gain: Floats) -> Floats:
        """Bits of the weights as they are moved: packed, but a systolic array takes whole tiles of its own size, zeros included."""
        if not self.stationary:
            return work.packed_weights
        tiles = steps * np.ceil(work.n / self.cols) * work.workload.groups
        return tiles * (self.rows * self.cols) * gain * work.stored_weight_bits * work.used

    def _streams(self, work: Operands, pixels: Floats, map_bits: Floats, weights: Floats, *, spread: Floats) -> Streams:
        """What the layer moves, tiles along the reduction counted in units of ``spread`` weights."""
        outputs = pixels * work.n * work.workload.groups
        result_bits = outputs * (SPILL_BITS if self.wide_results else work.activation_bits)
        arriving, leaving = self._off_chip(work)
        return Streams(
            pixels=pixels,
            filters=work.n,
            depth=work.k / spread,
            spread=spread,
            groups=work.workload.groups,
            weight_bits=work.stored_weight_bits,
            weights=np.zeros(()) if self.weights_on_chip else weights,
            map_bits=map_bits,
            inputs=map_bits * arriving,
            outputs=outputs,
            result_bits=result_bits * leaving,
        )

    def _dram_bits(self, streams: Streams) -> Floats:
        """Bits between chip and DRAM; a tile fills half of a double buffer."""
        return offchip_bits(
            streams,
            weight_room=self.weight_buffer_bytes * 4,
            input_room=self.input_buffer_bytes * 4,
            tile_pixels=self._tile_pixels,
            columns=self.cols,
            fixed=self.fixed_tiles,
        )

    def _off_chip(self, work: Operands) -> tuple[Floats, Floats]:
        """1 where the inputs come from, and where the outputs go to DRAM, else 0."""
        if not self.maps_on_chip:
            return work.from_dram, work.to_dram
        spilled = np.where(work.inputs + work.outputs > 8 * self.input_buffer_bytes, 1.0, 0.0)
        return work.from_dram * spilled, work.to_dram * spilled

    def _sram_j(self, work: Operands, mapped: Mapped) -> Floats:
        """Joules of the buffers: weights per product (or per fold), inputs per width of the array, sums per fold of the reduction."""
        scale = _PJ * node_energy_scale(self.node_nm)
        weight_j = scale * memory_energy_pj_per_bit(self.weight_buffer_bytes / self.weight_banks, self.weight_memory)
        input_j = scale * memory_energy_pj_per_bit(self.input_buffer_bytes / self.input_banks)
        output_j = scale * memory_energy_pj_per_bit(self.output_buffer_bytes / self.output_banks)
        if self.stationary:
            weight_reads = mapped.weights * work.workload.repeats * np.ceil(mapped.pixels / self._tile_pixels)
        else:
            weight_reads = work.macs * work.weight_bits
        products = work.m * work.runs
        input_reads = products * work.k * np.ceil(work.n / self.cols) * work.activation_bits
        sums = products * work.n * mapped.steps * SPILL_BITS
        return np.asarray(weight_reads * weight_j + (input_reads + mapped.dram_bits) * input_j + sums * output_j)

    def _area_mm2(self) -> Floats:
        units = self.units * self.unit_area_mm2
        buffers = self.weight_buffer_bytes + self.input_buffer_bytes + self.output_buffer_bytes
        return np.asarray(units + buffers / _MIB * self.sram_area_mm2_per_mib + self.other_area_mm2)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
