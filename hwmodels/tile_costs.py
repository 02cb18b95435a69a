"""What a tile of a layer takes: block RAMs for its buffers, bits from and to DRAM, cycles; see `hwmodels.tiling`.

Burst by burst, a transfer loses the time of some bytes. A burst ends with the neighbouring pixels of a tile: its row, or all of it where
it is as wide as the map, or never where the tile is the map. Weights lie in the order in which they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwmodels.cost import Floats
from hwmodels.fpga import LUTRAM_DEPTH, bram18_blocks
from hwmodels.layer_shapes import LayerShapes
from hwmodels.technology import ACCUMULATOR_BITS
from hwmodels.traffic import Operands

Number: TypeAlias = float | NDArray[Any]
"""A number, or one per candidate as ``b x 1``."""

_DEPTHS: Final = (16384, 8192, 4096, 2048, 1024, 512)
# 18 Kb blocks per word of each width, in the narrowest port that takes it; powers of two, so that multiplying by them is exact.
_BLOCKS_PER_WORD: Final = 1 / np.array([_DEPTHS[0]] + [max(d for d in _DEPTHS if bram18_blocks(d, width) == 1) for width in range(1, 37)])


@dataclass(frozen=True)
class Lanes:
    """What an engine computes at once, numbers or ``b x 1``: ``filters`` and ``channels`` (Tm, Tn), and output pixels (``rows x cols``)."""

    filters: Number
    channels: Number
    rows: Number = 1
    cols: Number = 1


@dataclass(frozen=True, eq=False)
class Memory:
    """The memories of an engine; numbers, or ``b x 1``.

    Attributes:
        lanes: of the engine.
        blocks: 18 Kb blocks for the buffers, a number, ``b x 1`` or ``... x l``.
        bits_per_cycle: peak of DRAM and ports.
        burst_bytes, burst_overhead_bytes: longest burst, and what starting one costs in bytes.
        control_cycles: what starting the engine on a tile costs.
        overlaps: whether the next tile is loaded while this one is computed.
        tile_rows, tile_cols: size of a tile where the design fixes it, 0 where it is chosen.
    """

    lanes: Lanes
    blocks: Number
    bits_per_cycle: Number
    burst_bytes: Number
    burst_overhead_bytes: Number
    control_cycles: Number = 0
    overlaps: bool = True
    tile_rows: Number = 0
    tile_cols: Number = 0

    @cached_property
    def pixel_lanes(self) -> Floats:
        """Output pixels at once."""
        return np.asarray(self.lanes.rows) * self.lanes.cols

    @property
    def fixes_tiles(self) -> bool:
        """Whether there is nothing to choose."""
        return bool(np.all(np.asarray(self.tile_rows) > 0) and np.all(np.asarray(self.tile_cols) > 0))


class PerLayer:
    """Arrays of ``... x l``, or of one value for all layers, that can be narrowed to some layers."""

    def of(self, layers: NDArray[Any]) -> Any:
        """The same for some layers, indices or flags."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        many = {name: array[..., layers] for name, array in arrays.items() if array.ndim and array.shape[-1] > 1}
        return replace(self, **many)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Bounds(PerLayer):
    """What does not depend on the cut; ``... x l`` each, or as small as it is."""

    rows: Floats  # of the output map
    cols: Floats
    in_rows: Floats
    in_cols: Floats
    stride: Floats
    halo_rows: Floats
    halo_cols: Floats
    images: Floats
    lane_rows: Floats  # pixels that a tile is a multiple of
    lane_cols: Floats
    stays: Floats  # 1 where fusion keeps the weights on chip
    room: Floats  # blocks for the buffers
    compute: Floats  # cycles before any tile is started
    starts: Floats  # cycles of starting the engine on all channels of one tile
    input_words: Floats  # channels times repeats
    input_width: Floats
    output_words: Floats
    output_width: Floats
    weight_bits: Floats
    moved_weights: Floats  # slowed by bursts
    input_tiles: Floats  # times that the inputs are read unless they stay
    channel_tiles: Floats
    input_banks: Floats
    output_banks: Floats
    blocks_per_word: Floats  # of the inputs
    tile_weights: Floats  # blocks of one weight tile, of all its channels, of all weights
    filter_weights: Floats
    all_weights: Floats


def bounds_of(memory: Memory, work: Operands, compute_cycles: Floats, growth: Floats) -> Bounds:
    """The bounds of a workload on an engine; arguments as in `hwmodels.tiling.choose_tiling`."""
    shapes, lanes = LayerShapes(work), memory.lanes
    filter_tiles, channel_tiles = np.ceil(shapes.filters / lanes.filters), np.ceil(shapes.channels / lanes.channels)
    filters, channels = np.minimum(shapes.filters, lanes.filters), np.minimum(shapes.channels, lanes.channels) * work.used
    pairs, input_tiles = filters * channels, filter_tiles
    if shapes.depthwise.any():  # a lane of filters has a channel of its own
        channels, input_tiles = np.where(shapes.depthwise, filters, channels), np.where(shapes.depthwise, 1.0, filter_tiles)
    streams = np.where(shapes.flat, 1.0, channel_tiles)  # a reduction without pixels is started once
    fill = _fill_bits(work, shapes, filters, channels, pairs * growth) / memory.bits_per_cycle
    return Bounds(
        compute=np.asarray(compute_cycles + fill if memory.overlaps else compute_cycles),
        starts=np.asarray(filter_tiles * streams * (shapes.runs * work.used) * memory.control_cycles),
        room=np.asarray(memory.blocks, np.float64),
        input_tiles=input_tiles,
        channel_tiles=channel_tiles,
        input_banks=np.asarray(channels * (memory.pixel_lanes * work.from_dram)),
        output_banks=np.asarray(filters * memory.pixel_lanes),
        **_maps(shapes, lanes),
        **_traffic(memory, work, growth),
        **_weight_blocks(work, shapes.taps * growth, pairs, channel_tiles, filter_tiles),
    )


def _fill_bits(work: Operands, shapes: LayerShapes, filters: Floats, channels: Floats, weights: Floats) -> Floats:
    """What moves before the engine starts and after it stops: a tile of weights, input rows under the kernel, an output row."""
    rows = np.minimum(work.workload.kernel_h, shapes.in_rows) * shapes.in_cols
    first = weights * (shapes.taps * work.stored_weight_bits) + channels * (rows * work.from_dram) * work.activation_bits
    return np.asarray(first + filters * (shapes.cols * work.to_dram * work.used) * work.activation_bits)


def _maps(shapes: LayerShapes, lanes: Lanes) -> dict[str, Floats]:
    """Sizes of the maps, and of what a tile is a multiple of: the lanes, on any of which images of one pixel may lie."""
    halo_rows, halo_cols = shapes.halo
    return {
        "rows": shapes.rows,
        "cols": shapes.cols,
        "in_rows": shapes.in_rows,
        "in_cols": shapes.in_cols,
        "stride": shapes.stride,
        "halo_rows": halo_rows,
        "halo_cols": halo_cols,
        "images": shapes.images,
        "lane_rows": np.where(shapes.flat, 1.0, lanes.rows),
        "lane_cols": np.where(shapes.flat, 1.0, lanes.cols),
    }


def _traffic(memory: Memory, work: Operands, growth: Floats) -> dict[str, Floats]:
    """Words and widths of what moves; maps between fused layers have no width."""
    layer = work.workload
    weights = np.asarray(work.packed_weights * growth * layer.repeats)
    burst = np.minimum(np.maximum(weights / 8, 1), memory.burst_bytes)
    return {
        "input_words": np.asarray(layer.in_channels * layer.repeats * work.used),
        "input_width": np.asarray(work.activation_bits * work.from_dram),
        "output_words": np.asarray(work.m * layer.out_channels * layer.repeats),
        "output_width": np.asarray(work.activation_bits * work.to_dram),
        "weight_bits": weights,
        "moved_weights": np.asarray(weights * (1 + memory.burst_overhead_bytes / burst)),
        "stays": np.asarray(work.in_group, np.float64),
        "blocks_per_word": _BLOCKS_PER_WORD[work.activation_bits],
    }


def _weight_blocks(work: Operands, depth: Floats, pairs: Floats, channel_tiles: Floats, filter_tiles: Floats) -> dict[str, Floats]:
    """Blocks of one weight tile, of all its channels, and of all weights; none where fusion has reserved them."""
    per_word, banks = _BLOCKS_PER_WORD[work.stored_weight_bits], np.asarray(pairs * (1 - work.in_group))
    everything = _blocks(depth * (channel_tiles * filter_tiles), per_word, banks)
    return {
        "tile_weights": np.minimum(_blocks(2 * depth, per_word, banks), everything),
        "filter_weights": np.minimum(_blocks(2 * depth * channel_tiles, per_word, banks), everything),
        "all_weights": everything,
    }


@dataclass(frozen=True, eq=False)
class Cut:
    """One way to cut the maps, with what follows from it; ``l``, or ``b x l`` where lanes or maps differ between candidates."""

    tiles: Floats  # of all images
    read: Floats  # input pixels of one channel, all images, halos included
    in_pixels: Floats  # of a tile
    out_pixels: Floats
    in_run: Floats  # neighbouring pixels in DRAM, all where the tile is the map
    out_run: Floats


def cut_of(memory: Memory, bounds: Bounds, parts: tuple[int, int]) -> Cut:
    """The maps cut into that many parts along rows and columns, or into tiles of the size that the design fixes."""
    rows, row_tiles = _edge(bounds.rows, parts[0], memory.tile_rows, bounds.lane_rows)
    cols, col_tiles = _edge(bounds.cols, parts[1], memory.tile_cols, bounds.lane_cols)
    in_rows, in_cols = rows * bounds.stride + bounds.halo_rows, cols * bounds.stride + bounds.halo_cols
    read_rows, read_cols = bounds.in_rows + (row_tiles - 1) * bounds.halo_rows, bounds.in_cols + (col_tiles - 1) * bounds.halo_cols
    wide, whole = col_tiles == 1, row_tiles * col_tiles == 1
    return Cut(
        tiles=bounds.images * row_tiles * col_tiles,
        read=bounds.images * read_rows * read_cols,
        in_pixels=in_rows * in_cols,
        out_pixels=rows * cols,
        in_run=np.where(whole, np.inf, np.where(wide, in_rows, 1) * in_cols),
        out_run=np.where(whole, np.inf, np.where(wide, rows, 1) * cols),
    )


def _edge(size: Floats, parts: int, fixed: Number, lane: Number) -> tuple[Floats, Floats]:
    """Pixels along one edge of a tile, so many that the lanes are filled, and the tiles of a map."""
    wanted = np.ceil(size / parts)
    if np.any(np.asarray(fixed) > 0):
        wanted = np.where(np.asarray(fixed) > 0, np.minimum(fixed, size), wanted)
    edge = np.ceil(wanted / lane) * lane
    return edge, np.ceil(size / edge)


def tried(memory: Memory, bounds: Bounds, cut: Cut) -> tuple[tuple[Floats, ...], NDArray[np.bool_], Floats]:
    """The best loop order of a cut, whether it fits, and the least that any order or later cut moves.

    Four orders: an operand is moved once where a larger buffer fits (all channels of the inputs, all channels of the weights),
    or once for each tile of the other.
    """
    depth = cut.in_pixels / memory.pixel_lanes
    out = _blocks(2 * cut.out_pixels / memory.pixel_lanes, _BLOCKS_PER_WORD[ACCUMULATOR_BITS], bounds.output_banks)
    room = bounds.room - out
    tiles = np.where(bounds.stays > 0, 1.0, cut.tiles)
    once_in = bounds.input_words * (cut.read * _slowed(memory, bounds.input_width, cut.in_run))
    once_weights = bounds.moved_weights
    all_in, all_weights, least = once_in * bounds.input_tiles, once_weights * tiles, once_in + once_weights
    all_channels = _blocks(np.where(cut.tiles > 1, 2, 1) * depth * bounds.channel_tiles, bounds.blocks_per_word, bounds.input_banks)
    one_tile = np.minimum(_blocks(2 * depth, bounds.blocks_per_word, bounds.input_banks), all_channels)
    moved, blocks = all_in + all_weights, one_tile + bounds.tile_weights
    fit = blocks <= room
    moved, blocks, by_weights = _better(moved, blocks, all_in + once_weights, one_tile + bounds.filter_weights, room)
    moved, blocks, by_inputs = _better(moved, blocks, once_in + all_weights, all_channels + bounds.tile_weights, room)
    moved, blocks, by_both = _better(moved, blocks, least, all_channels + bounds.all_weights, room)
    inputs = bounds.input_words * (bounds.input_width * cut.read)
    inputs = np.where(by_inputs | by_both, inputs, inputs * bounds.input_tiles)
    weights = np.where(by_both | (by_weights & ~by_inputs), bounds.weight_bits, bounds.weight_bits * tiles)
    outputs = bounds.output_words * _slowed(memory, bounds.output_width, cut.out_run)
    transfer, busy = (moved + outputs) / memory.bits_per_cycle, bounds.compute + bounds.starts * cut.tiles
    cycles = np.maximum(busy, transfer) if memory.overlaps else busy + transfer
    return (cycles, moved, inputs, weights, blocks + out), fit, least


def _better(moved: Floats, blocks: Floats, other: Floats, needs: Floats, room: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Bits and blocks with another loop order where it fits and moves less, and where that is."""
    taken = np.asarray((needs <= room) & (other < moved))
    return np.where(taken, other, moved), np.where(taken, needs, blocks), taken


def _slowed(memory: Memory, width: Floats, run: Floats) -> Floats:
    """Bits that a word takes the time of, in bursts of ``run`` neighbouring words: ``width (1 + overhead / burst)``; 0 for no words."""
    overhead = memory.burst_overhead_bytes
    return np.asarray(width + np.maximum(width * (overhead / memory.burst_bytes), (8 * overhead / run) * (width > 0)))


def _blocks(depth: Floats, per_word: Floats, banks: Floats) -> Floats:
    """18 Kb blocks of ``banks`` memories; shallow ones are made of LUTs."""
    return np.asarray(np.ceil(depth * per_word) * (banks * (depth > LUTRAM_DEPTH)))
