"""SparseAccelerator: ASICs that skip or gate the zeros of weights and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np

from hwmodels.batching import in_chunks
from hwmodels.cost import CostReport
from hwmodels.errors import DeviceError, WorkloadError
from hwmodels.formats import Format, PackedOperands
from hwmodels.imbalance import Floats
from hwmodels.mapped import Mapped
from hwmodels.parameters import Count, Quantity, check_parameters
from hwmodels.row_stationary import RowStationary, eyeriss
from hwmodels.skipping import cambricon_x, cnvlutin, eie, eyeriss_v2, scnn
from hwmodels.technology import REFERENCE_BITS, mac_energy_scale
from hwmodels.tensor_core import dual_side, n_m
from hwmodels.traffic import Operands, offchip_bits
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Op, Workload

KIB: Final = 1024
WEIGHT_MEMORY: Final = "KiB of weight memory"

Mode: TypeAlias = Literal["eie", "cambricon_x", "cnvlutin", "scnn", "eyeriss", "eyeriss_v2", "n_m", "dstc"]


@dataclass(frozen=True, kw_only=True)
class SparseAccelerator:
    """An array of processing elements (PEs) with a shared buffer and a DRAM, that knows about zeros.

    Modes (the equations are in `skipping`, `row_stationary` and `tensor_core`):
        eie: skips zero weights and activations of fully connected layers, the only ones that it runs.
        cambricon_x: skips zero weights; a filter per PE, ``lanes`` inputs at once.
        cnvlutin: skips zero activations; ``lanes`` of inputs each feed ``pes`` filters.
        scnn: skips both in convolutions; ``weight_lanes`` weights meet ``lanes / weight_lanes`` activations.
        eyeriss: row stationary, gates MACs with zero activations, saves no time; ``pes`` rows of ``lanes``.
        eyeriss_v2: skips both, a pair of non-zeros per lane.
        n_m: skips N:M group patterns exactly and nothing else.
        dstc: skips both in blocks of packed bitmap vectors.

    Bits are fixed in time: narrow operands save energy and memory, not cycles. Latency is the longer of computing and transferring;
    in mode ``eyeriss`` only weights travel while it computes, and the maps before and after.

    Attributes:
        name: the device's name.
        mode: see above.
        pes, lanes: processing elements, and multipliers in each (for ``eyeriss`` rows and columns of the array).
        clock_hz: of the PEs.
        max_bits: widest format; wider networks are priced at this width.
        buffer_bytes: on-chip memory that operands are kept in.
        weights_on_chip: whether weights stay in the buffer; then they cause no DRAM traffic and must fit.
        dram_bytes_per_s: bandwidth.
        mac_energy_j: of one 16 x 16 bit MAC.
        register_energy_j, noc_energy_j, buffer_energy_j, dram_energy_j: of moving one 16-bit word.
        static_power_w: leakage and clock tree, of all but the PEs.
        area_mm2: of all but the PEs and the buffer.
        pe_power_w, pe_area_mm2: leakage, clock tree and area of one multiplier with its registers.
        byte_area_mm2: area of a byte of buffer.
        weight_format, map_format: how weights and feature maps are stored, see `formats`.
        run_bits, map_run_bits: bits of a zero run before each weight or activation; a longer run costs a stored zero. For ``n_m``
            ``run_bits`` is the width of a position.
        fifo_depth: ``eie`` only: activations queued before each PE.
        weight_lanes: ``scnn`` and ``dstc``: the side of the multiplier array that weights enter.
        accumulators: ``scnn`` only: partial sums that a PE holds.
        kept_fraction: ``n_m`` only: N/M.
        spad_weights: ``eyeriss_v2`` only: weights that a PE holds.
        correlation_fraction: ``eyeriss_v2`` only: correlation of non-zero weights with non-zero activations.
        spad_filters, spad_inputs: ``eyeriss`` only: filters and input words in a PE.
        input_bank_bytes: ``eyeriss`` only: part of the buffer that holds the input rows of one pass.
        filter_buffer_bytes: ``eyeriss`` only: part of the buffer through which weights stream.
        bus_words, filter_bus_words: ``eyeriss`` only: 16-bit words per cycle of the partial-sum and the filter bus.
    """

    name: str
    mode: Mode
    pes: Count
    lanes: Count
    clock_hz: Quantity
    max_bits: int
    buffer_bytes: Quantity
    weights_on_chip: bool
    dram_bytes_per_s: Quantity
    mac_energy_j: Quantity
    register_energy_j: Quantity
    noc_energy_j: Quantity
    buffer_energy_j: Quantity
    dram_energy_j: Quantity
    static_power_w: Quantity
    area_mm2: Quantity
    pe_power_w: Quantity = 0.0
    pe_area_mm2: Quantity = 0.0
    byte_area_mm2: Quantity = 0.0
    weight_format: Format = "bitmask"
    map_format: Format = "dense"
    run_bits: Count = 4
    map_run_bits: Count = 4
    fifo_depth: Count = 8
    weight_lanes: int = 4
    accumulators: Count = 1024
    kept_fraction: float = 0.5
    spad_weights: Count = 192
    correlation_fraction: Quantity = 0.05
    spad_filters: Count = 16
    spad_inputs: Count = 12
    input_bank_bytes: Quantity = 4096.0
    filter_buffer_bytes: Quantity = 8192.0
    bus_words: Quantity = 8.0
    filter_bus_words: Quantity = 4.0

    def __post_init__(self) -> None:
        check_parameters(self)
        if self.mode == "dstc" and (isinstance(self.lanes, np.ndarray) or self.lanes % self.weight_lanes):
            raise DeviceError(f"`lanes` of mode 'dstc' must be one multiple of `weight_lanes` {self.weight_lanes}, but is {self.lanes}.")

    @property
    def supports(self) -> frozenset[Op]:
        """The layers that the device can run."""
        return frozenset({Op.LINEAR}) if self.mode == "eie" else frozenset(Op)

    @property
    def array(self) -> RowStationary:
        """The array of mode ``eyeriss``."""
        word_bytes = REFERENCE_BITS / 8
        kept = self.buffer_bytes - self.filter_buffer_bytes - self.input_bank_bytes
        return RowStationary(
            rows=self.pes,
            cols=self.lanes,
            spad_filters=self.spad_filters,
            spad_inputs=self.spad_inputs,
            buffer_words=np.maximum(kept, word_bytes) / word_bytes,
            bank_words=self.input_bank_bytes / word_bytes,
            bus_words=self.bus_words,
            filter_bus_words=self.filter_bus_words,
        )

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    def packed(self, workload: Workload) -> PackedOperands:
        """The operands of a workload in the device's formats."""
        formats = {"weight_format": self.weight_format, "map_format": self.map_format}
        runs = {"run_bits": self.run_bits, "map_run_bits": self.map_run_bits}
        return PackedOperands(workload, self.max_bits, **formats, **runs, n_m=self.kept_fraction)  # type: ignore[arg-type]

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate.

        Raises:
            WorkloadError: if the device cannot run a layer.
        """
        self._check_layers(workload)
        work = self.packed(workload)
        mapped = _MODES[self.mode](self, work)
        stored = work.packed_weights + mapped.extra_weight_bits
        weight_bits, map_bits = self._offchip_bits(work, mapped, stored)
        weight_s, map_s = (bits / (8 * self.dram_bytes_per_s) for bits in (weight_bits, map_bits))
        cycles = mapped.cycles * workload.repeats
        compute_s = cycles / self.clock_hz
        busy_s = np.maximum(compute_s, weight_s) + map_s if self.mode == "eyeriss" else np.maximum(compute_s, weight_s + map_s)
        latency_s = np.broadcast_to(busy_s, np.broadcast_shapes(workload.shape, np.shape(busy_s)))
        multipliers = self.pes * self.lanes
        executed = work.macs * mapped.active
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=self._energy_parts_j(work, mapped, stored, weight_bits + map_bits)
            | {"static": np.asarray((self.static_power_w + self.pe_power_w * multipliers) * latency_s)},
            cycles=cycles,
            utilization=np.minimum(executed / np.maximum(latency_s * (multipliers * self.clock_hz), np.finfo(float).tiny), 1),
            dram_bytes=(weight_bits + map_bits) / 8,
            area_mm2=np.asarray(self.area_mm2 + self.pe_area_mm2 * multipliers + self.byte_area_mm2 * self.buffer_bytes),
            resources={WEIGHT_MEMORY: np.asarray(stored.sum(-1) / (8 * KIB))} if self.weights_on_chip else {},
            limits={WEIGHT_MEMORY: self.buffer_bytes / KIB} if self.weights_on_chip else {},
            uncertainty=uncertainty("sparse"),
        )

    def _check_layers(self, workload: Workload) -> None:
        if self.mode != "eie":
            return
        foreign = workload.used & (workload.op != Op.LINEAR)
        if foreign.any():
            layer = workload.names[np.argwhere(foreign)[0][-1]]
            raise WorkloadError(
                f"Device '{self.name}' runs fully connected layers only, but layer '{layer}' is a convolution; "
                "price it on scnn or eyeriss_v2."
            )

    def _offchip_bits(self, work: Operands, mapped: Mapped, stored: Floats) -> tuple[Floats, Floats]:
        """Bits of weights and of feature maps that cross the off-chip bus, all runs."""
        repeats = work.workload.repeats
        if self.weights_on_chip:
            return np.zeros(()), (work.inputs * work.from_dram + work.outputs * work.to_dram) * repeats
        if mapped.map_bits is not None:
            return stored * mapped.weight_loads * repeats, mapped.map_bits * repeats
        # the better loop order reads one operand once and the other several times: which of them does not matter here
        return (stored - work.packed_weights) * repeats, offchip_bits(work, self.buffer_bytes * 8 / 2)

    def _energy_parts_j(self, work: Operands, mapped: Mapped, stored: Floats, dram_bits: Floats) -> dict[str, Floats]:
        """Joules by level of the memory hierarchy: registers per executed MAC, buffer and network per read of the inputs."""
        executed = work.macs * mapped.energy
        # one weight and one activation are read, one partial sum is read and written
        register_bits = work.stored_weight_bits + work.activation_bits + 2 * REFERENCE_BITS
        fetched = 0.0 if self.weights_on_chip else stored  # weights that live in the PEs cross no network
        words = (work.inputs * mapped.input_reads + fetched + work.outputs) / REFERENCE_BITS
        repeats = work.workload.repeats
        return {
            "mac": executed * (self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)),
            "register": executed * (self.register_energy_j / REFERENCE_BITS * register_bits),
            "noc": self.noc_energy_j * ((words + mapped.partial_words + mapped.hops) * repeats),
            "buffer": self.buffer_energy_j * ((words + mapped.partial_words) * repeats + dram_bits / REFERENCE_BITS),
            "dram": self.dram_energy_j / REFERENCE_BITS * dram_bits,
        }


_MODES: Final[Mapping[str, Callable[[SparseAccelerator, Operands], Mapped]]] = MappingProxyType(
    {
        "eie": lambda device, work: eie(work, pes=device.pes, fifo_depth=device.fifo_depth, run_bits=device.run_bits),
        "cambricon_x": lambda device, work: cambricon_x(work, pes=device.pes, lanes=device.lanes),
        "cnvlutin": lambda device, work: cnvlutin(work, pes=device.pes, lanes=device.lanes),
        "scnn": lambda device, work: scnn(
            work, pes=device.pes, lanes=device.lanes, weight_lanes=device.weight_lanes, accumulators=device.accumulators
        ),
        "eyeriss": lambda device, work: eyeriss(work, array=device.array),
        "eyeriss_v2": lambda device, work: eyeriss_v2(
            work, pes=device.pes, lanes=device.lanes, spad_weights=device.spad_weights, correlation=device.correlation_fraction
        ),
        "n_m": lambda device, work: n_m(work, pes=device.pes, lanes=device.lanes, kept=device.kept_fraction),
        "dstc": lambda device, work: dual_side(work, pes=device.pes, lanes=int(device.lanes), weight_lanes=device.weight_lanes),
    }
)
