"""Off-chip traffic of a machine with a buffer for each operand: which operand stays on chip, and in how large tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hwmodels.cost import Floats
from hwmodels.parameters import Count, Quantity
from hwmodels.technology import ACCUMULATOR_BITS
from hwmodels.traffic import Operands
from hwmodels.workload import Ints

SPILL_BITS: Final = 2 * ACCUMULATOR_BITS  # of a partial sum that is written and read again
_WIDENINGS: Final = (1, 2, 4, 16, 2**20)  # filters of a tile, in widths of the array; the last stands for all filters


@dataclass(frozen=True, eq=False)
class Streams:
    """What a layer moves if everything moves once, ``... x l`` or broadcast to it.

    Attributes:
        pixels: output pixels of all images.
        filters: output channels of a group.
        depth: reduction of a group, in the units that tiles are counted in (input channels, or elements of unrolled patches).
        spread: weights per filter and unit of depth (kernel positions, or 1).
        groups: of the convolution.
        weight_bits: width of a weight.
        weights: bits of all weights as stored; 0 where they live on chip.
        map_bits: bits of the inputs, the borders between pixel tiles included.
        inputs: the part of ``map_bits`` that comes from off-chip memory: all or nothing.
        outputs: numbers that the layer computes.
        result_bits: bits of the finished outputs that leave the chip.
    """

    pixels: Floats
    filters: Floats
    depth: Floats
    spread: Floats
    groups: Ints
    weight_bits: Ints
    weights: Floats
    map_bits: Floats
    inputs: Floats
    outputs: Floats
    result_bits: Floats


def tiled_axis(work: Operands, axis: Literal["h", "w"], side: Floats, *, fixed: bool) -> tuple[Floats, Floats]:
    """Rows (or columns) of the output map that are computed, and of the input map that are read, in tiles of ``side`` output rows.

    Where tiles are fixed, the last one is as large as the others, and padding is read like data. Otherwise two neighbours both read the
    rows that a kernel overlaps, except between the blocks of a block convolution (Li et al., 2018).
    """
    layer = work.workload
    inputs, outputs, kernel = (getattr(layer, f"{name}_{axis}") for name in ("in", "out", "kernel"))
    side = np.minimum(side, outputs)
    tiles = np.ceil(outputs / side)
    if fixed:
        return tiles * side, tiles * ((side - 1) * layer.stride + kernel)
    border = np.where(layer.block > 0, 0, np.maximum(kernel - layer.stride, 0))
    return outputs, np.minimum(inputs, outputs * kernel) + (tiles - 1) * border


def power_of_two(values: Floats) -> Floats:
    """The largest power of two that is not above each value; 0 for 0."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp((mantissa > 0) * 0.5, exponent))


def chunks(depth: Floats, room: Floats) -> Floats:
    """Tiles that the reduction is cut into: one where it fits, else tiles of a power of two, as loop nests have them."""
    return np.asarray(np.where(depth <= room, 1.0, np.ceil(depth / power_of_two(room))))


def offchip_bits(
    layer: Streams, *, weight_room: Quantity, input_room: Quantity, tile_pixels: Quantity, columns: Count, fixed: bool = False
) -> Floats:
    """Bits that cross the memory bus under the best of three loop orders, ``... x l``.

    With N filters, D the reduction, tiles of n filters, d of the reduction and p pixels, and S partial sums off chip and back::

        weights stay:  inputs * ceil(N / n) + weights                   + S * (ceil(D / d) - 1)    n d in the weight buffer
        outputs stay:  inputs * ceil(N / n) + weights * ceil(pixels / p)                           n p in the output buffer
        inputs stay:   inputs               + weights * ceil(pixels / p) + S * (ceil(D / d) - 1)   p d in the input buffer

    and the finished outputs once. n is tried at 1, 2, 4 and 16 times the width of the array, and at N. Where tiles are fixed, those
    are left out whose last tile would compute whole widths of the array for nothing.

    Args:
        layer: what moves.
        weight_room: bits of a tile of weights (half of a double buffer).
        input_room: bits of a tile of inputs.
        tile_pixels: output pixels whose sums for one width of the array fit in the output buffer.
        columns: filters that the array computes at once.
        fixed: whether the last tile is as large as the others.
    """
    spilled = layer.outputs * SPILL_BITS
    pixel_tiles = np.ceil(layer.pixels / tile_pixels)
    unit_bits = np.maximum(layer.map_bits, 1) / np.maximum(layer.groups * layer.depth * pixel_tiles, 1)
    best = layer.inputs + layer.weights * pixel_tiles + spilled * (chunks(layer.depth, input_room / unit_bits) - 1)
    depth_room = weight_room / (layer.weight_bits * layer.spread)
    for wide in _WIDENINGS:
        filters = np.minimum(columns * wide, np.maximum(layer.filters, 1))
        tiles = np.ceil(layer.filters / filters)
        inputs = layer.inputs * tiles
        if fixed and 1 < wide < _WIDENINGS[-1]:
            inputs = np.where(tiles * wide > np.ceil(layer.filters / columns), np.inf, inputs)
        weights_stay = layer.weights + spilled * (chunks(layer.depth, depth_room / filters) - 1)
        outputs_stay = layer.weights * np.ceil(layer.pixels * (wide / tile_pixels))
        best = np.minimum(best, inputs + np.minimum(weights_stay, outputs_stay))
    return best + layer.result_bits
