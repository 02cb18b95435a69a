"""What an FPGA is made of: multiply-accumulate units out of DSP blocks or LUTs, and memories out of block RAMs.

Every table is indexed by ``[weight_bits, activation_bits]``, 0 to ``max_bits`` each, so that the widths of a whole workload are
looked up at once. 32 bit stands for single-precision floating point.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DspName = Literal["dsp48e1", "dsp48e2", "stratix5", "arria10"]
MacStyle = Literal["dsp", "lut", "bit_serial", "composable", "auto"]

BRAM18_BITS: Final = 18 * 1024  # Xilinx UG573: an 18 Kb block with its parity bits
URAM_WIDTH: Final = 72  # Xilinx UG573
URAM_DEPTH: Final = 4096
URAM_BITS: Final = URAM_WIDTH * URAM_DEPTH
LUTRAM_DEPTH: Final = 64  # words of one bit that a six-input LUT holds

FLOAT_BITS: Final = 32

# Bits between two packed products: 2**3 products are summed before the fields are pulled apart (recalled: WP486 packs INT8 with 2,
# WP521 packs INT4 with 3; 3 reproduces both limits, 8 x 8 and 4 x 4 bit).
_GUARD_BITS: Final = 3
# Bits that a sum of products grows by in an accumulator made of LUTs: 2**8 products (assumed).
_ACCUMULATOR_GROWTH: Final = 8

# FINN-R (Blott et al., TRETS 2018): a circuit of LUTs comes out of synthesis 1.1 times as large as its parts (so in Xilinx' FINN).
SYNTHESIZED: Final = 1.1
# FINN (Umuroglu et al., FPGA 2017) counts 2.5 LUTs for a binary operation, and an XNOR-popcount MAC as two of them.
# Its largest designs take 3.7 to 4.4 LUTs per MAC with everything around them (SFC-max, LFC-max; recalled).
BINARY_MAC_LUTS: Final = 2 * 2.5
# BISMO (Umuroglu et al., FPL 2018): a dot product of 64 bit pairs takes 2.04 * 64 + 109.4 LUTs (recalled).
BIT_SERIAL_LUTS: Final = 2.04 + 109.4 / 64
# What surrounds the five DSP slices of a floating-point MAC: 186 251 LUTs and 205 704 flip-flops of 448 MACs (Zhang et al., FPGA 2015).
FLOAT_MAC_LUTS: Final = 415.0
FLOAT_MAC_FFS: Final = 460.0
# A floating-point MAC without a DSP block: multiplier 650, adder 400 LUTs (recalled, Xilinx PG060).
FLOAT_MAC_LUTS_ALONE: Final = 1050.0

# Depth of an 18 Kb block by the width of its port (Xilinx UG573); 36 bits need both ports.
_BRAM18_SHAPES: Final = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))


@dataclass(frozen=True)
class Multiplier:
    """``count`` equal multipliers of one DSP block by the widths of their ports in bits."""

    wide: int
    narrow: int
    count: int = 1

    def side_by_side(self, weight_bits: int, activation_bits: int) -> int:
        """Products that one multiplication holds, see `Dsp.macs_per_cycle`."""
        narrow, wide = sorted((weight_bits, activation_bits))
        spacing = weight_bits + activation_bits + _GUARD_BITS
        if 2 * spacing + narrow <= self.wide and spacing + wide <= self.narrow:
            return 4
        if spacing + narrow <= self.wide and wide <= self.narrow:
            return 2
        return 1

    def parts(self, weight_bits: int, activation_bits: int) -> int:
        """Multiplications that one product is split into; 1 up to the port widths."""
        narrow, wide = sorted((weight_bits, activation_bits))
        return -(-wide // self.wide) * -(-narrow // self.narrow)


@dataclass(frozen=True)
class Dsp:
    """A DSP block: the ways to configure it, and the blocks of one floating-point MAC per cycle."""

    modes: tuple[Multiplier, ...]
    float_blocks: int

    def _best(self, weight_bits: int, activation_bits: int) -> tuple[int, int]:
        """Products and multiplications of the mode that yields most products per cycle."""
        modes = ((m.count * m.side_by_side(weight_bits, activation_bits), m.parts(weight_bits, activation_bits)) for m in self.modes)
        return max(modes, key=lambda mode: (mode[0] / mode[1], -mode[1]))

    def macs_per_cycle(self, weight_bits: int, activation_bits: int) -> int:
        """Products that one block yields at once.

        Two products share one operand (Nguyen et al., ISCAS 2017; Xilinx WP486), four are the cross products of two weights and
        two activations (Xilinx WP521). ``dsp48e2``: 4 up to 4 x 4 bit, 2 up to 8 x 8 bit, else 1. ``arria10`` has two multipliers.
        """
        return 1 if FLOAT_BITS in (weight_bits, activation_bits) else self._best(weight_bits, activation_bits)[0]

    def slices(self, weight_bits: int, activation_bits: int) -> int:
        """Cycles of one block, or blocks, that such a set of products takes; 1 up to the port widths."""
        if FLOAT_BITS in (weight_bits, activation_bits):
            return self.float_blocks
        return self._best(weight_bits, activation_bits)[1]


DSPS: Final[dict[str, Dsp]] = {
    # 7 series, Xilinx UG479; three slices for the multiplication and two for the addition (Zhang et al., FPGA 2015: 2240 for 448 MACs)
    "dsp48e1": Dsp((Multiplier(25, 18),), float_blocks=5),
    # UltraScale and UltraScale+, Xilinx UG579; floating point as before (Xilinx PG060, full usage)
    "dsp48e2": Dsp((Multiplier(27, 18),), float_blocks=5),
    # two 18 x 18 or one 27 x 27 (Intel SV-5V1); floating point: one block for the multiplication, the addition in logic
    "stratix5": Dsp((Multiplier(18, 18, count=2), Multiplier(27, 27)), float_blocks=1),
    # two 18 x 19 or one 27 x 27, or a floating-point multiplication and addition (Intel A10-HANDBOOK)
    "arria10": Dsp((Multiplier(19, 18, count=2), Multiplier(27, 27)), float_blocks=1),
}


@cache
def packing_tables(dsp: str, max_bits: int) -> tuple[Floats, Floats]:
    """MACs per set of multiplications and multiplications per set, indexed by [weight_bits, activation_bits]."""
    widths = range(max_bits + 1)
    macs = np.array([[DSPS[dsp].macs_per_cycle(max(w, 1), max(a, 1)) for a in widths] for w in widths], np.float64)
    slices = np.array([[DSPS[dsp].slices(max(w, 1), max(a, 1)) for a in widths] for w in widths], np.float64)
    return macs, slices


@dataclass(frozen=True, eq=False)
class MacUnit:
    """A multiply-accumulate unit; numbers, or arrays of any shapes that broadcast.

    Attributes:
        macs: products that one operation yields side by side.
        passes: cycles that the operation takes.
        dsps, luts, ffs: DSP blocks, LUTs and flip-flops of the unit.
    """

    macs: Floats
    passes: Floats
    dsps: Floats
    luts: Floats
    ffs: Floats

    @property
    def rate(self) -> Floats:
        """MACs per cycle."""
        return self.macs / self.passes

    def at(self, weight_bits: ArrayLike, activation_bits: ArrayLike) -> MacUnit:
        """The units of these widths, out of tables indexed by width."""
        index = (np.asarray(weight_bits), np.asarray(activation_bits))
        return MacUnit(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@cache
def mac_table(style: str, dsp: str = "dsp48e2", max_bits: int = FLOAT_BITS, slice_bits: int = 2) -> MacUnit:
    """Units of a style, each field a table indexed by [weight_bits, activation_bits].

    Args:
        style: ``dsp``: one DSP block. ``lut``: a multiplier of LUTs, XNOR-popcount for 1 x 1 bit (FINN). ``bit_serial``: one pair of
            bits per cycle, ``weight_bits * activation_bits`` cycles (BISMO). ``composable``: a ``slice_bits`` wide multiplier,
            ``ceil(weight_bits / slice_bits) * ceil(activation_bits / slice_bits)`` cycles (BitFusion, Sharma et al., ISCA 2018).
        dsp: key of `DSPS`.
        max_bits: widest operand.
        slice_bits: of a composable unit.
    """
    weight, activation = np.meshgrid(*[np.maximum(np.arange(max_bits + 1.0), 1)] * 2, indexing="ij")
    one, none = np.ones(weight.shape), np.zeros(weight.shape)
    if style == "dsp":
        return _dsp_unit(dsp, weight, activation)
    if style == "lut":
        return MacUnit(one, one, none, lut_mac_luts(weight, activation), lut_mac_ffs(weight, activation))
    if style == "bit_serial":
        return MacUnit(one, weight * activation, none, one * BIT_SERIAL_LUTS, one * BIT_SERIAL_LUTS)
    passes = np.ceil(weight / slice_bits) * np.ceil(activation / slice_bits)
    width = np.full((), float(slice_bits))
    shift_add = 4.0 * slice_bits + _ACCUMULATOR_GROWTH  # the partial products are moved to their place before they are summed
    luts = one * (lut_mac_luts(width, width) + shift_add)
    return MacUnit(one, passes, none, luts, one * (lut_mac_ffs(width, width) + shift_add))


def _dsp_unit(dsp: str, weight: Floats, activation: Floats) -> MacUnit:
    macs, slices = packing_tables(dsp, len(weight) - 1)
    floating = np.maximum(weight, activation) == FLOAT_BITS
    blocks, passes = np.where(floating, slices, 1.0), np.where(floating, 1.0, slices)
    # a DSP block adds up its own products itself; packed ones are pulled apart and added in logic after 2**guard of them
    own = max(mode.count for mode in DSPS[dsp].modes)
    accumulators = np.maximum(macs - own, 0) * (weight + activation + _ACCUMULATOR_GROWTH) / 2**_GUARD_BITS
    luts = np.where(floating, FLOAT_MAC_LUTS, accumulators)
    ffs = np.where(floating, FLOAT_MAC_FFS, accumulators + weight + activation)
    return MacUnit(macs, passes, blocks, luts, ffs)


def lut_mac_luts(weight_bits: Floats, activation_bits: Floats) -> Floats:
    """LUTs of one MAC with its share of the adder tree.

    ``(2 ceil((W + A) / 6) - 1) (W + A)`` for the multiplication and ``2 (W + A)`` for the addition (Blott et al., FINN-R,
    TRETS 2018); at 1 x 1 bit XNOR and popcount.
    """
    both = weight_bits + activation_bits
    general = SYNTHESIZED * ((2 * np.ceil(both / 6) - 1) * both + 2 * both)
    floating = np.maximum(weight_bits, activation_bits) == FLOAT_BITS
    return np.where(both == 2, BINARY_MAC_LUTS, np.where(floating, FLOAT_MAC_LUTS_ALONE, general))


def lut_mac_ffs(weight_bits: Floats, activation_bits: Floats) -> Floats:
    """Flip-flops of one MAC: a register behind the multiplication and one behind the addition."""
    floating = np.maximum(weight_bits, activation_bits) == FLOAT_BITS
    return np.where(floating, FLOAT_MAC_FFS, 2 * (weight_bits + activation_bits))


def bram18_blocks(depth: ArrayLike, width: ArrayLike) -> Floats:
    """18 Kb block RAMs of a memory of ``depth`` words of ``width`` bits, in the best of the six port shapes; 0 for an empty one."""
    deep, wide = np.asarray(depth, np.float64), np.asarray(width, np.float64)
    (port, words), *shapes = _BRAM18_SHAPES
    fewest = np.ceil(wide / port) * np.ceil(deep / words)
    for port, words in shapes:
        fewest = np.minimum(fewest, np.ceil(wide / port) * np.ceil(deep / words))
    return np.asarray(fewest)


def uram_blocks(depth: ArrayLike, width: ArrayLike) -> Floats:
    """UltraRAM blocks, 4096 words of 72 bits each (Xilinx UG573)."""
    return np.asarray(np.ceil(np.asarray(width) / URAM_WIDTH) * np.ceil(np.asarray(depth) / URAM_DEPTH))
