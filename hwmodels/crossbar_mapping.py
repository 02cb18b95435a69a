"""Where the weights of a network lie on crossbars: row and column tiles, copies, tiles of the chip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np

from hwmodels.cost import Floats
from hwmodels.parameters import Count
from hwmodels.traffic import Operands
from hwmodels.workload import Pattern

_ROUNDING: Final = 1e-6  # so that a product of whole rows is not rounded up

RowMapping: TypeAlias = Literal["unrolled", "whole_channels", "kernel_position"]
"""How the inputs of a filter fill rows: without gaps, in whole channels, or with a set of crossbars for each kernel
position where that takes no more of them (Peng et al., ISCAS 2019)."""

Duplication: TypeAlias = Literal["none", "tile", "chip"]
"""Where copies of a layer may lie: nowhere, in what is left of its own tile, or on all spare crossbars of the chip."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The rules of a device for placing weights; arrays are ``b x 1``.

    Attributes:
        rows, cols, cell_bits: of a crossbar.
        differential: whether a pair of cells holds a signed value.
        sign_in_pair: whether the pair holds the sign, so that the cells hold one bit less.
        mapping: how a filter fills rows.
        separate_slices: whether the cells of one weight lie in different crossbars instead of beside each other.
        duplication: where copies may lie.
        crossbars, crossbars_per_tile: of the chip, and of a tile, which serves one layer.
        tile_cols: crossbars beside each other in a tile; a wider matrix takes several tiles.
    """

    rows: Count
    cols: Count
    cell_bits: Count
    differential: bool
    sign_in_pair: bool
    mapping: RowMapping
    separate_slices: bool
    duplication: Duplication
    crossbars: Count
    crossbars_per_tile: Count
    tile_cols: Count


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a workload lies on crossbars, arrays that broadcast to ``... x l``.

    Attributes:
        work: the operands.
        k: rows of one group's matrix that hold weights.
        pair: cells that hold one slice of a weight: 2 where they are differential.
        slices: of a weight.
        row_tiles: crossbars below each other that one copy of one group's matrix spans.
        rows_used: rows of the fullest of them.
        column_tiles: crossbars beside each other.
        columns_used: columns of the fullest of them.
        crossbars: of one copy of the whole layer.
        copies: duplicates that work on different output pixels.
        tiles: of the chip that one copy takes.
    """

    work: Operands
    k: Floats
    pair: int
    slices: Floats
    row_tiles: Floats
    rows_used: Floats
    column_tiles: Floats
    columns_used: Floats
    crossbars: Floats
    copies: Floats
    tiles: Floats

    @cached_property
    def rounds(self) -> Floats:
        """Matrix-vector products that a copy computes one after another; the copies share the pixels of one image."""
        work = self.work.workload
        return np.asarray(work.batch * np.ceil(work.out_h * work.out_w * self.work.used / self.copies))

    @cached_property
    def columns(self) -> Floats:
        """Cells in a row of one group's matrix."""
        return self.work.n * self.slices * self.pair

    @cached_property
    def cells(self) -> Floats:
        """Cells of the layer that hold weights."""
        return self.k * self.columns * self.work.workload.groups * self.work.used


def place(work: Operands, layout: Layout) -> Placement:
    """Crossbars of one copy of each layer, and as many copies as the device makes room for.

    A filter takes rows, its slices take columns. Small groups of one layer share a crossbar along its diagonal.
    """
    pair = 2 if layout.differential else 1
    bits = np.maximum(work.weight_bits - 1, 1) if layout.sign_in_pair else work.weight_bits
    slices = np.ceil(bits / layout.cell_bits)
    k = _live_rows(work)
    row_tiles, rows_used = _rows(work, k, layout)
    beside = 1 if layout.separate_slices else slices * pair
    columns = np.maximum(work.n * beside, 1)
    column_tiles = np.ceil(columns / layout.cols) * (slices * pair if layout.separate_slices else 1)
    sharing = np.maximum(np.minimum(np.floor(layout.rows / rows_used), np.floor(layout.cols / columns)), 1)
    crossbars = np.ceil(work.workload.groups / sharing) * row_tiles * column_tiles * work.used
    spans = np.ceil(column_tiles / layout.tile_cols)
    return Placement(
        work=work,
        k=k,
        pair=pair,
        slices=slices,
        row_tiles=row_tiles,
        rows_used=rows_used,
        column_tiles=column_tiles,
        columns_used=np.minimum(columns, layout.cols),
        crossbars=crossbars,
        copies=_copies(work, crossbars, crossbars / spans, layout),
        tiles=spans * np.ceil(crossbars / spans / layout.crossbars_per_tile),
    )


def _live_rows(work: Operands) -> Floats:
    """Rows of one group's matrix, at least one, without those that are zero in every filter (`Pattern.GROUP`).

    Zeros of any other pattern leave some weight in the row or column that they lie in.
    """
    grouped = work.workload.pattern == Pattern.GROUP
    rows = np.maximum(work.k, 1)
    if not grouped.any():
        return rows
    return np.where(grouped, np.maximum(np.ceil(rows * work.workload.weight_density - _ROUNDING), 1), rows)


def _rows(work: Operands, k: Floats, layout: Layout) -> tuple[Floats, Floats]:
    """Row tiles of one group's matrix, and rows of the fullest one."""
    if layout.mapping == "unrolled":
        return np.ceil(k / layout.rows), np.minimum(k, layout.rows)
    taps = work.workload.kernel_h * work.workload.kernel_w
    channels = np.maximum(k / taps, 1)
    if layout.mapping == "kernel_position":
        apart, unrolled = taps * np.ceil(channels / layout.rows), np.ceil(k / layout.rows)
        fills = apart <= unrolled  # a few channels alone would leave most rows empty
        return np.where(fills, apart, unrolled), np.where(fills, np.minimum(channels, layout.rows), np.minimum(k, layout.rows))
    together = np.maximum(np.floor(layout.rows / taps), 1)  # channels whose whole kernels fit; a kernel beyond the rows spans several
    row_tiles = np.ceil(channels / together) * np.ceil(taps / layout.rows)
    return row_tiles, np.minimum(np.minimum(channels, together) * taps, layout.rows)


def _copies(work: Operands, crossbars: Floats, in_tile: Floats, layout: Layout) -> Floats:
    """Copies of each layer, no more than an image has output pixels.

    Args:
        work: the operands.
        crossbars: of one copy.
        in_tile: those of them that lie above each other in as many columns as a tile has.
        layout: the rules.
    """
    if layout.duplication == "none":
        return np.ones(())
    pixels = np.maximum(work.workload.out_h * work.workload.out_w * work.used, 1)
    if layout.duplication == "tile":
        return np.clip(np.floor(layout.crossbars_per_tile / np.maximum(in_tile, 1)), 1, pixels)
    demand = np.maximum((crossbars * pixels).sum(-1, keepdims=True), 1)
    spare = np.maximum(layout.crossbars - crossbars.sum(-1, keepdims=True), 0)
    return np.asarray(1 + np.minimum(np.floor(spare / demand * pixels), pixels - 1))
