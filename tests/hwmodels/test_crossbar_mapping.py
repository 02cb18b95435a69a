from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import Workload
from hwmodels.cost import Floats
from hwmodels.crossbar_mapping import Layout, Placement, place
from hwmodels.traffic import Operands

LAYOUT = Layout(
    rows=128,
    cols=128,
    cell_bits=2,
    differential=False,
    sign_in_pair=False,
    mapping="unrolled",
    separate_slices=False,
    duplication="chip",
    crossbars=12,
    crossbars_per_tile=1,
    tile_cols=1000,
)


def placed(work: Workload, **changes: object) -> Placement:
    return place(Operands(work, 16), dataclasses.replace(LAYOUT, **changes))  # type: ignore[arg-type]


def numbers(*arrays: Floats) -> list[float]:
    return [array.item() for array in arrays]


def conv(channels: int = 16, filters: int = 20, bits: int = 8, edge: int = 4, kernel: int = 3, groups: int = 1) -> Workload:
    sides = {name: np.array([edge]) for name in ("in_h", "in_w", "out_h", "out_w")}
    kernels = {name: np.array([kernel]) for name in ("kernel_h", "kernel_w")}
    return Workload(
        names=("conv",),
        in_channels=np.array([channels]),
        out_channels=np.array([filters]),
        groups=np.array([groups]),
        weight_bits=np.array(bits),
        activation_bits=np.array(bits),
        **sides,
        **kernels,
    )


def test_a_matrix_is_cut_into_row_and_column_tiles() -> None:
    # 144 rows, 20 filters of four 2-bit cells
    found = placed(conv())
    assert numbers(found.row_tiles, found.rows_used, found.column_tiles, found.columns_used) == [2, 128, 1, 80]
    assert found.crossbars == 2
    assert found.cells == 144 * 80


def test_a_pair_of_cells_that_holds_the_sign_holds_one_bit_less() -> None:
    # 9 bits in 1-bit cells: 9 pairs, or 8 with the sign in the pair
    plain = placed(conv(bits=9), differential=True, cell_bits=1)
    signed = placed(conv(bits=9), differential=True, cell_bits=1, sign_in_pair=True)
    assert numbers(plain.columns, signed.columns) == [20 * 18, 20 * 16]


def test_whole_channels_leave_rows_empty() -> None:
    # 14 channels of 9 positions fill 126 of 128 rows: 28 channels take 2 crossbars as 252 rows do, 29 take 3 where 261 rows take 3
    assert placed(conv(28), mapping="whole_channels").row_tiles == 2
    assert placed(conv(28), mapping="whole_channels").rows_used == 126
    assert placed(conv(56), mapping="whole_channels").row_tiles == 4
    assert placed(conv(57), mapping="whole_channels").row_tiles == 5
    # a kernel beyond the rows: 169 positions in two crossbars per channel
    assert placed(conv(3, kernel=13), mapping="whole_channels").row_tiles == 6


def test_kernel_positions_have_crossbars_of_their_own_where_channels_fill_them() -> None:
    # 128 channels: nine crossbars either way, each with one position; 16 channels would leave most rows empty and are unrolled
    assert placed(conv(128), mapping="kernel_position").row_tiles == 9
    assert placed(conv(16), mapping="kernel_position").row_tiles == 2


def test_slices_may_lie_in_crossbars_of_their_own() -> None:
    # 20 filters of four slices: one crossbar of 80 columns, or four of 20
    found = placed(conv(), separate_slices=True)
    assert numbers(found.column_tiles, found.columns_used) == [4, 20]
    assert found.crossbars == 2 * 4


def test_small_groups_share_a_crossbar_along_its_diagonal() -> None:
    # 16 groups of 9 x 4 cells: 14 fit the rows, 32 the columns; ceil(16/14) = 2
    assert placed(conv(16, 16, groups=16)).crossbars == 2


def test_spare_crossbars_go_to_the_layers_with_most_pixels() -> None:
    two = Workload(
        names=("many", "few"),
        in_channels=np.array([16, 16]),
        out_channels=np.array([16, 16]),
        out_h=np.array([12, 4]),
        weight_bits=np.array(8),
        activation_bits=np.array(8),
    )
    # one crossbar each, 10 spare over 12 + 4 pixels: 7 and 2 more copies, ceil(12/8) = 2 and ceil(4/3) = 2 products
    found = placed(two)
    assert found.copies.tolist() == [8, 3]
    assert found.rounds.tolist() == [2, 2]
    # with a batch, the copies share the pixels of one image after the other
    assert placed(two.replace(batch=5)).rounds.tolist() == [10, 10]


def test_copies_may_be_bound_to_their_own_tile() -> None:
    # 2 crossbars in a tile of 7: three copies; none where a tile is too small
    assert placed(conv(), duplication="tile", crossbars_per_tile=7).copies == 3
    assert placed(conv(), duplication="tile", crossbars_per_tile=1).copies == 1
    assert placed(conv(), duplication="none").copies == 1


def test_a_matrix_wider_than_a_tile_takes_several_and_is_copied_below_itself() -> None:
    # 40 filters of four slices: 160 columns, two crossbars wide and two high; tiles of one column and six rows hold each half three times
    found = placed(conv(filters=40), duplication="tile", crossbars_per_tile=6, tile_cols=1)
    assert numbers(found.crossbars, found.tiles, found.copies) == [4, 2, 3]
    # in a tile of two columns it lies beside itself, and twice fewer of six are left
    square = placed(conv(filters=40), duplication="tile", crossbars_per_tile=6, tile_cols=2)
    assert numbers(square.tiles, square.copies) == [1, 1]


@given(
    channels=st.integers(1, 300),
    filters=st.integers(1, 300),
    kernel=st.integers(1, 5),
    bits=st.integers(1, 16),
    cell_bits=st.integers(1, 5),
    mapping=st.sampled_from(["unrolled", "whole_channels", "kernel_position"]),
    separate=st.booleans(),
)
def test_crossbars_hold_every_weight(
    channels: int, filters: int, kernel: int, bits: int, cell_bits: int, mapping: str, separate: bool
) -> None:
    found = placed(conv(channels, filters, bits, kernel=kernel), mapping=mapping, separate_slices=separate, cell_bits=cell_bits)
    assert found.crossbars * 128 * 128 >= found.cells
    assert found.row_tiles * 128 >= channels * kernel**2
    assert found.row_tiles * found.rows_used >= channels * kernel**2


def test_unused_slots_take_nothing() -> None:
    found = placed(conv(filters=0))
    assert found.crossbars == 0
    assert found.cells == 0
    assert found.rounds == pytest.approx(0)
