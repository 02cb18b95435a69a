"""Energy per operation in published technologies, and how the energy of a multiply-accumulate follows its width."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm, 0.9 V. The 8-bit integer and 16-bit floating-point entries and
# the 1 MB memory are recalled, the others confirmed in a second source.
HOROWITZ_45NM_PJ: Final = {
    "int8_add": 0.03,
    "int32_add": 0.1,
    "int8_multiply": 0.2,
    "int32_multiply": 3.1,
    "float16_add": 0.4,
    "float16_multiply": 1.1,
    "sram_8kb_64b": 10.0,
    "sram_1mb_64b": 100.0,
}

# Yang et al. (nn_dataflow) after Chen et al., "Eyeriss", ISCA 2016: 65 nm, per 16-bit operation or word.
EYERISS_65NM_PJ: Final = {"mac": 2.0, "register_file": 1.0, "inter_pe": 4.0, "global_buffer": 15.0, "dram": 460.0}

# Width at which devices state the energy of one MAC, and of a partial sum on its way between two folds.
REFERENCE_BITS: Final = 16
ACCUMULATOR_BITS: Final = 32

# Share of the multiplier in a 16-bit MAC: a quarter of Horowitz' 32-bit multiplier beside half of his 32-bit adder.
_MULTIPLIER_J: Final = HOROWITZ_45NM_PJ["int32_multiply"] / 4
_ADDER_J: Final = HOROWITZ_45NM_PJ["int32_add"] / 2
MULTIPLIER_SHARE: Final = _MULTIPLIER_J / (_MULTIPLIER_J + _ADDER_J)


def mac_energy_scale(weight_bits: ArrayLike, activation_bits: ArrayLike) -> NDArray[np.float64]:
    """Energy of a MAC relative to 16 x 16 bit: the multiplier goes with ``bw * ba``, the adder with ``bw + ba``.

    Args:
        weight_bits: width of one operand; any shapes that broadcast.
        activation_bits: width of the other.

    Returns:
        The factor, 1 at 16 x 16 bit. At 8 x 8 bit it is 0.27, Horowitz' own entries give 0.28.
    """
    weight, activation = np.asarray(weight_bits, np.float64), np.asarray(activation_bits, np.float64)
    product = MULTIPLIER_SHARE / REFERENCE_BITS**2 * weight * activation
    return np.asarray(product + (1 - MULTIPLIER_SHARE) / (2 * REFERENCE_BITS) * (weight + activation))
