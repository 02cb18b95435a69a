"""What an operation, a memory access and a bit of DRAM traffic cost in published technologies, and the laws between them.

Every law is anchored in one published table (Horowitz, 45 nm, 0.9 V) and states its assumption:

    node          energy ~ C V**2 with C ~ node and the nominal voltage of each node; area ~ node**2
    width         multiplier ~ bw * ba; the adder that accumulates ~ bw + ba + guard bits
    composition   bricks and the adders that join their products
    memory        energy of an access ~ sqrt(capacity): the lengths of word and bit lines
    stochastic    cycles = length of the bit stream; energy ~ length
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DramName = Literal["ddr3", "ddr4", "lpddr4", "hbm2", "hmc", "stacked"]
MemoryName = Literal["sram", "edram"]

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

# An accumulator is wider than the products by this much, so that sums of 2**12 of them fit (assumed). With it, the law meets the
# synthesised processing elements of BitFusion (Sharma et al., ISCA 2018, 45 nm) within 8 % from 2 to 16 bit.
GUARD_BITS: Final = 12

_MULTIPLY_PJ: Final = HOROWITZ_45NM_PJ["int32_multiply"] / 32**2  # per bit of one operand times bit of the other
_ADD_PJ: Final = HOROWITZ_45NM_PJ["int32_add"] / 32  # per bit
_REFERENCE_NM: Final = 45.0
# Nominal supply in volts: 45 nm is Horowitz' own, the others as the Predictive Technology Model and foundries print them (recalled).
_SUPPLY_V: Final = {7: 0.7, 10: 0.75, 16: 0.8, 22: 0.8, 28: 0.9, 32: 0.9, 45: 0.9, 65: 1.1, 90: 1.2, 130: 1.3, 180: 1.8}

_KIB: Final = 1024.0
# eDRAM: ISAAC's 64 KB buffer at 32 nm takes 20.45 pJ per 256 bits (Shafiee et al., ISCA 2016; confirmed in Accelergy's library).
_EDRAM_PJ_PER_BIT, _EDRAM_KIB, _EDRAM_NM = 20.45 / 256, 64.0, 32.0

# Stochastic computing: SC-DCNN (Ren et al., ASPLOS 2017, 45 nm) classifies 510 734 digits per joule (abstract) with LeNet-5, 2.293 M
# MACs, in streams of 256 bits (781 250 images/s at 200 MHz): 1 / (510734 * 2.293e6 * 256) = 3.34 fJ per MAC and stream bit,
# counters, generators and weight memory included.
_STREAM_BIT_PJ: Final = 1e12 / (510_734 * 2.293e6 * 256)


@dataclass(frozen=True)
class Dram:
    """A kind of main memory.

    Attributes:
        energy_j_per_bit: of one bit read or written, device and interface.
        bytes_per_s: peak of one channel (of one vault where dies are stacked).
    """

    energy_j_per_bit: float
    bytes_per_s: float


DRAMS: Final[dict[DramName, Dram]] = {
    "ddr3": Dram(54e-12, 12.8e9),  # 432 mW per GB/s against HMC's 62 (Micron at IDF 2011); one DDR3-1600 channel
    "ddr4": Dram(20e-12, 19.2e9),  # 10-20 pJ/bit (recalled), the upper end with its interface; one DDR4-2400 channel
    "lpddr4": Dram(8e-12, 12.8e9),  # recalled; 32 bit at 3.2 Gb/s
    "hbm2": Dram(3.9e-12, 32e9),  # O'Connor et al., MICRO 2017 (recalled); 128 bit at 2 Gb/s
    "hmc": Dram(10.48e-12, 10e9),  # Jeddeloh & Keeth, VLSI 2012: 3.7 in the dies + 6.78 in logic and links (recalled); one vault
    "stacked": Dram(3.7e-12, 10e9),  # the same dies from the logic die below them, no link between: what 3-D buys; one vault
}


def node_energy_scale(node_nm: ArrayLike) -> Floats:
    """Dynamic energy at a node relative to 45 nm: ``(node / 45) (V / 0.9)**2``.

    The nominal voltage is interpolated between the nodes of the table. Stated assumption: wires and gates shrink alike and designs
    run at nominal voltage. 65 nm comes out at 2.16 times 45 nm; the 16-bit MAC then takes 1.97 pJ, where Eyeriss' table has 2.
    """
    node = np.asarray(node_nm, np.float64)
    supply = np.interp(node, list(_SUPPLY_V), list(_SUPPLY_V.values()))
    return np.asarray(node / _REFERENCE_NM * (supply / _SUPPLY_V[45]) ** 2)


def node_area_scale(node_nm: ArrayLike) -> Floats:
    """Area at a node relative to 45 nm: ``(node / 45)**2``."""
    return np.asarray((np.asarray(node_nm, np.float64) / _REFERENCE_NM) ** 2)


def add_energy_pj(bits: ArrayLike) -> Floats:
    """Energy of an integer addition at 45 nm, linear in its width."""
    return np.asarray(_ADD_PJ * np.asarray(bits, np.float64))


def multiply_energy_pj(weight_bits: ArrayLike, activation_bits: ArrayLike) -> Floats:
    """Energy of an integer multiplication at 45 nm: the cells of an array multiplier, ``bw * ba``."""
    return np.asarray(_MULTIPLY_PJ * np.asarray(weight_bits, np.float64) * np.asarray(activation_bits, np.float64))


def mac_energy_pj(weight_bits: ArrayLike, activation_bits: ArrayLike) -> Floats:
    """Energy of a multiply-accumulate at 45 nm; the sum is `GUARD_BITS` wider than the product.

    Args:
        weight_bits: width of one operand; any shapes that broadcast.
        activation_bits: width of the other.
    """
    width = np.asarray(weight_bits, np.float64) + np.asarray(activation_bits, np.float64) + GUARD_BITS
    return multiply_energy_pj(weight_bits, activation_bits) + add_energy_pj(width)


def mac_energy_scale(weight_bits: ArrayLike, activation_bits: ArrayLike) -> Floats:
    """Energy of a MAC relative to 16 x 16 bit (see `mac_energy_pj`): 0.31 at 8 x 8, 0.12 at 4 x 4, 0.05 at 1 x 1 bit."""
    return np.asarray(mac_energy_pj(weight_bits, activation_bits) / mac_energy_pj(REFERENCE_BITS, REFERENCE_BITS))


def composable_energy_pj(unit_bits: int, brick_bits: int) -> float:
    """Energy per cycle at 45 nm of a unit of ``unit_bits`` that is put together from bricks of ``brick_bits`` (BitFusion).

    The bricks together multiply as much as one full multiplier. Joining four products of width q to one of 2q takes two adders: the
    two cross products (2q + 1 bits), and their sum with the outer two, which lie side by side (3q bits). Level by level, the
    number of groups falls by four and q doubles.
    """
    joined_bits, width = 0.0, brick_bits
    while width < unit_bits:
        groups = (unit_bits // (2 * width)) ** 2
        joined_bits += groups * (5 * width + 1)
        width *= 2
    return float(mac_energy_pj(unit_bits, unit_bits) + add_energy_pj(joined_bits))


def stochastic_energy_pj(stream_length: ArrayLike) -> Floats:
    """Energy of one MAC at 45 nm whose operands are streams of ``stream_length`` bits."""
    return np.asarray(_STREAM_BIT_PJ * np.asarray(stream_length, np.float64))


def memory_energy_pj_per_bit(capacity_bytes: ArrayLike, kind: MemoryName = "sram") -> Floats:
    """Energy of one bit of an access to a memory bank at 45 nm, ``~ sqrt(capacity)``.

    SRAM is anchored at Horowitz' 8 KB (10 pJ per 64 bits); his 32 KB (20) is met exactly and his 1 MB (100) within 13 %. Beyond these
    sizes the law is extrapolated.
    """
    capacity = np.asarray(capacity_bytes, np.float64)
    if kind == "edram":
        return np.asarray(_EDRAM_PJ_PER_BIT / node_energy_scale(_EDRAM_NM) * np.sqrt(capacity / (_EDRAM_KIB * _KIB)))
    return np.asarray(HOROWITZ_45NM_PJ["sram_8kb_64b"] / 64 * np.sqrt(capacity / (8 * _KIB)))
