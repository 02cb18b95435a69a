"""What the hard blocks of an FPGA hold: multiply-accumulates per DSP slice, bits per block RAM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DspName = Literal["dsp48e1", "dsp48e2"]

BRAM18_BITS: Final = 18 * 1024  # Xilinx UG573: an 18 Kb block with its parity bits

# Bits between two packed products: 2**3 products are summed before the fields are pulled apart (recalled: WP486 packs INT8 with 2,
# WP521 packs INT4 with 3; 3 reproduces both limits, 8 x 8 and 4 x 4 bit).
_GUARD_BITS: Final = 3


@dataclass(frozen=True)
class Dsp:
    """A DSP slice by the widths of its multiplier ports in bits."""

    wide: int
    narrow: int

    def macs_per_cycle(self, weight_bits: int, activation_bits: int) -> int:
        """Products that fit side by side in one multiplication.

        Two products share one operand (Nguyen et al., ISCAS 2017; Xilinx WP486), four are the cross products of two weights and
        two activations (Xilinx WP521). ``dsp48e2``: 4 up to 4 x 4 bit, 2 up to 8 x 8 bit, else 1.
        """
        narrow, wide = sorted((weight_bits, activation_bits))
        spacing = weight_bits + activation_bits + _GUARD_BITS
        if 2 * spacing + narrow <= self.wide and spacing + wide <= self.narrow:
            return 4
        if spacing + narrow <= self.wide and wide <= self.narrow:
            return 2
        return 1

    def slices(self, weight_bits: int, activation_bits: int) -> int:
        """Multiplications that one MAC is split into; 1 up to the port widths."""
        narrow, wide = sorted((weight_bits, activation_bits))
        return -(-wide // self.wide) * -(-narrow // self.narrow)


DSPS: Final[dict[str, Dsp]] = {
    "dsp48e1": Dsp(wide=25, narrow=18),  # 7 series, Xilinx UG479
    "dsp48e2": Dsp(wide=27, narrow=18),  # UltraScale and UltraScale+, Xilinx UG579
}


@cache
def packing_tables(dsp: str, max_bits: int) -> tuple[Floats, Floats]:
    """MACs per multiplication and multiplications per MAC, indexed by [weight_bits, activation_bits]."""
    widths = range(max_bits + 1)
    macs = np.array([[DSPS[dsp].macs_per_cycle(w, a) for a in widths] for w in widths], np.float64)
    slices = np.array([[DSPS[dsp].slices(max(w, 1), max(a, 1)) for a in widths] for w in widths], np.float64)
    return macs, slices
