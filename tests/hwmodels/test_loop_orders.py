from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cost import Floats
from hwmodels.loop_orders import Streams, chunks, offchip_bits, power_of_two, tiled_axis
from hwmodels.traffic import Operands
from hwmodels.workload import Workload

# 1024 filters over a reduction of 4096 one-byte numbers, 64 pixels.
LAYER = Streams(
    pixels=np.array([64.0]),
    filters=np.array([1024.0]),
    depth=np.array([4096.0]),
    spread=np.ones(()),
    groups=np.ones((), np.int64),
    weight_bits=np.full((), 8),
    weights=np.array([1024 * 4096 * 8.0]),
    map_bits=np.array([64 * 4096 * 8.0]),
    inputs=np.array([64 * 4096 * 8.0]),
    outputs=np.array([64 * 1024.0]),
    result_bits=np.array([64 * 1024 * 8.0]),
)
ONCE = float(LAYER.weights[0] + LAYER.inputs[0] + LAYER.result_bits[0])


def conv(**changes: object) -> Operands:
    fields: dict[str, object] = {"in_h": [13], "in_w": [13], "out_h": [13], "out_w": [13], "kernel_h": [3], "kernel_w": [3]}
    return Operands(Workload(names=("conv",), in_channels=np.array([4]), out_channels=np.array([4]), **(fields | changes)), 16)  # type: ignore[arg-type]


def test_powers_of_two_round_down() -> None:
    np.testing.assert_array_equal(power_of_two(np.array([0, 0.3, 1, 2, 3, 227, 256.5])), [0, 0.25, 1, 2, 2, 128, 256])


def test_what_fits_is_one_chunk_and_the_rest_is_cut_into_powers_of_two() -> None:
    # 227 of 512 channels fit: tiles of 128
    np.testing.assert_array_equal(chunks(np.array([512.0, 227.0, 228.0]), np.array([227.0])), [4, 1, 2])


def test_neighbouring_tiles_share_the_border_of_the_kernel() -> None:
    # 13 rows in tiles of 4: 4 tiles, 3 borders of 2 rows
    np.testing.assert_array_equal(tiled_axis(conv(), "h", np.array(4.0), fixed=False), [[13], [13 + 3 * 2]])


def test_fixed_tiles_are_computed_and_read_in_full() -> None:
    # 7 tiles of 2 rows: 14 rows from 7 * 4
    np.testing.assert_array_equal(tiled_axis(conv(), "w", np.array(2.0), fixed=True), [[14], [28]])


def test_blocks_of_a_block_convolution_share_nothing() -> None:
    np.testing.assert_array_equal(tiled_axis(conv(block=np.array([4])), "h", np.array(4.0), fixed=False), [[13], [13]])


def test_everything_moves_once_where_a_buffer_holds_its_operand() -> None:
    weights_fit = offchip_bits(LAYER, weight_room=LAYER.weights[0], input_room=1.0, tile_pixels=1.0, columns=64)
    inputs_fit = offchip_bits(LAYER, weight_room=1.0, input_room=LAYER.inputs[0], tile_pixels=64.0, columns=64)
    assert weights_fit == inputs_fit == ONCE


def test_small_buffers_by_hand() -> None:
    # Rooms of 64 KiB for weights and inputs, 64 pixels per tile, 64 columns. Outputs stay: weights once, inputs 1024 / 64 = 16 times.
    # Weights stay: 16 reads of the inputs, depth 65536 / 64 = 1024: 3 spills. Inputs stay: 1024 of the depth fit beside 64 pixels:
    # 3 spills of 64 * 1024 sums at 64 bits. 15 more reads of the inputs are 31.5 Mbit, 3 spills 12.6 Mbit: inputs stay.
    room = 65536 * 8.0
    bits = offchip_bits(LAYER, weight_room=room, input_room=room, tile_pixels=64.0, columns=64)
    assert bits == ONCE + 3 * 64 * 1024 * 64


@given(
    weight_room=st.floats(1e2, 1e8),
    input_room=st.floats(1e2, 1e8),
    tile_pixels=st.integers(1, 512),
    grown=st.sampled_from(["weight", "input"]),
)
def test_a_larger_buffer_never_moves_more(weight_room: float, input_room: float, tile_pixels: int, grown: str) -> None:
    def moved(weights: float, inputs: float) -> Floats:
        return offchip_bits(LAYER, weight_room=weights, input_room=inputs, tile_pixels=float(tile_pixels), columns=64)

    before = moved(weight_room, input_room)
    larger = moved(2 * weight_room, input_room) if grown == "weight" else moved(weight_room, 2 * input_room)
    assert larger <= before
    assert before >= ONCE


def test_fixed_tiles_never_compute_filters_for_nothing() -> None:
    # 96 filters on 32 columns: two tiles of 64 would compute 128, so the inputs are read three times and not twice
    layer = dataclasses.replace(LAYER, filters=np.array([96.0]), depth=np.array([363.0]), weights=np.array([96 * 363 * 8.0]))
    free, fixed = (
        offchip_bits(layer, weight_room=64 * 363 * 8.0, input_room=1.0, tile_pixels=1.0, columns=32, fixed=fixed) for fixed in (False, True)
    )
    assert fixed - free == layer.inputs


def test_weights_on_chip_leave_the_inputs_and_results() -> None:
    layer = dataclasses.replace(LAYER, weights=np.zeros(()))
    bits = offchip_bits(layer, weight_room=1e12, input_room=1e12, tile_pixels=1.0, columns=64)
    assert bits == pytest.approx(ONCE - LAYER.weights[0])
