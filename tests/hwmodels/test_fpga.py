from __future__ import annotations

import numpy as np
import pytest

from hwmodels.fpga import (
    BRAM18_BITS,
    DSPS,
    FLOAT_BITS,
    bram18_blocks,
    mac_table,
    packing_tables,
    uram_blocks,
)


@pytest.mark.parametrize(
    ("dsp", "weight_bits", "activation_bits", "macs"),
    [
        ("dsp48e2", 16, 16, 1),
        ("dsp48e2", 9, 9, 1),
        ("dsp48e2", 8, 8, 2),  # Xilinx WP486
        ("dsp48e2", 5, 5, 2),
        ("dsp48e2", 4, 4, 4),  # Xilinx WP521
        ("dsp48e2", 2, 2, 4),
        ("dsp48e1", 8, 8, 1),  # 8 + 19 bits do not fit a port of 25
        ("dsp48e1", 7, 7, 2),  # 7 + 17 do
        ("dsp48e1", 4, 4, 2),  # 4 + 22 bits do not fit
        ("dsp48e1", 3, 3, 4),
        ("arria10", 16, 8, 2),  # two 18 x 19 multipliers
        ("arria10", 20, 20, 1),  # one of 27 x 27
        ("arria10", 8, 8, 2),
        ("arria10", 5, 5, 4),  # 5 + 13 bits fit both ports of 19
        ("stratix5", 18, 18, 2),
    ],
)
def test_products_of_one_block(dsp: str, weight_bits: int, activation_bits: int, macs: int) -> None:
    assert DSPS[dsp].macs_per_cycle(weight_bits, activation_bits) == macs
    assert DSPS[dsp].macs_per_cycle(activation_bits, weight_bits) == macs


def test_wide_operands_take_several_slices() -> None:
    assert DSPS["dsp48e2"].slices(18, 27) == 1
    assert DSPS["dsp48e2"].slices(31, 31) == 4  # two parts on each port
    assert DSPS["dsp48e1"].slices(18, 26) == 2


def test_a_floating_point_mac_takes_five_slices_or_one_hard_block() -> None:
    # Zhang et al., FPGA 2015: 448 MACs in 2240 slices of a Virtex-7
    assert 448 * DSPS["dsp48e1"].slices(FLOAT_BITS, FLOAT_BITS) == 2240
    assert DSPS["arria10"].slices(FLOAT_BITS, FLOAT_BITS) == DSPS["arria10"].macs_per_cycle(FLOAT_BITS, FLOAT_BITS) == 1


def test_tables_are_indexed_by_bits() -> None:
    macs, slices = packing_tables("dsp48e2", 16)
    assert macs[8, 8] == 2
    assert macs[4, 4] == 4
    assert (slices == 1).all()


def test_an_xnor_popcount_takes_two_binary_operations() -> None:
    assert mac_table("lut").luts[1, 1] == 2 * 2.5  # Umuroglu et al., FPGA 2017


def test_a_lut_multiplier_by_hand() -> None:
    # 4 x 4 bit: (2 ceil(8/6) - 1) 8 = 24 for the product, 2 * 8 for its place in the adder tree, 1.1 times that
    assert mac_table("lut").luts[4, 4] == pytest.approx(1.1 * (24 + 16))
    assert mac_table("lut").dsps[4, 4] == 0


def test_a_bit_serial_unit_takes_a_cycle_per_pair_of_bits() -> None:
    unit = mac_table("bit_serial")
    assert unit.passes[4, 6] == 24
    assert unit.rate[1, 1] == 1
    assert unit.luts[8, 8] == unit.luts[1, 1]


def test_a_composable_unit_takes_a_cycle_per_pair_of_slices() -> None:
    # BitFusion: ceil(8/2) * ceil(3/2)
    assert mac_table("composable").passes[8, 3] == 4 * 2
    assert mac_table("composable", slice_bits=4).passes[8, 3] == 2


def test_packed_products_are_accumulated_in_logic() -> None:
    table = mac_table("dsp", "dsp48e2")
    assert table.luts[16, 16] == 0
    # one product more than the slice adds up itself, 8 bits of growth, once in 2**3 products
    assert table.luts[8, 8] == (8 + 8 + 8) / 8


def test_units_are_looked_up_for_whole_arrays() -> None:
    bits = np.array([[1, 2], [8, 16]])
    unit = mac_table("lut").at(bits, bits.T)
    assert unit.luts.shape == (2, 2)
    assert unit.luts[1, 0] == mac_table("lut").luts[8, 2]


@pytest.mark.parametrize("style", ["dsp", "lut", "bit_serial", "composable"])
@pytest.mark.parametrize("dsp", ["dsp48e1", "dsp48e2", "stratix5", "arria10"])
def test_a_narrower_fixed_point_mac_never_costs_more(style: str, dsp: str) -> None:
    table = mac_table(style, dsp)
    for axis in (0, 1):
        for cost in (table.passes / table.macs, table.dsps / table.rate):
            fixed = cost[1:FLOAT_BITS, 1:FLOAT_BITS]
            assert (np.diff(fixed, axis=axis) >= 0).all()
    if style != "dsp":  # packed products need adders beside the block, a single one does not
        assert (np.diff((table.luts / table.rate)[1:FLOAT_BITS, 1:FLOAT_BITS], axis=0) >= 0).all()


@pytest.mark.parametrize(
    ("depth", "width", "blocks"),
    [
        (512, 36, 1),
        (513, 36, 2),
        (16_384, 1, 1),  # the deepest shape
        (1024, 18, 1),
        (2048, 36, 4),
        (1025, 37, 5),  # ceil(37/9) of the 9-bit shape; 3 * 2 of the 18-bit, 2 * 3 of the 36-bit and 10 of the 4-bit shape
        (0, 8, 0),
    ],
)
def test_block_rams_by_depth_and_width(depth: int, width: int, blocks: int) -> None:
    assert bram18_blocks(depth, width) == blocks


def test_block_rams_hold_what_they_say() -> None:
    depth, width = np.meshgrid(np.arange(1, 5000, 37), np.arange(1, 80))
    blocks = bram18_blocks(depth, width)
    assert (blocks * BRAM18_BITS >= depth * width).all()


def test_ultraram_has_one_shape() -> None:
    assert uram_blocks(4096, 72) == 1
    assert uram_blocks(4097, 73) == 4
