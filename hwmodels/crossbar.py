"""Crossbar: chips that multiply in RRAM crossbars, with bit slicing and analogue-to-digital conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from hwmodels.cost import CostReport, Floats
from hwmodels.errors import DeviceError
from hwmodels.parameters import check_parameters
from hwmodels.traffic import Operands
from hwmodels.workload import Workload

_WORD_BITS: Final = 256  # eDRAM and router energies are stated per 256 bits (Shafiee et al., ISCA 2016)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a workload lies on crossbars, arrays ``... x l``.

    Attributes:
        work: the operands.
        columns_per_weight: cells beside each other that hold one weight.
        row_tiles, column_tiles: crossbars that one copy of one group's matrix spans.
        crossbars: of one copy of the whole layer.
        copies: duplicates that work on different output pixels.
    """

    work: Operands
    columns_per_weight: Floats
    row_tiles: Floats
    column_tiles: Floats
    crossbars: Floats
    copies: Floats

    @cached_property
    def columns(self) -> Floats:
        """Cells in a row of one group's matrix."""
        return self.work.n * self.columns_per_weight


@dataclass(frozen=True, kw_only=True)
class Crossbar:
    """A chip of RRAM crossbars that holds all weights of a network at once (Shafiee et al., "ISAAC", ISCA 2016).

    A weight of b bits takes ``ceil(b / cell_bits)`` cells of a row, twice as many where cells are differential. A layer of ``k`` inputs
    and ``n`` filters takes ``ceil(k / rows) * ceil(n * cells / cols)`` crossbars; small groups of one layer share a crossbar along
    its diagonal. Inputs come in slices of ``dac_bits``. Spare crossbars hold copies of layers with many output pixels.

    One image passes layer by layer: latencies add up. Layers that overlap as in ISAAC, and pipelined images, raise the throughput
    beyond ``1 / total_latency_s``, which is a bound from below. Nothing leaves the chip between layers: DRAM traffic is 0.
    Single zeros save nothing; fewer channels, lower ranks and fewer bits save rows, columns and steps.

    Attributes:
        name: the device's name.
        rows, cols: cells of one crossbar.
        cell_bits: bits in one cell.
        differential: whether a pair of cells holds a signed value.
        dac_bits: bits of an input that are applied at once.
        active_rows: rows that are read at once.
        adc_bits: resolution of a converter.
        adcs: converters of one crossbar, shared by its columns.
        crossbars: on the chip.
        max_bits: widest format; wider networks are priced at this width.
        read_s: one analogue read with sample and hold.
        conversion_s: one conversion.
        add_s: one level of the tree that adds the sums of row tiles.
        dac_energy_j: of one input slice on one row of one crossbar.
        cell_energy_j: of one cell in one read.
        sample_hold_energy_j, adc_energy_j, shift_add_energy_j: of one column in one read.
        edram_energy_j, router_energy_j: of 256 bits.
        write_energy_j: of programming one cell once.
        passes_per_write: images over which one programming is spread, so that its energy has a place in the price of an image.
        static_power_w: leakage and links.
        crossbar_area_mm2: one crossbar with its share of the periphery.
        programming_sigma: standard deviation of a programmed conductance over the largest one.
        stuck_off_fraction, stuck_on_fraction: cells that cannot be programmed.
        on_off_ratio: largest over smallest conductance.
    """

    name: str
    rows: int
    cols: int
    cell_bits: int
    differential: bool
    dac_bits: int
    active_rows: int
    adc_bits: int
    adcs: int
    crossbars: int
    max_bits: int
    read_s: float
    conversion_s: float
    add_s: float
    dac_energy_j: float
    cell_energy_j: float
    sample_hold_energy_j: float
    adc_energy_j: float
    shift_add_energy_j: float
    edram_energy_j: float
    router_energy_j: float
    write_energy_j: float
    passes_per_write: int
    static_power_w: float
    crossbar_area_mm2: float
    programming_sigma: float
    stuck_off_fraction: float
    stuck_on_fraction: float
    on_off_ratio: float

    def __post_init__(self) -> None:
        check_parameters(self)
        for part, whole in (("active_rows", "rows"), ("adcs", "cols")):
            if getattr(self, part) > getattr(self, whole):
                raise DeviceError(f"`{part}` must be at most `{whole}`, but is {getattr(self, part)} of {getattr(self, whole)}.")

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """What disturbs the numbers: cells, converters and how many rows one conversion sums; the same for every workload."""
        return {
            "programming_sigma": self.programming_sigma,
            "stuck_off": self.stuck_off_fraction,
            "stuck_on": self.stuck_on_fraction,
            "on_off_ratio": self.on_off_ratio,
            "cell_bits": self.cell_bits,
            "dac_bits": self.dac_bits,
            "adc_bits": self.adc_bits,
            "lossless_adc_bits": self.lossless_adc_bits,
            "active_rows": self.active_rows,
        }

    @property
    def lossless_adc_bits(self) -> int:
        """Resolution that loses nothing: ``ceil(log2(rows_on (2**cell_bits - 1) (2**dac_bits - 1) + 1))``."""
        levels: int = self.active_rows * (2**self.cell_bits - 1) * (2**self.dac_bits - 1)
        return levels.bit_length()

    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        placed = self._place(Operands(workload, self.max_bits))
        work = placed.work
        reads = self._reads(work)
        latency_s = self._latency_s(placed, reads)
        needed = np.asarray(placed.crossbars.sum(-1))
        cells = work.k * placed.columns * work.workload.groups
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=self._energy_parts_j(placed, reads) | {"static": self.static_power_w * latency_s},
            cycles=np.ceil(work.m / placed.copies) * reads * work.workload.repeats,
            utilization=cells / np.maximum(placed.crossbars * (self.rows * self.cols), 1),
            dram_bytes=np.zeros(workload.shape),
            area_mm2=needed * self.crossbar_area_mm2,
            resources={"crossbars": needed},
            limits={"crossbars": self.crossbars},
        )

    def _place(self, work: Operands) -> Placement:
        """Crossbars of one copy, and as many copies as the chip's spare crossbars allow, in proportion to output pixels."""
        per_weight = np.ceil(work.weight_bits / self.cell_bits) * (2 if self.differential else 1)
        k, columns = np.maximum(work.k, 1), np.maximum(work.n * per_weight, 1)
        row_tiles, column_tiles = np.ceil(k / self.rows), np.ceil(columns / self.cols)
        sharing = np.maximum(np.minimum(np.floor(self.rows / k), np.floor(self.cols / columns)), 1)
        crossbars = np.broadcast_to(np.ceil(work.workload.groups / sharing) * row_tiles * column_tiles * work.used, work.workload.shape)
        demand = np.maximum((crossbars * work.m).sum(-1, keepdims=True), 1)
        spare = np.maximum(self.crossbars - crossbars.sum(-1, keepdims=True), 0)
        copies = 1 + np.minimum(np.floor(spare / demand * work.m), np.maximum(work.m - 1, 0))
        return Placement(work, per_weight, row_tiles, column_tiles, crossbars, copies)

    def _reads(self, work: Operands) -> Floats:
        """Analogue reads of one matrix-vector product: input slices times groups of rows that are read at once."""
        row_groups = np.ceil(np.minimum(work.k, self.rows) / self.active_rows)
        return np.ceil(work.activation_bits / self.dac_bits) * row_groups

    def _latency_s(self, placed: Placement, reads: Floats) -> Floats:
        """``ceil(m / copies) * reads * max(read, columns per converter * conversion)``, then the adder tree over row tiles."""
        work = placed.work
        converted = np.minimum(placed.columns, self.cols)
        read_s = np.maximum(self.read_s, np.ceil(converted / self.adcs) * self.conversion_s)
        adders_s = np.ceil(np.log2(np.maximum(placed.row_tiles, 1))) * self.add_s
        latency_s = (np.ceil(work.m / placed.copies) * reads * read_s + adders_s * work.used) * work.workload.repeats
        return np.broadcast_to(latency_s, work.workload.shape)

    def _energy_parts_j(self, placed: Placement, reads: Floats) -> dict[str, Floats]:
        """Joules by part. Rows and columns that hold no weights are not driven and not converted."""
        work = placed.work
        slices = np.ceil(work.activation_bits / self.dac_bits)
        products = work.m * work.runs
        conversions = products * reads * placed.columns * placed.row_tiles
        cells = work.k * placed.columns
        routed_bits = (work.inputs + work.outputs) * work.workload.repeats
        window_bits = products * work.k * work.activation_bits
        return {
            "dac": self.dac_energy_j * products * slices * work.k * placed.column_tiles,
            "array": self.cell_energy_j * products * slices * cells,
            "sample_hold": self.sample_hold_energy_j * conversions,
            "adc": self.adc_energy_j * conversions,
            "shift_add": self.shift_add_energy_j * conversions,
            "edram": self.edram_energy_j / _WORD_BITS * (window_bits + routed_bits),
            "router": self.router_energy_j / _WORD_BITS * routed_bits,
            "writing": self.write_energy_j / self.passes_per_write * cells * work.workload.groups * placed.work.used,
        }
