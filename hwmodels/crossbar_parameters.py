"""The parameters of a crossbar chip, what they mean, and the rules between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hwmodels.converters import AdcKind, adc_time_scale
from hwmodels.crossbar_mapping import Duplication, Layout, RowMapping
from hwmodels.crossbar_timing import Clockwork
from hwmodels.errors import DeviceError
from hwmodels.nonidealities import Cells, Converters
from hwmodels.parameters import Count, Quantity, check_parameters

_WIDE: Final = 2**20  # crossbars beside each other in a tile whose shape does not matter


@dataclass(frozen=True, kw_only=True)
class CrossbarParameters:
    """A chip of RRAM crossbars as a device file describes it.

    Attributes:
        name: the device's name.
        rows, cols: cells of one crossbar.
        cell_bits: bits in one cell.
        differential, sign_in_pair, mapping, separate_slices, duplication: see `Layout`.
        drive: ``bit_serial``, slices of ``dac_bits``; or ``pulse_train``, see `converters.pulse_train`.
        dac_bits: bits of an input that are applied at once.
        phase_bits: bit planes of a pulse train beyond which it is split into two phases.
        active_rows: rows that are read at once.
        adc: kind of the converters.
        adc_bits: resolution of a converter; what it costs is stated at ``adc_reference_bits``.
        adcs: converters of one crossbar, shared by its columns.
        wired_mux: whether a converter serves neighbouring columns, so that a narrow matrix keeps few of them busy; else columns are
            spread over all converters.
        overlapped: whether a read is converted while the next one is sampled.
        guard_bits: where a chain of adders below the cells sums up digitally: bits of a sum beyond those of a weight; else 0.
        flip_encoding: whether filters are stored inverted where that saves a bit of the sums (ISAAC).
        crossbars: on the chip.
        crossbars_per_tile, tile_cols, whole_tiles: of a tile, all and beside each other, and whether a layer has its tiles for itself.
        pipelined, swap: whether layers overlap, and whether weights may be exchanged within a pass.
        max_bits: widest format; wider networks are priced at this width.
        read_s: one analogue read with sample and hold, or the integration of one bit plane.
        conversion_s: one conversion.
        setup_s: precharge and control of a product, or of a phase.
        add_s: one level of the tree that adds the sums of row tiles.
        access_s: start of the transfers that belong to one output pixel.
        input_transfer_s, output_transfer_s: 256 bits over the bus that the copies of a layer share.
        write_s: programming one row.
        dac_energy_j: driving one row once.
        cell_energy_j: of one cell in one read; of one bit of an adder where cells add up digitally.
        sample_hold_energy_j, shift_add_energy_j: of one column in one sample and one conversion.
        adc_energy_j: of one conversion.
        edram_energy_j, router_energy_j: of 256 bits.
        write_energy_j: of programming one cell once.
        passes_per_write: images over which one programming is spread, so that its energy has a place in the price of an image.
        supply_v, nominal_supply_v, threshold_v: all other figures are those at the nominal supply. At another one, times change by
            ``(nominal - threshold) / (supply - threshold)`` and the energy of operations by ``(supply / nominal)**2``.
        static_power_w, crossbar_leakage_w: of the chip, and of each crossbar that is in use.
        cell_area_mm2, driver_area_mm2, column_area_mm2, adc_area_mm2: one cell, row driver, column circuit, converter.
        crossbar_overhead_mm2, tile_area_mm2, links_area_mm2: registers and adders of a crossbar; buffer, bus and router of a tile;
            what the chip has once.
        programming_sigma: standard deviation of a programmed conductance over the largest one.
        sigma_offset, sigma_linear, sigma_curvature: the same as ``offset + linear g - curvature g**2`` of ``g = G / G_max``,
            instead of one number.
        stuck_off_fraction, stuck_on_fraction: cells that cannot be programmed.
        on_ohm, on_off_ratio, drift_nu, drift_start_s, age_s, wire_ohm: see `Cells`; the smallest resistance of a cell.
        adc_range_fraction: full scale of a converter over the largest sum; larger sums are clipped.
    """

    name: str
    rows: Count
    cols: Count
    cell_bits: Count
    differential: bool
    dac_bits: Count
    active_rows: Count
    adc_bits: Count
    adcs: Count
    crossbars: Count
    max_bits: int
    read_s: Quantity
    conversion_s: Quantity
    add_s: Quantity
    dac_energy_j: Quantity
    cell_energy_j: Quantity
    sample_hold_energy_j: Quantity
    adc_energy_j: Quantity
    shift_add_energy_j: Quantity
    edram_energy_j: Quantity
    router_energy_j: Quantity
    write_energy_j: Quantity
    passes_per_write: Count
    static_power_w: Quantity
    cell_area_mm2: Quantity
    adc_area_mm2: Quantity
    programming_sigma: Quantity
    stuck_off_fraction: Quantity
    stuck_on_fraction: Quantity
    on_off_ratio: Quantity
    sign_in_pair: bool = False
    mapping: RowMapping = "unrolled"
    separate_slices: bool = False
    duplication: Duplication = "chip"
    drive: Literal["bit_serial", "pulse_train"] = "bit_serial"
    phase_bits: Count = 32
    adc: AdcKind = "sar"
    adc_reference_bits: Count = 8
    wired_mux: bool = False
    overlapped: bool = True
    guard_bits: Quantity = 0.0
    flip_encoding: bool = False
    crossbars_per_tile: Count = 1
    tile_cols: Count = _WIDE
    whole_tiles: bool = False
    pipelined: bool = False
    swap: bool = False
    setup_s: Quantity = 0.0
    access_s: Quantity = 0.0
    input_transfer_s: Quantity = 0.0
    output_transfer_s: Quantity = 0.0
    write_s: Quantity = 0.0
    crossbar_leakage_w: Quantity = 0.0
    supply_v: Quantity = 1.0
    nominal_supply_v: Quantity = 1.0
    threshold_v: Quantity = 0.0
    driver_area_mm2: Quantity = 0.0
    column_area_mm2: Quantity = 0.0
    crossbar_overhead_mm2: Quantity = 0.0
    tile_area_mm2: Quantity = 0.0
    links_area_mm2: Quantity = 0.0
    sigma_offset: Quantity = 0.0
    sigma_linear: Quantity = 0.0
    sigma_curvature: Quantity = 0.0
    on_ohm: Quantity = 25_000.0
    drift_nu: Quantity = 0.0
    drift_start_s: Quantity = 20.0
    age_s: Quantity = 0.0
    wire_ohm: Quantity = 0.0
    adc_range_fraction: Quantity = 1.0

    def __post_init__(self) -> None:
        check_parameters(self)
        for part, whole in (("active_rows", "rows"), ("adcs", "cols")):
            parts, wholes = getattr(self, part), getattr(self, whole)
            if np.any(parts > wholes):
                raise DeviceError(f"`{part}` must be at most `{whole}`, but is {np.max(parts)} of {np.min(wholes)}.")
        if np.any(np.minimum(self.supply_v, self.nominal_supply_v) <= self.threshold_v):
            raise DeviceError(
                f"`supply_v` and `nominal_supply_v` must be above `threshold_v`, but are {self.supply_v}, {self.nominal_supply_v} V."
            )
        if self.sign_in_pair and not self.differential:
            raise DeviceError("`sign_in_pair` needs a pair of cells, but `differential` is false; set both or neither.")

    @property
    def layout(self) -> Layout:
        """How weights are placed."""
        return Layout(
            rows=self.rows,
            cols=self.cols,
            cell_bits=self.cell_bits,
            differential=self.differential,
            sign_in_pair=self.sign_in_pair,
            mapping=self.mapping,
            separate_slices=self.separate_slices,
            duplication=self.duplication,
            crossbars=self.crossbars,
            crossbars_per_tile=self.crossbars_per_tile,
            tile_cols=self.tile_cols,
        )

    @property
    def clockwork(self) -> Clockwork:
        """Times of the parts, conversions at the resolution of the converters."""
        conversion_s = self.conversion_s * adc_time_scale(self.adc, self.adc_bits, self.adc_reference_bits)
        return Clockwork(read_s=self.read_s, conversion_s=conversion_s, setup_s=self.setup_s)

    @property
    def delay_scale(self) -> Quantity:
        """Times at the supply over times at the nominal one: gates drive with what the supply is above the threshold."""
        return (self.nominal_supply_v - self.threshold_v) / (self.supply_v - self.threshold_v)

    @property
    def energy_scale(self) -> Quantity:
        """Energy of an operation at the supply over that at the nominal one: ``C V**2``."""
        return (self.supply_v / self.nominal_supply_v) ** 2

    @property
    def cells(self) -> Cells:
        """The cells and the wires between them."""
        return Cells(
            bits=self.cell_bits,
            differential=self.differential,
            sigma=(self.programming_sigma, self.sigma_offset, self.sigma_linear, self.sigma_curvature),
            stuck=(self.stuck_off_fraction, self.stuck_on_fraction),
            on_ohm=self.on_ohm,
            on_off_ratio=self.on_off_ratio,
            drift_nu=self.drift_nu,
            drift_start_s=self.drift_start_s,
            age_s=self.age_s,
            wire_ohm=self.wire_ohm,
        )

    @property
    def converters(self) -> Converters:
        """The converters around the cells."""
        return Converters(
            active_rows=self.active_rows,
            cols=self.cols,
            dac_bits=self.dac_bits,
            adc_bits=self.adc_bits,
            flip_encoding=self.flip_encoding,
            range_fraction=self.adc_range_fraction,
        )
