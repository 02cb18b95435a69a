from __future__ import annotations

import pytest

from hwmodels.fpga import DSPS, packing_tables


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
    ],
)
def test_products_packed_in_one_slice(dsp: str, weight_bits: int, activation_bits: int, macs: int) -> None:
    assert DSPS[dsp].macs_per_cycle(weight_bits, activation_bits) == macs
    assert DSPS[dsp].macs_per_cycle(activation_bits, weight_bits) == macs


def test_wide_operands_take_several_slices() -> None:
    assert DSPS["dsp48e2"].slices(18, 27) == 1
    assert DSPS["dsp48e2"].slices(32, 32) == 4  # two parts on each port
    assert DSPS["dsp48e1"].slices(18, 26) == 2


def test_tables_are_indexed_by_bits() -> None:
    macs, slices = packing_tables("dsp48e2", 16)
    assert macs[8, 8] == 2
    assert macs[4, 4] == 4
    assert (slices == 1).all()
