"""Tiles of a layer in the block RAMs of an FPGA: which tile and loop order are fastest, and what they move to and from DRAM.

After Zhang et al., FPGA 2015, section 4, with the whole reduction inside (no partial sum leaves the chip). A tile has ``tr x tc`` output
pixels, ``Tm`` filters and ``Tn`` input channels at a time; its buffers are double::

    inputs   2 Tn ((tr - 1) s + kh) ((tc - 1) s + kw) words
    weights  2 Tm Tn kh kw words
    outputs  2 Tm tr tc words of an accumulator

Larger buffers save transfers. With all ``C`` channels of the input tile on chip, the inputs are read once instead of ``ceil(N / Tm)``
times; with all ``C`` channels of ``Tm`` filters, the weights once instead of once per tile; with the former and all weights, both.
What is never replaced needs no second buffer: all weights, and all channels of the only tile.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.cost import Floats
from hwmodels.tile_costs import Bounds, Memory, PerLayer, bounds_of, cut_of, tried
from hwmodels.traffic import Operands

# Parts that a map is cut into along its rows and columns, from the fewest tiles to the most. Whole rows come first: they are one burst.
DIVISIONS: Final = ((1, 1), (2, 1), (4, 1), (4, 2), (8, 2), (8, 4), (16, 8), (32, 16), (64, 64))

_ROUNDING: Final = 1 + 1e-12
_NARROWING: Final = 0.75  # share of the layers below which going on with those alone is faster than with all


@dataclass(frozen=True, eq=False)
class Tiling:
    """The chosen tiling of each layer, ``... x l`` each.

    Attributes:
        cycles: of computing, starting the engine on tiles, and what of the transfers these do not hide.
        input_bits, weight_bits, output_bits: DRAM traffic of one pass.
        blocks: 18 Kb blocks of the buffers.
    """

    cycles: Floats
    input_bits: Floats
    weight_bits: Floats
    output_bits: Floats
    blocks: Floats

    @property
    def dram_bits(self) -> Floats:
        """Bits moved."""
        return self.input_bits + self.weight_bits + self.output_bits


def choose_tiling(memory: Memory, work: Operands, compute_cycles: Floats, *, weight_growth: Floats | float = 1.0) -> Tiling:
    """The fastest tiling of each layer that fits, of equally fast ones that with the least traffic; where none fits, the smallest.

    Since no tiling gets slower or larger where operands get narrower or fewer, the chosen one does not get slower either. It may move
    more, in the rare case that the room which is gained lets a tiling fit that is faster because it computes or starts sooner.

    Args:
        memory: buffers, DRAM and tile control.
        work: the operands.
        compute_cycles: cycles of computing, which no tiling changes.
        weight_growth: words of a weight in DRAM, more than 1 where it is stored transformed (Winograd).
    """
    bounds = bounds_of(memory, work, compute_cycles, np.asarray(weight_growth))
    arrays = [getattr(bounds, field.name) for field in fields(bounds)]
    shape = np.broadcast_shapes(work.workload.shape, *(np.shape(array) for array in arrays))
    best = _Best.none(shape)
    _search(memory, bounds, best)
    outputs = np.asarray(work.outputs * (work.workload.repeats * work.to_dram))
    return Tiling(best.cycles * work.used, best.inputs, best.weights, outputs, best.blocks * work.used)


def _search(memory: Memory, bounds: Bounds, best: _Best) -> None:
    """Cut after cut, keep what is better; go on with the layers that could still gain."""
    layers: NDArray[np.intp] = np.arange(best.cycles.shape[-1])
    part = best
    for parts in DIVISIONS[:1] if memory.fixes_tiles else DIVISIONS:
        part.update(*tried(memory, bounds, cut_of(memory, bounds, parts)))
        pending = np.asarray(~part.settled.all(tuple(range(part.settled.ndim - 1))))
        if pending.sum() > _NARROWING * len(layers):
            continue
        best.store(part, layers)
        if not pending.any():
            return
        layers, bounds = layers[pending], bounds.of(pending)
        part = best.of(layers)
    best.store(part, layers)


@dataclass(eq=False)
class _Best(PerLayer):
    """The best tiling so far, ``... x l`` each."""

    cycles: Floats
    moved: Floats  # bits of inputs and weights, slowed by bursts
    inputs: Floats
    weights: Floats
    blocks: Floats
    fits: NDArray[np.bool_]
    settled: NDArray[np.bool_]  # whether no later cut can be better

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> _Best:
        """No tiling yet."""
        cycles, moved, inputs, weights, blocks = (np.full(shape, np.inf) for _ in range(5))
        return cls(cycles, moved, inputs, weights, blocks, fits=np.zeros(shape, bool), settled=np.zeros(shape, bool))

    def update(self, tried: tuple[Floats, ...], fit: NDArray[np.bool_], least: Floats) -> None:
        """Take a cut's tiling where it is better: it fits and is faster, or as fast with less traffic; or none fits and it is smaller."""
        cycles, moved, *_, blocks = tried
        better = (cycles < self.cycles) | ((cycles == self.cycles) & (moved < self.moved))
        better = (fit & (better | ~self.fits)) | (~(fit | self.fits) & (blocks < self.blocks))
        for kept, new in zip((self.cycles, self.moved, self.inputs, self.weights, self.blocks), tried, strict=True):
            np.copyto(kept, new, where=better)
        self.fits |= fit
        self.settled |= fit & (moved <= least * _ROUNDING)

    def store(self, part: _Best, layers: NDArray[np.intp]) -> None:
        """Write back what was found for some layers."""
        if part is not self:
            for field in fields(self):
                getattr(self, field.name)[..., layers] = getattr(part, field.name)
