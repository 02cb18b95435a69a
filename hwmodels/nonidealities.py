"""What a crossbar does to the numbers it computes, as plain data that an accuracy model applies to weights and activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.converters import lossless_bits
from hwmodels.cost import Floats
from hwmodels.parameters import Count, Quantity


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A population of resistive cells and the wires between them; arrays are ``b x 1``.

    Attributes:
        bits: in one cell.
        differential: whether a pair of cells holds a signed value.
        sigma: standard deviation of a programmed conductance over the largest one, and the three coefficients of
            ``offset + linear g - curvature g**2`` with ``g = G / G_max``.
        stuck: fractions that are stuck at the smallest and at the largest conductance.
        on_ohm: smallest resistance.
        on_off_ratio: largest over smallest conductance.
        drift_nu, drift_start_s, age_s: exponent of the drift ``G (t / t0)**-nu``, its ``t0``, and the time since programming.
        wire_ohm: of the wire between two cells.
    """

    bits: Count
    differential: bool
    sigma: tuple[Quantity, Quantity, Quantity, Quantity]
    stuck: tuple[Quantity, Quantity]
    on_ohm: Quantity
    on_off_ratio: Quantity
    drift_nu: Quantity
    drift_start_s: Quantity
    age_s: Quantity
    wire_ohm: Quantity

    @property
    def mean_s(self) -> Floats:
        """Conductance in siemens of an average cell, halfway between off and on."""
        return np.asarray((1 + 1 / np.maximum(self.on_off_ratio, 1)) / (2 * np.maximum(self.on_ohm, 1e-3)))

    @property
    def drift_factor(self) -> Floats:
        """Conductance now over conductance as programmed: ``max(t / t0, 1)**-nu``."""
        ages = np.maximum(self.age_s / np.maximum(self.drift_start_s, 1e-12), 1)
        return np.asarray(ages ** -np.asarray(self.drift_nu, np.float64))

    def ir_drop(self, active_rows: Count, cols: Count) -> tuple[Floats, Floats]:
        """Share of a cell's voltage that is lost along the wires, for the average and for the farthest cell.

        First order in wire over cell resistance: with equal currents in all cells, the voltage along a wire of ``n`` cells falls by
        ``r G n**2 / 2`` up to its end and by ``r G n**2 / 3`` on average; row and column losses add up.
        """
        squares = np.asarray(active_rows, np.float64) ** 2 + np.asarray(cols, np.float64) ** 2
        load = self.wire_ohm * self.mean_s * squares
        return np.minimum(load / 3, 1.0), np.minimum(load / 2, 1.0)


@dataclass(frozen=True, kw_only=True)
class Converters:
    """What drives the rows and reads the columns; arrays are ``b x 1``.

    Attributes:
        active_rows, cols: rows that are read at once, columns of a crossbar.
        dac_bits, adc_bits: resolutions.
        flip_encoding: whether filters are stored inverted where that saves a bit of the sums.
        range_fraction: full scale of an analogue-to-digital converter over the largest sum.
    """

    active_rows: Count
    cols: Count
    dac_bits: Count
    adc_bits: Count
    flip_encoding: bool
    range_fraction: Quantity

    def sums(self, cell_bits: Count) -> tuple[Floats, Floats, Floats]:
        """Lossless resolution, and range and step of the converter in units of one cell level times one input level.

        Inverted filters halve the largest sum (Shafiee et al., ISAAC, ISCA 2016).
        """
        saved = 1 if self.flip_encoding else 0
        levels = np.asarray(self.active_rows, np.float64) * (np.exp2(cell_bits) - 1) * (np.exp2(self.dac_bits) - 1)
        largest = levels / 2**saved * self.range_fraction
        step = np.maximum(largest / (np.exp2(self.adc_bits) - 1), 1)
        return lossless_bits(self.active_rows, cell_bits, self.dac_bits) - saved, np.asarray(largest), step


def disturbances(cells: Cells, converters: Converters) -> Mapping[str, float]:
    """What disturbs the numbers; an array of parameters becomes a list.

    Cells, each drawn on its own: ``programming_sigma`` (over the largest conductance) or, where they are not all 0,
    ``sigma_offset + sigma_linear g - sigma_curvature g**2`` of ``g = G / G_max``; ``stuck_off``, ``stuck_on`` (fractions);
    ``on_off_ratio``; ``drift_nu``, and ``drift_factor`` of every conductance at the cells' age; ``ir_drop_mean``, ``ir_drop_worst``
    (fractions of the voltage); ``cell_bits``; ``differential`` (0 or 1).

    Converters: ``dac_bits``, ``adc_bits``, ``lossless_adc_bits``, ``active_rows``; ``adc_range``, at which a sum is clipped, and
    ``adc_step``, to which it is rounded, in units of one cell level times one input level.
    """
    mean_drop, worst_drop = cells.ir_drop(converters.active_rows, converters.cols)
    lossless, full_scale, step = converters.sums(cells.bits)
    constant, offset, linear, curvature = cells.sigma
    values: dict[str, ArrayLike] = {
        "programming_sigma": constant,
        "sigma_offset": offset,
        "sigma_linear": linear,
        "sigma_curvature": curvature,
        "stuck_off": cells.stuck[0],
        "stuck_on": cells.stuck[1],
        "on_off_ratio": cells.on_off_ratio,
        "drift_nu": cells.drift_nu,
        "drift_factor": cells.drift_factor,
        "ir_drop_mean": mean_drop,
        "ir_drop_worst": worst_drop,
        "cell_bits": cells.bits,
        "differential": int(cells.differential),
        "dac_bits": converters.dac_bits,
        "adc_bits": converters.adc_bits,
        "lossless_adc_bits": lossless,
        "active_rows": converters.active_rows,
        "adc_range": full_scale,
        "adc_step": step,
    }
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: ArrayLike) -> Any:
    """A Python number, or a list of them where there is one for each candidate."""
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.ravel().tolist()
