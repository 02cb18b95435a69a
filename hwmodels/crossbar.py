"""Crossbar: chips that multiply in RRAM crossbars, with bit slicing and analogue-to-digital conversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.batching import in_chunks
from hwmodels.converters import adc_area_scale, adc_energy_scale, pulse_train
from hwmodels.cost import CostReport, Floats
from hwmodels.crossbar_mapping import Placement, RowMapping, place
from hwmodels.crossbar_parameters import CrossbarParameters
from hwmodels.crossbar_timing import Steps, pipelined_s
from hwmodels.nonidealities import disturbances
from hwmodels.traffic import Operands
from hwmodels.uncertainty import uncertainty
from hwmodels.workload import Workload

_WORD_BITS: Final = 256  # buffer, router and bus figures are stated per 256 bits (Shafiee et al., ISCA 2016)


class Crossbar(CrossbarParameters):
    """A chip of RRAM crossbars that holds the weights of a network (Shafiee et al., "ISAAC", ISCA 2016).

    A weight of b bits takes ``ceil(b / cell_bits)`` cells, twice as many where cells are differential. A layer of ``k`` inputs
    and ``n`` filters takes ``ceil(k / rows) * ceil(n * cells / cols)`` crossbars. Inputs come in slices of ``dac_bits``, or as a
    train of pulses that is integrated before it is converted. Nothing leaves the chip between layers: DRAM traffic is 0.
    Single zeros save nothing; fewer channels, lower ranks, fewer bits, and rows that are zero in every filter save crossbars and steps.

    Layers follow each other, or overlap where the device is ``pipelined``. A network beyond the chip is infeasible, or, where
    the device may ``swap``, programs every crossbar anew in each pass.
    """

    def nonidealities(self, workload: Workload) -> Mapping[str, float]:
        """What disturbs the numbers, the same for every workload; see `nonidealities.disturbances`."""
        return disturbances(self.cells, self.converters)

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        placed = self._place(workload)
        steps = self._steps(placed)
        needed = np.asarray(self._occupied(placed).sum(-1, keepdims=True))
        swaps = self.swap & (needed > self.crossbars)
        writing_s = np.where(swaps, self._writing_s(placed), 0.0) if self.swap else 0.0
        serial_s = self._serial_s(placed, steps) + writing_s
        latency_s = np.where(swaps, serial_s, pipelined_s(workload, serial_s)) if self.pipelined else serial_s
        static_w = self.static_power_w + self.crossbar_leakage_w * np.minimum(needed, self.crossbars)
        crossbars = np.maximum(placed.crossbars * (self.rows * self.cols), 1)
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j=self._energy_parts_j(placed, steps, swaps) | {"static": static_w * latency_s},
            cycles=placed.rounds * steps.reads * workload.repeats,
            utilization=placed.cells / crossbars,
            dram_bytes=np.zeros(workload.shape),
            area_mm2=self._area_mm2(placed, needed),
            resources={"crossbars": np.where(swaps, np.minimum(needed, self.crossbars), needed)},
            limits={"crossbars": np.asarray(self.crossbars, np.float64)},
            uncertainty=uncertainty("crossbar"),
        )

    def throughput_hz(self, workload: Workload) -> Floats:
        """Images per second of a stream: the slowest layer where layers are pipelined, else all layers one after another, ``...``."""
        placed = self._place(workload)
        serial_s = self._serial_s(placed, self._steps(placed))
        seconds = serial_s.max(-1, initial=0) if self.pipelined else serial_s.sum(-1)
        images = np.broadcast_to(workload.batch, workload.shape).max(-1, initial=1)
        return np.asarray(images / np.maximum(seconds, np.finfo(np.float64).tiny))

    def crossbar_area_parts_mm2(self) -> dict[str, Floats]:
        """Silicon of one crossbar by part: ``cells``, ``drivers``, ``columns``, ``adc``, ``other``."""
        adc = self.adc_area_mm2 * adc_area_scale(self.adc, self.adc_bits, self.adc_reference_bits)
        parts = {
            "cells": self.cell_area_mm2 * self.rows * self.cols,
            "drivers": self.driver_area_mm2 * self.rows,
            "columns": self.column_area_mm2 * self.cols,
            "adc": adc * self.adcs,
            "other": self.crossbar_overhead_mm2,
        }
        return {name: np.asarray(value, np.float64) for name, value in parts.items()}

    def _place(self, workload: Workload) -> Placement:
        return place(Operands(workload, self.max_bits), self.layout)

    def _occupied(self, placed: Placement) -> Floats:
        """Crossbars that one copy of each layer keeps from the others."""
        return np.asarray(placed.tiles * self.crossbars_per_tile if self.whole_tiles else placed.crossbars)

    def _steps(self, placed: Placement) -> Steps:
        """What a matrix-vector product takes: input slices times groups of rows that are read at once."""
        row_groups = np.ceil(placed.rows_used / self.active_rows)
        converted = placed.columns_used / (1 if self.separate_slices else placed.pair)
        mux = np.minimum(converted, np.ceil(self.cols / self.adcs)) if self.wired_mux else np.ceil(converted / self.adcs)
        bits = placed.work.activation_bits
        if self.drive == "pulse_train":
            planes, phases = pulse_train(bits, self.phase_bits)
            return Steps(planes, planes, planes * row_groups, planes * row_groups, phases * row_groups, mux)
        slices = np.ceil(bits / self.dac_bits)
        reads = slices * row_groups
        return Steps(slices, slices if self.overlapped else slices * mux, reads, reads, reads, mux)

    def _product_s(self, steps: Steps) -> Floats:
        """Seconds of one matrix-vector product on its crossbars."""
        clockwork = self.clockwork
        if self.drive == "pulse_train":
            return clockwork.integrated(steps)
        return clockwork.overlapped(steps) if self.overlapped else clockwork.one_by_one(steps)

    def _serial_s(self, placed: Placement, steps: Steps) -> Floats:
        """Each layer alone: per image ``ceil(pixels / copies) * product`` and the adder tree over row tiles; transfers over the bus."""
        work, workload = placed.work, placed.work.workload
        adders_s = np.ceil(np.log2(placed.row_tiles)) * self.add_s
        latency_s = placed.rounds * self._product_s(steps) + workload.batch * work.used * adders_s
        if np.any(self.access_s) or np.any(self.input_transfer_s) or np.any(self.output_transfer_s):
            input_s = _fresh_bits(placed, self.mapping) * (self.input_transfer_s / _WORD_BITS)
            output_s = workload.out_channels * work.activation_bits * (self.output_transfer_s / _WORD_BITS)
            latency_s = latency_s + work.m * (self.access_s + input_s + output_s)
        return np.broadcast_to(latency_s * (workload.repeats * self.delay_scale), workload.shape)

    def _writing_s(self, placed: Placement) -> Floats:
        """Programming a layer row by row, all crossbars of the chip at once."""
        return np.asarray(np.ceil(placed.crossbars / self.crossbars) * placed.rows_used * self.write_s)

    def _area_mm2(self, placed: Placement, needed: Floats) -> Floats:
        """Crossbars and tiles that one copy of the network takes; never more than the chip has where weights are swapped."""
        one = sum(self.crossbar_area_parts_mm2().values()) + self.tile_area_mm2 / self.crossbars_per_tile
        crossbars = np.minimum(needed, self.crossbars) if self.swap else needed
        return np.asarray(crossbars * one + self.links_area_mm2)

    def _energy_parts_j(self, placed: Placement, steps: Steps, swaps: NDArray[np.bool_]) -> dict[str, Floats]:
        """Joules by part. Rows and columns that hold no weights are not driven and not converted."""
        work = placed.work
        products = work.m * work.runs
        columns = placed.columns / placed.pair * placed.row_tiles  # the two cells of a pair are subtracted before they are converted
        conversions = products * steps.conversions * columns
        routed_bits = (work.inputs + work.outputs) * work.workload.repeats
        window_bits = products * placed.k * work.activation_bits
        if self.mapping == "kernel_position":
            window_bits = work.m * work.workload.repeats * _fresh_bits(placed, self.mapping)
        writes = np.where(swaps, 1.0, 1 / self.passes_per_write) if self.swap else 1 / self.passes_per_write
        operations = {
            "dac": self.dac_energy_j * products * steps.drives * placed.k * placed.column_tiles,
            "array": self.cell_energy_j * products * steps.slices * placed.k * (placed.columns + self.guard_bits * work.n),
            "sample_hold": self.sample_hold_energy_j * products * steps.samples * columns,
            "adc": self.adc_energy_j * adc_energy_scale(self.adc, self.adc_bits, self.adc_reference_bits) * conversions,
            "shift_add": self.shift_add_energy_j * conversions,
            "edram": self.edram_energy_j / _WORD_BITS * (window_bits + routed_bits),
            "router": self.router_energy_j / _WORD_BITS * routed_bits,
        }
        scale = self.energy_scale
        scaled = operations if np.all(scale == 1) else {part: joules * scale for part, joules in operations.items()}
        return scaled | {"writing": self.write_energy_j * writes * placed.cells}


def _fresh_bits(placed: Placement, mapping: RowMapping) -> Floats:
    """Bits of input that a window does not share with the one before it, all groups together.

    Crossbars that hold one kernel position each also hand inputs on from one row of windows to the next.
    """
    workload = placed.work.workload
    share = np.minimum(workload.stride, workload.kernel_w) / workload.kernel_w
    if mapping == "kernel_position":
        share = share * (np.minimum(workload.stride, workload.kernel_h) / workload.kernel_h)
    return np.asarray(placed.k * workload.groups * share * placed.work.activation_bits)
