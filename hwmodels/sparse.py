"""SparseAccelerator: ASICs that skip or gate the zeros of weights and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hwmodels.cost import CostReport, Floats
from hwmodels.imbalance import expected_maximum, irregularity, lane_steps, run_length_padding, slowest
from hwmodels.parameters import check_parameters
from hwmodels.technology import REFERENCE_BITS, mac_energy_scale
from hwmodels.traffic import Operands, offchip_bits
from hwmodels.workload import Workload

KIB: Final = 1024
GATED_SHARE: Final = 0.03  # of a MAC's energy that a gated MAC takes: 0.066 of 2.2 pJ (Accelergy's Eyeriss table)
_WEIGHT_MEMORY: Final = "KiB of weight memory"
_EIE_POINTER_BITS: Final = 16  # one per PE and column (Han et al., ISCA 2016)


@dataclass(frozen=True, eq=False)
class Mapped:
    """A layer on the processing elements.

    Attributes:
        cycles: of one matrix product, ``... x l``.
        active: share of the MACs that are executed, padding zeros included.
        energy: share of the MACs' energy that is spent, gated ones included.
        filters: output channels that are computed at once; the inputs are read once per such set.
        extra_weight_bits: stored beside the weights and their indices, of the whole layer.
    """

    cycles: Floats
    active: Floats
    energy: Floats
    filters: Floats | float
    extra_weight_bits: Floats | float = 0.0


@dataclass(frozen=True, kw_only=True)
class SparseAccelerator:
    """An array of processing elements (PEs) with a shared buffer and a DRAM, that knows about zeros.

    Modes:
        eie: skips zero weights and activations; rows of the weight matrix interleaved over PEs (Han et al., ISCA 2016).
        cambricon_x: skips zero weights; a filter per PE, ``lanes`` inputs at once (Zhang et al., MICRO 2016).
        cnvlutin: skips zero activations; ``lanes`` of inputs each feed ``pes`` filters (Albericio et al., ISCA 2016).
        eyeriss: row stationary, gates MACs with zero activations, saves no time; ``pes`` rows of ``lanes`` (Chen et al., ISCA 2016).

    Bits are fixed in time: narrow operands save energy and memory, not cycles. Latency is the longer of computing and transferring.

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
        static_power_w: leakage and clock tree.
        area_mm2: of the chip.
        fifo_depth: ``eie`` only: activations queued before each PE.
        run_bits: ``eie`` only: bits of the zero run before each weight; a longer run costs a stored zero.
    """

    name: str
    mode: Literal["eie", "cambricon_x", "cnvlutin", "eyeriss"]
    pes: int
    lanes: int
    clock_hz: float
    max_bits: int
    buffer_bytes: float
    weights_on_chip: bool
    dram_bytes_per_s: float
    mac_energy_j: float
    register_energy_j: float
    noc_energy_j: float
    buffer_energy_j: float
    dram_energy_j: float
    static_power_w: float
    area_mm2: float
    fifo_depth: int = 8
    run_bits: int = 4

    def __post_init__(self) -> None:
        check_parameters(self)

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """None: digital arithmetic is exact."""

    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        mapped = _MODES[self.mode](self, work)
        cycles = mapped.cycles * work.runs
        stored = work.packed_weights + mapped.extra_weight_bits
        dram_bits = self._dram_bits(work, stored)
        busy_s = np.maximum(cycles / self.clock_hz, dram_bits / (8 * self.dram_bytes_per_s))
        latency_s = np.broadcast_to(busy_s, workload.shape)
        peak = self.pes * self.lanes * self.clock_hz
        executed = work.macs * mapped.active
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=self._energy_parts_j(work, mapped, stored, dram_bits) | {"static": self.static_power_w * latency_s},
            cycles=cycles,
            utilization=np.minimum(executed / np.maximum(latency_s * peak, np.finfo(float).tiny), 1),
            dram_bytes=dram_bits / 8,
            area_mm2=np.asarray(self.area_mm2),
            resources={_WEIGHT_MEMORY: np.asarray(stored.sum(-1) / (8 * KIB))} if self.weights_on_chip else {},
            limits={_WEIGHT_MEMORY: self.buffer_bytes / KIB} if self.weights_on_chip else {},
        )

    def _dram_bits(self, work: Operands, stored: Floats) -> Floats:
        if self.weights_on_chip:
            return (work.inputs + work.outputs) * work.workload.repeats
        return offchip_bits(work, self.buffer_bytes * 8 / 2) + (stored - work.packed_weights) * work.workload.repeats

    def _energy_parts_j(self, work: Operands, mapped: Mapped, stored: Floats, dram_bits: Floats) -> dict[str, Floats]:
        """Joules by level of the memory hierarchy: registers per executed MAC, buffer and network per set of filters."""
        executed = work.macs * mapped.energy
        index_bits = work.workload.index_bits
        # one weight with its index and one activation are read, one partial sum is read and written
        register_bits = work.stored_weight_bits + index_bits + work.activation_bits + 2 * REFERENCE_BITS
        input_reads = np.ceil(work.n / mapped.filters)
        fetched = np.zeros(()) if self.weights_on_chip else stored  # weights that live in the PEs cross no network
        moved = (work.inputs * input_reads + fetched + work.outputs) * work.workload.repeats / REFERENCE_BITS
        return {
            "mac": executed * (self.mac_energy_j * mac_energy_scale(work.weight_bits, work.activation_bits)),
            "register": executed * (self.register_energy_j / REFERENCE_BITS * register_bits),
            "noc": self.noc_energy_j * moved,
            "buffer": self.buffer_energy_j * (moved + dram_bits / REFERENCE_BITS),
            "dram": self.dram_energy_j / REFERENCE_BITS * dram_bits,
        }


def _eie(device: SparseAccelerator, work: Operands) -> Mapped:
    """``J max(mu (1 + z cv (D**-1.75 + J**-0.5)), 1)``: J broadcast activations, mu entries per PE and column.

    The two terms in the bracket, the FIFO depth D and the end of the run, are fitted to a FIFO simulation.
    """
    density = np.clip(work.workload.weight_density, 1e-6, 1)  # an empty column still divides by its entries below
    rows = np.ceil(work.n / device.pes)
    padding = run_length_padding(rows, density, index_bits=device.run_bits)
    columns = work.m * work.k * work.workload.activation_density
    variation = np.sqrt((1 - density) / np.maximum(rows * density, density)) * irregularity(work.workload)
    waiting = expected_maximum(device.pes) * variation * (device.fifo_depth**-1.75 + np.maximum(columns, 1) ** -0.5)
    mean = np.minimum(rows * density + padding, rows)
    entries = np.minimum(np.maximum(mean * (1 + waiting), 1), rows)
    share = mean / np.maximum(rows, 1) * work.workload.activation_density
    stored_columns = device.pes * work.k * work.workload.groups * work.used
    overhead = stored_columns * (_EIE_POINTER_BITS + padding * (work.stored_weight_bits + device.run_bits))
    return Mapped(columns * entries, share, share, np.maximum(work.n, 1), overhead)


def _cambricon_x(device: SparseAccelerator, work: Operands) -> Mapped:
    """A filter per PE, its non-zero weights ``lanes`` at a time; the PEs wait for the fullest filter."""
    density, irregular = work.workload.weight_density, irregularity(work.workload)
    fullest = slowest(work.k * density, density, units=device.pes, most=work.k, irregular=irregular)
    steps = lane_steps(fullest, lanes=device.lanes, most=work.k, irregular=irregular)
    return Mapped(work.m * np.ceil(work.n / device.pes) * steps, density, density, device.pes)


def _cnvlutin(device: SparseAccelerator, work: Operands) -> Mapped:
    """A lane per slice of the inputs, ``pes`` filters at once; the lanes of a window wait for the fullest slice."""
    density = work.workload.activation_density
    slices = np.ceil(work.k / device.lanes)
    fullest = slowest(slices * density, density, units=device.lanes, most=slices)
    return Mapped(work.m * np.ceil(work.n / device.pes) * np.maximum(fullest, np.minimum(slices, 1)), density, density, device.pes)


def _eyeriss(device: SparseAccelerator, work: Operands) -> Mapped:
    """A PE convolves one kernel row with one input row; kernel rows stack vertically, output rows lie side by side.

    Alexnet's layers keep 154, 135, 156, 156 and 156 of 12 x 14 PEs busy this way, as measured.
    """
    layer = work.workload
    stacks = np.maximum(np.floor(device.pes / layer.kernel_h), 1)
    folds = np.ceil(layer.kernel_h / device.pes)
    strips = np.ceil(layer.out_h / device.lanes)
    row_sets = layer.batch * strips * folds * work.n * (layer.in_channels // layer.groups) * work.used
    spent = layer.activation_density + GATED_SHARE * (1 - layer.activation_density)
    cycles = np.ceil(row_sets / stacks) * layer.out_w * layer.kernel_w
    return Mapped(np.asarray(cycles, np.float64), np.ones(()), spent, np.asarray(stacks, np.float64))


_MODES: Final[dict[str, Callable[[SparseAccelerator, Operands], Mapped]]] = {
    "eie": _eie,
    "cambricon_x": _cambricon_x,
    "cnvlutin": _cnvlutin,
    "eyeriss": _eyeriss,
}
