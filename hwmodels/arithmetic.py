"""How many products a multiplier computes per cycle, and at what energy, for every pair of widths."""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwmodels.technology import composable_energy_pj, mac_energy_pj
from hwmodels.workload import WIDEST

Floats = NDArray[np.float64]
MacName = Literal["parallel", "composable", "stochastic"]
MacTable: TypeAlias = tuple[Floats, Floats, Floats]


@cache
def mac_table(mac: MacName, unit_bits: int, brick_bits: int) -> MacTable:
    """Products per unit and pass, passes per product, and energy of a product at 45 nm in pJ, ``33 x 33`` by weight and activation bits.

    Args:
        mac: kind of multiplier (see `hwmodels.dense.DenseAccelerator`).
        unit_bits: width of one multiplier.
        brick_bits: width of the bricks of a composable one.

    Returns:
        Three tables that are not to be changed. The energy of a stochastic product depends on the length of its streams; it is 0 here.
    """
    weight = np.arange(WIDEST + 1, dtype=np.float64)[:, None]
    activation = np.arange(WIDEST + 1, dtype=np.float64)
    ones = np.ones((WIDEST + 1, WIDEST + 1))
    if mac == "stochastic":
        return ones, np.exp2(np.maximum(weight, activation)), 0 * ones
    passes = np.maximum(np.ceil(weight / unit_bits), 1) * np.maximum(np.ceil(activation / unit_bits), 1)
    if mac == "parallel":
        return ones, passes, mac_energy_pj(weight, activation)
    gain = _parts(weight, unit_bits, brick_bits) * _parts(activation, unit_bits, brick_bits)
    return gain, passes, composable_energy_pj(unit_bits, brick_bits) * passes / gain


def _parts(bits: Floats, unit_bits: int, brick_bits: int) -> Floats:
    """Operands of a width that lie side by side in a unit; widths are rounded up to bricks times a power of two."""
    bricks = np.exp2(np.ceil(np.log2(np.maximum(bits / brick_bits, 1))))
    return np.maximum(unit_bits / (bricks * brick_bits), 1)
