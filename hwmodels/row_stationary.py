"""Row stationary: how Eyeriss lays a convolution on its array, and what that moves (Chen et al., ISCA 2016 and JSSC 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hwmodels.imbalance import Floats
from hwmodels.mapped import Mapped
from hwmodels.parameters import Count, Quantity
from hwmodels.traffic import Operands

GATED_SHARE: Final = 0.03  # of a MAC's energy that a gated MAC takes: 0.066 of 2.2 pJ (Accelergy's Eyeriss table)
_DOUBLINGS: Final = 7  # sets of filters that are tried: 1, 2, 4, ... 64 times what a PE holds


@dataclass(frozen=True, eq=False)
class RowStationary:
    """An array of PEs, each of which convolves one kernel row with one input row.

    Attributes:
        rows, cols: of the array: kernel rows stack vertically, output rows lie side by side.
        spad_filters: filters that a PE interleaves; its partial sums stay in the PE.
        spad_inputs: input words in a PE: a kernel row of ``floor(spad_inputs / kernel_w)`` channels.
        buffer_words: global buffer for partial sums.
        bank_words: bank of the global buffer that holds the input rows of one pass.
        bus_words: partial sums per cycle between buffer and array, read and written together.
        filter_bus_words: weights per cycle into the array.
    """

    rows: Count
    cols: Count
    spad_filters: Count
    spad_inputs: Count
    buffer_words: Quantity
    bank_words: Quantity
    bus_words: Quantity
    filter_bus_words: Quantity

    def stacks(self, work: Operands) -> Floats:
        """Kernels that fit on top of each other."""
        return np.asarray(np.maximum(np.floor(self.rows / work.workload.kernel_h), 1))

    def strips(self, work: Operands) -> Floats:
        """Pieces that a column of output rows is cut into."""
        return np.ceil(work.workload.out_h / self.cols)

    def side_by_side(self, work: Operands) -> Floats:
        """Kernels that fit beside each other where a map has few rows."""
        return np.maximum(np.floor(self.cols / work.workload.out_h), 1)

    def active_pes(self, work: Operands) -> Floats:
        """PEs that a full pass keeps busy: 154, 135, 156, 156 and 156 of 12 x 14 on AlexNet, as measured."""
        layer = work.workload
        stacks, strips = self.stacks(work), self.strips(work)
        height = np.asarray(np.minimum(layer.kernel_h, self.rows), np.float64)
        folded = np.where(stacks >= strips, np.floor(stacks / strips) * layer.out_h, stacks * np.minimum(self.cols, layer.out_h))
        return np.asarray(height * np.where(strips > 1, folded, stacks * self.side_by_side(work) * layer.out_h))

    def mac_cycles(self, work: Operands) -> Floats:
        """Cycles of the whole layer in which MACs are done: a pass takes ``out_w kernel_w`` per pair of channel and filter."""
        layer = work.workload
        folds = np.ceil(layer.kernel_h / self.rows)
        pairs = layer.batch * work.n * (layer.in_channels // layer.groups) * work.used
        row_sets = pairs * self.strips(work) * folds
        passes = np.ceil(row_sets / (self.stacks(work) * self.side_by_side(work)))
        return np.asarray(passes * layer.out_w * layer.kernel_w * layer.groups, np.float64)

    def channels_of_pass(self, work: Operands) -> tuple[Floats, Floats]:
        """Channels that a pass sums up before partial sums leave the array, and those of them in one PE.

        As many as fit in the PEs, above each other, and in the bank that holds their input rows. With one bank of 4 KB this gives
        1, 1, 2, 4 and 8 channels for VGG-16's maps of 224 to 14 pixels, which reproduces its published buffer traffic.
        """
        layer = work.workload
        window_rows = (np.minimum(layer.out_h, self.cols) - 1) * layer.stride + layer.kernel_h
        window = window_rows * ((layer.out_w - 1) * layer.stride + layer.kernel_w)
        above = np.maximum(np.floor(self.stacks(work) / self.strips(work)), 1)
        in_pe = np.maximum(np.floor(self.spad_inputs / layer.kernel_w), 1)
        channels = np.minimum(np.maximum(np.floor(self.bank_words / window), 1), np.maximum(layer.in_channels // layer.groups, 1))
        channels = np.minimum(channels, in_pe * above)
        return channels, np.minimum(in_pe, channels)

    def loads(self, work: Operands) -> tuple[Floats, Floats]:
        """How often input map and weights come from off chip.

        The partial sums of m filters, e output rows and i images stay in the buffer, ``m e i out_w <= buffer``; then

            inputs * ceil(N / m) * (halo of strips of e rows) + weights * ceil(images / i) * ceil(out_h / e)

        words are read. m doubles from what a PE holds; the best is taken, for dense operands, as it was chosen off line. With 256
        PEs and 128 KB this is the published DRAM energy of AlexNet within 5 % (Chen et al., ISCA 2016, fig. 10).
        """
        layer = work.workload
        inputs = layer.in_channels * layer.in_h * layer.in_w * layer.batch
        weights = work.k * work.n * layer.groups
        halo_rows = np.maximum(layer.kernel_h - layer.stride, 0) / layer.in_h
        maps = self.buffer_words / layer.out_w
        best = best_inputs = best_weights = np.full((), np.inf)
        for doubling in range(_DOUBLINGS):
            filters = np.minimum(self.spad_filters * 2**doubling, np.maximum(work.n, 1))
            room = maps / filters
            rows = np.clip(np.floor(room), 1, layer.out_h)
            images = np.clip(np.floor(room / rows), 1, layer.batch)
            strips = np.ceil(layer.out_h / rows)
            input_loads = np.ceil(work.n / filters) * (1 + (strips - 1) * halo_rows)
            weight_loads = np.ceil(layer.batch / images) * strips
            words = inputs * input_loads + weights * weight_loads
            better = words < best
            best = np.where(better, words, best)
            best_inputs, best_weights = np.where(better, input_loads, best_inputs), np.where(better, weight_loads, best_weights)
        return best_inputs, best_weights


def eyeriss(work: Operands, *, array: RowStationary) -> Mapped:
    """Zero activations gate their MACs: energy is saved, time is not.

    A pass streams kernel rows; for every ``q kernel_w`` MACs of a PE (q channels) one partial sum moves on to the PE above, which
    takes a cycle. Between passes partial sums go to the buffer and back, and weights come in:

        cycles = max(mac_cycles (1 + 1 / (q kernel_w)), partial sums / bus) + weights / filter bus
    """
    layer = work.workload
    channels, in_pe = array.channels_of_pass(work)
    mac_cycles = array.mac_cycles(work)
    handed_on = 1 / (in_pe * layer.kernel_w)
    sums = work.m * layer.out_channels * np.ceil(layer.in_channels // layer.groups / channels) * 2
    input_loads, weight_loads = array.loads(work)
    weights = work.k * work.n * layer.groups * work.used
    filling = weights * weight_loads / array.filter_bus_words
    cycles = np.maximum(mac_cycles * (1 + handed_on), sums / array.bus_words) + filling
    spent = layer.activation_density + GATED_SHARE * (1 - layer.activation_density)
    above = np.maximum(np.floor(array.stacks(work) / array.strips(work) * in_pe / channels), 1)
    return Mapped(
        cycles,
        np.ones(()),
        spent,
        input_reads=np.ceil(work.n / (array.spad_filters * above * array.side_by_side(work))),
        partial_words=sums,
        hops=work.m * layer.out_channels * work.k * handed_on,
        map_bits=work.inputs * work.from_dram * input_loads + work.outputs * work.to_dram,
        weight_loads=weight_loads,
    )
