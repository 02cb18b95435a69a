"""How the engines of a streaming design are folded: how many multipliers each layer gets, and what that takes of the chip.

An engine of ``P`` output lanes with ``S`` multipliers each (PE and SIMD in FINN, Umuroglu et al., FPGA 2017) computes an image in
``steps * ceil(outputs / P) * ceil(inputs / S)`` cycles. Folds are powers of two, the outputs folded first; a number of channels
that they do not divide is padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.cost import Floats

_GRID: Final = 8  # intervals that are tried in each octave
_LAST: Final = 255  # the slowest one: 2**32 times the fastest, where engines of up to 2**32 multipliers are down to one
_SLACK: Final = 1e-9  # so that the logarithm of an exact power of two is not rounded down


@dataclass(frozen=True, eq=False)
class Folding:
    """Output lanes, and multipliers in each, of every engine, ``... x l``; 0 in unused slots."""

    lanes: Floats
    simd: Floats

    @cached_property
    def multipliers(self) -> Floats:
        """Multipliers of each engine."""
        return self.lanes * self.simd


@dataclass(frozen=True, eq=False)
class Engines:
    """The layers of a network before they are folded, float64, ``... x l`` each.

    Attributes:
        inputs: products of one output that have no order in time: the input channels of a group, or the whole kernel.
        outputs: output channels of all groups.
        steps: cycles of one image where every input of every output has its multiplier; 0 in unused slots.
        stored_bits: of all weights.
        read_bits: of its weight that a multiplier reads per cycle.
        mac_luts, mac_dsps: LUTs and DSP blocks of one multiplier with its share of the adder tree.
        saved_luts: LUTs of a multiplier that a DSP block may replace; 0 where there is no choice.
        lane_luts: of the accumulator and the activation function of one output lane.
        fixed_luts, fixed_bram18: of what does not depend on the folding: control, and the rows that a convolution keeps.
    """

    inputs: Floats
    outputs: Floats
    steps: Floats
    stored_bits: Floats
    read_bits: Floats
    mac_luts: Floats
    mac_dsps: Floats
    saved_luts: Floats
    lane_luts: Floats
    fixed_luts: Floats
    fixed_bram18: Floats

    @cached_property
    def _spare_octaves(self) -> Floats:
        """Logarithm of the longest engine's steps over this one's: so many folds cost no throughput."""
        steps = np.log2(np.maximum(self.steps, 1))
        return np.asarray(steps.max(-1, keepdims=True, initial=0) - steps + _SLACK)

    @cached_property
    def _output_octaves(self) -> Floats:
        return np.asarray(np.ceil(np.log2(np.maximum(self.outputs, 1))))

    @cached_property
    def _octaves(self) -> Floats:
        return np.asarray(self._output_octaves + np.ceil(np.log2(np.maximum(self.inputs, 1))))

    def folded(self, interval: NDArray[np.int64]) -> Folding:
        """The smallest engines that keep an interval, in steps of `_GRID` per octave above the longest engine's (``... x 1``)."""
        folds = np.minimum(np.floor(self._spare_octaves + interval / _GRID), self._octaves)
        output_folds = np.minimum(folds, self._output_octaves)
        lanes = np.ceil(self.outputs * np.exp2(-output_folds))
        return Folding(lanes, np.ceil(self.inputs * np.exp2(output_folds - folds)))

    def cycles(self, folding: Folding) -> Floats:
        """Cycles of one image."""
        output_folds = np.ceil(self.outputs / np.maximum(folding.lanes, 1))
        return np.asarray(self.steps * output_folds * np.ceil(self.inputs / np.maximum(folding.simd, 1)))

    def logic(self, folding: Folding) -> tuple[Floats, Floats]:
        """LUTs and DSP blocks of each engine, without the memory of its weights."""
        multipliers = folding.multipliers
        luts = multipliers * self.mac_luts + folding.lanes * self.lane_luts + self.fixed_luts
        return luts, np.ceil(multipliers * self.mac_dsps)

    def memory(self, folding: Folding) -> tuple[Floats, Floats]:
        """Depth and width of the memory of each engine's weights, as wide as all its multipliers read in a cycle."""
        width = folding.multipliers * self.read_bits
        return np.asarray(np.ceil(self.stored_bits / np.maximum(width, 1))), width

    def by_saving(self) -> Engines:
        """The engines in the order in which DSP blocks are given out: most LUTs saved per block first."""
        names = [f.name for f in fields(self)]
        arrays = dict(zip(names, np.broadcast_arrays(*(getattr(self, name) for name in names)), strict=True))
        order = np.argsort(-arrays["saved_luts"] / np.maximum(arrays["mac_dsps"], _SLACK), axis=-1, kind="stable")
        return Engines(**{name: np.take_along_axis(array, order, -1) for name, array in arrays.items()})


def shortest(fits: Callable[[NDArray[np.int64]], NDArray[np.bool_]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The shortest interval that fits, by bisection; the longest where none does.

    Args:
        fits: whether each candidate fits at intervals of the given shape.
        shape: of the candidates, ``... x 1``.
    """
    low, high = np.zeros(shape, np.int64), np.full(shape, _LAST)
    for _ in range(_LAST.bit_length()):
        middle = (low + high) // 2
        fit = fits(middle)
        high = np.where(fit, middle, high)
        low = np.where(fit, low, middle + 1)
    return np.minimum(low, _LAST)
