from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels import Workload
from hwmodels.layer_shapes import LayerShapes
from hwmodels.tile_costs import Lanes, Memory
from hwmodels.tiling import DIVISIONS, choose_tiling
from hwmodels.traffic import Operands


def conv(**changes: object) -> Workload:
    """16 -> 32 channels, 3x3, 32x32 pixels, 16 bit: inputs 16384, weights 4608, outputs 32768 words."""
    fields: dict[str, object] = {
        "in_channels": [16],
        "out_channels": [32],
        "kernel_h": [3],
        "kernel_w": [3],
        "in_h": [32],
        "in_w": [32],
        "out_h": [32],
        "out_w": [32],
        "weight_bits": [16],
        "activation_bits": [16],
    }
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def memory(**changes: object) -> Memory:
    """8 filters x 4 channels, 1000 blocks, 64 bits per cycle, no burst overhead."""
    fields: dict[str, object] = {
        "lanes": Lanes(8, 4),
        "blocks": 1000,
        "bits_per_cycle": 64,
        "burst_bytes": 1024,
        "burst_overhead_bytes": 0,
    }
    return Memory(**(fields | changes))  # type: ignore[arg-type]


NOTHING = np.zeros(1)


def test_each_operand_moves_once_where_everything_fits() -> None:
    tiling = choose_tiling(memory(), Operands(conv(), 16), NOTHING)
    assert tiling.input_bits == 16384 * 16
    assert tiling.weight_bits == 4608 * 16
    assert tiling.output_bits == 32768 * 16
    assert tiling.cycles == (16384 + 4608 + 32768) * 16 / 64


def test_blocks_of_a_tile_by_hand() -> None:
    tiling = choose_tiling(memory(tile_rows=32, tile_cols=32), Operands(conv(), 16), NOTHING)
    # all 16 channels of the only tile in 4 banks: 34 * 34 * 4 = 4624 words of 16 bit, 5 blocks of 1024 in each; outputs in 8 banks:
    # 2 * 1024 words of 32 bit, 4 blocks of 512 in each. Weights pass by, 2 * 9 words in LUTs, since one tile needs them but once
    assert tiling.blocks == 4 * 5 + 8 * 4


def test_without_room_for_all_channels_the_inputs_are_read_for_each_filter_tile_or_the_weights_for_each_tile() -> None:
    # one whole map: 4 banks of 2 * 34 * 34 words (3 blocks), outputs 8 * 4; the weights of one tile are LUTs
    tiling = choose_tiling(memory(blocks=44, tile_rows=32, tile_cols=32), Operands(conv(), 16), NOTHING)
    assert tiling.input_bits == 4 * 16384 * 16
    assert tiling.weight_bits == 4608 * 16  # one tile
    # 8 x 8 tiles of 4 x 4 pixels with all channels: 2 * 6 * 6 * 4 = 288 words in 4 banks, outputs 2 * 16 words in LUTs; halos of 2
    tiling = choose_tiling(memory(blocks=4, tile_rows=4, tile_cols=4), Operands(conv(), 16), NOTHING)
    assert tiling.input_bits == 16 * (32 + 7 * 2) ** 2 * 16
    assert tiling.weight_bits == 64 * 4608 * 16


def test_a_block_convolution_has_no_halo() -> None:
    fixed = memory(tile_rows=4, tile_cols=4)
    assert choose_tiling(fixed, Operands(conv(block=[4]), 16), NOTHING).input_bits == 16384 * 16


def test_short_bursts_slow_a_transfer() -> None:
    whole = memory(burst_bytes=64, burst_overhead_bytes=16)
    # bursts of 64 bytes take the time of 80
    assert choose_tiling(whole, Operands(conv(), 16), NOTHING).cycles == pytest.approx(1.25 * (16384 + 4608 + 32768) * 16 / 64)
    narrow = memory(burst_bytes=64, burst_overhead_bytes=16, tile_rows=32, tile_cols=8)
    # tiles of 8 columns: rows of 10 input pixels (20 bytes) and of 8 output pixels (16 bytes), a quarter of the columns each
    moved = 16 * 32 * (32 + 3 * 2) * 16 * (1 + 16 / 20) + 1.25 * 4608 * 16 + 32768 * 16 * 2
    assert choose_tiling(narrow, Operands(conv(), 16), NOTHING).cycles == pytest.approx(moved / 64)


def test_starting_the_engine_costs_cycles_for_each_tile_of_pixels_filters_and_channels() -> None:
    busy = memory(control_cycles=100, tile_rows=16, tile_cols=32, bits_per_cycle=1e9)
    # 2 tiles, 4 filter tiles, 4 channel tiles
    assert choose_tiling(busy, Operands(conv(), 16), np.array([5000.0])).cycles == pytest.approx(5000 + 32 * 100, rel=1e-4)


def test_a_transfer_that_is_not_hidden_adds_to_computing() -> None:
    hidden = choose_tiling(memory(), Operands(conv(), 16), np.array([1e6])).cycles
    added = choose_tiling(memory(overlaps=False), Operands(conv(), 16), np.array([1e6])).cycles
    assert added == 1e6 + 53760 / 4
    # before: a weight tile, three rows of 4 channels; behind: a row of 8 filters
    assert hidden == 1e6 + (8 * 4 * 9 + 4 * 3 * 32 + 8 * 32) / 4


def test_images_of_a_fully_connected_layer_share_its_weights() -> None:
    one = Workload(names=("fc",), in_channels=[64], out_channels=[48], weight_bits=[16], activation_bits=[16])  # type: ignore[arg-type]
    many = choose_tiling(memory(), Operands(one.replace(batch=np.full((), 32)), 16), NOTHING)
    assert many.weight_bits == 64 * 48 * 16
    assert many.input_bits == 32 * 64 * 16


def test_a_depthwise_layer_reads_its_input_once() -> None:
    work = Operands(conv(in_channels=[32], groups=[32]), 16)
    assert LayerShapes(work).filters == 32
    assert choose_tiling(memory(blocks=60), work, NOTHING).input_bits >= 32 * 1024 * 16
    assert choose_tiling(memory(), work, NOTHING).input_bits == 32 * 1024 * 16


def test_where_nothing_fits_the_smallest_tile_is_named() -> None:
    deep = conv(kernel_h=[11], kernel_w=[11], in_h=[40], in_w=[40])
    tiling = choose_tiling(memory(blocks=1), Operands(deep, 16), NOTHING)
    # 32 weight banks of 2 * 121 words; tiles of one pixel have 2 * 11 * 11 words in 4 banks, and outputs in LUTs
    assert tiling.blocks == 32 + 4


def _brute_force(limit: int, channels: int, filters: int, size: int) -> Iterator[tuple[float, float]]:
    """Cycles and bits of every division and loop order of a 3x3 layer that fits, written without arrays."""
    nc, nf = ceil(channels / 4), ceil(filters / 8)

    def blocks(depth: int, width: int, banks: int) -> int:
        return 0 if depth <= 64 else banks * ceil(depth / {16: 1024, 32: 512}[width])

    for (rows, cols), keep_in, keep_weights in product(DIVISIONS, (False, True), ("tile", "filters", "all")):
        tr, tc = ceil(size / rows), ceil(size / cols)
        rows, cols = ceil(size / tr), ceil(size / tc)
        tiles = rows * cols
        depth = (tr + 2) * (tc + 2)
        need = blocks(depth * ((1 if tiles == 1 else 2) * nc if keep_in else 2), 16, min(channels, 4)) + blocks(
            2 * tr * tc, 32, min(filters, 8)
        )
        need += blocks(9 * {"tile": 2, "filters": 2 * nc, "all": nc * nf}[keep_weights], 16, min(filters, 8) * min(channels, 4))
        if need > limit:
            continue
        once_weights = keep_weights == "all" or (keep_weights == "filters" and not keep_in)
        inputs = channels * (size + 2 * (rows - 1)) * (size + 2 * (cols - 1)) * (1 if keep_in else nf)
        weights = channels * filters * 9 * (1 if once_weights else tiles)
        streams = 1 if size == 1 else nc  # a reduction without pixels is started once
        yield (inputs + weights + filters * size * size) * 16 / 64 + tiles * streams * nf * 50, (inputs + weights) * 16.0


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(20, 400), channels=st.integers(1, 80), filters=st.integers(1, 80), size=st.integers(1, 70))
def test_the_chosen_tiling_is_the_best_of_a_plain_enumeration(limit: int, channels: int, filters: int, size: int) -> None:
    pixels = {name: [size] for name in ("in_h", "in_w", "out_h", "out_w")}
    work = Operands(conv(in_channels=[channels], out_channels=[filters], **pixels), 16)
    tiling = choose_tiling(memory(blocks=limit, overlaps=False, control_cycles=50), work, NOTHING)
    options = list(_brute_force(limit, channels, filters, size))
    if options:
        assert tiling.cycles == pytest.approx(min(options)[0])
        assert tiling.blocks <= limit
    else:
        assert tiling.blocks > limit


def test_layers_are_tiled_as_if_they_were_alone() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([1, 7, 28, 112, 224, 14])
    workload = Workload(
        names=tuple("abcdef"),
        in_channels=rng.integers(1, 300, (5, 6)),
        out_channels=rng.integers(1, 300, (5, 6)),
        kernel_h=np.array([1, 3, 5, 3, 3, 1]),
        kernel_w=np.array([1, 3, 5, 3, 3, 1]),
        in_h=sizes,
        in_w=sizes,
        out_h=sizes,
        out_w=sizes,
        weight_bits=rng.integers(1, 17, (5, 6)),
        activation_bits=rng.integers(1, 17, (5, 6)),
    )
    compute = rng.uniform(0, 1e6, (5, 6))
    asked = memory(blocks=150, burst_overhead_bytes=32, control_cycles=20)
    together = choose_tiling(asked, Operands(workload, 16), compute)
    for candidate, layer in product(range(5), range(6)):
        one = workload.candidate(candidate)
        alone = Workload(names=("x",), **{name: np.broadcast_to(a, one.shape)[layer : layer + 1] for name, a in one.arrays().items()})
        tiling = choose_tiling(asked, Operands(alone, 16), compute[candidate, layer : layer + 1])
        assert tiling.cycles == together.cycles[candidate, layer]
        assert tiling.dram_bits == together.dram_bits[candidate, layer]
        assert tiling.blocks == together.blocks[candidate, layer]


@pytest.mark.parametrize("name", ["weight_bits", "activation_bits"])
def test_narrower_operands_are_never_tiled_slower(name: str) -> None:
    rng = np.random.default_rng(1)
    sizes = {key: np.full((200, 1), 56) for key in ("in_h", "in_w", "out_h", "out_w")}
    channels = rng.integers(1, 200, (2, 200, 1))
    workload = conv().replace(in_channels=channels[0], out_channels=channels[1], **sizes)
    asked = memory(blocks=100, burst_overhead_bytes=100, control_cycles=30)
    wide = np.full((200, 1), np.inf)
    for bits in range(16, 0, -1):
        narrow = choose_tiling(asked, Operands(workload.replace(**{name: np.full((), bits)}), 16), np.full((), 1e5)).cycles
        assert (narrow <= wide).all()
        wide = narrow
