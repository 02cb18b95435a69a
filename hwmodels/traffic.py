"""What the operands of a layer weigh in bits, and how often they cross the off-chip bus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.cost import Floats
from hwmodels.parameters import Quantity
from hwmodels.workload import Ints, Workload


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float64)


@dataclass(frozen=True, eq=False)
class Operands:
    """A workload as a device of limited width sees it: matrix sizes and operand sizes, float64, unused slots 0.

    Wider operands than ``max_bits`` are priced at ``max_bits``: a float32 teacher on a 16-bit device costs what its 16-bit
    version costs. A weight that is an index into a codebook is looked up before it is multiplied, so its MAC is ``max_bits`` wide.
    Outputs are counted at the width of the inputs. Arrays broadcast to ``... x l``.
    """

    workload: Workload
    max_bits: int

    @cached_property
    def used(self) -> Floats:
        """1 where the slot holds a layer, ``... x l``."""
        return _floats((self.workload.in_channels > 0) & (self.workload.out_channels > 0))

    @cached_property
    def m(self) -> Floats:
        """Output pixels of all images; 0 in unused slots."""
        return self.workload.gemm_m * self.used

    @cached_property
    def k(self) -> Floats:
        """Inputs per output, per group."""
        return _floats(self.workload.gemm_k)

    @cached_property
    def n(self) -> Floats:
        """Output channels per group."""
        return _floats(self.workload.gemm_n)

    @cached_property
    def runs(self) -> Floats:
        """Matrix products per pass: groups times repeats."""
        return _floats(self.workload.groups * self.workload.repeats)

    @cached_property
    def macs(self) -> Floats:
        """Multiply-accumulates, zeros included."""
        return self.m * self.k * self.n * self.runs

    @cached_property
    def stored_weight_bits(self) -> Ints:
        """Width of a weight in memory."""
        return np.minimum(self.workload.weight_bits, self.max_bits)

    @cached_property
    def weight_bits(self) -> Ints:
        """Width of a weight in the multiplier."""
        if not self.workload.codebook.any():
            return self.stored_weight_bits
        return np.where(self.workload.codebook > 0, self.max_bits, self.stored_weight_bits)

    @cached_property
    def activation_bits(self) -> Ints:
        """Width of an activation."""
        return np.minimum(self.workload.activation_bits, self.max_bits)

    @cached_property
    def input_row(self) -> Floats:
        """Bits of one row of the input map, all channels and images."""
        work = self.workload
        columns = np.minimum(work.in_w, work.out_w * work.kernel_w)  # a stride beyond the kernel never reads the rest
        return _floats(work.batch * columns * self.activation_bits * (work.in_channels * self.used))

    @cached_property
    def inputs(self) -> Floats:
        """Bits of the input map that are read at least once."""
        work = self.workload
        return _floats(self.input_row * np.minimum(work.in_h, work.out_h * work.kernel_h))

    @cached_property
    def outputs(self) -> Floats:
        """Bits of the output map."""
        return self.m * self.activation_bits * self.workload.out_channels

    @cached_property
    def weights(self) -> Floats:
        """Bits of the weights unpacked, zeros included."""
        return self.k * self.n * self.workload.groups * self.stored_weight_bits

    @cached_property
    def packed_weights(self) -> Floats:
        """Bits of the weights as they lie in memory: non-zeros, indices and codebook."""
        work, stored = self.workload, self.stored_weight_bits
        packed = np.minimum(work.nonzeros * (stored + work.index_bits), work.weights * stored)
        return _floats(packed + np.where(work.used, work.codebook * 32, 0))

    @cached_property
    def fuses(self) -> bool:
        """Whether any layer of any candidate hands its output map on without DRAM."""
        return bool(self.workload.fused.any())

    @cached_property
    def _links(self) -> tuple[Floats, Floats]:
        """Whether a slot's map comes from the layer before it, and whether its own goes to the layer behind it, on chip."""
        shape = np.broadcast_shapes(self.workload.shape, self.used.shape)
        fused, used = (np.broadcast_to(a, shape).astype(bool) for a in (self.workload.fused, self.used))
        handed, taken = np.zeros(shape, bool), np.zeros(shape, bool)
        state, follows = np.zeros(shape[:-1], bool), np.zeros(shape[:-1], bool)
        for slot in range(shape[-1]):  # slots without a layer pass the map through
            handed[..., slot] = state
            state = np.where(used[..., slot], fused[..., slot], state)
        for slot in reversed(range(shape[-1])):  # behind the last layer there is nobody to take the map
            taken[..., slot] = fused[..., slot] & follows
            follows = follows | used[..., slot]
        return handed.astype(np.float64), taken.astype(np.float64)

    @cached_property
    def from_dram(self) -> Floats:
        """1 where the input map is read from DRAM, 0 where the layer before leaves it on chip."""
        return 1 - self._links[0] if self.fuses else np.ones(())

    @cached_property
    def to_dram(self) -> Floats:
        """1 where the output map is written to DRAM."""
        return 1 - self._links[1] if self.fuses else np.ones(())

    @cached_property
    def in_group(self) -> Floats:
        """1 where the layer belongs to a group of fused layers."""
        return np.maximum(*self._links) if self.fuses else np.zeros(())


def offchip_bits(work: Operands, capacity_bits: Quantity) -> Floats:
    """Off-chip traffic of each layer under the better of two loop orders, ``... x l``.

    One operand stays on chip, in as many chunks as the buffer asks for; the other is streamed once per chunk (the two outer
    loop orders of Zhang et al., FPGA 2015, with the whole reduction inside, so that no partial sum leaves the chip):

        weights stay:  weights + inputs * ceil(weights / capacity)
        inputs stay:   inputs + halo + weights * ceil(inputs / capacity)

    Operands stay as they are packed. Chunks are counted per group, since a group's weights meet its own inputs only. Maps between
    fused layers do not travel.

    Args:
        work: the operands.
        capacity_bits: buffer that holds one chunk (half of a double buffer).
    """
    group_capacity = work.workload.groups * capacity_bits
    weight_chunks = np.maximum(np.ceil(work.packed_weights / group_capacity), 1)
    input_chunks = np.maximum(np.ceil(work.inputs / group_capacity), 1)
    inputs = work.inputs * work.from_dram
    weights_stay = work.packed_weights + inputs * weight_chunks
    halo_rows = np.maximum(work.workload.kernel_h - work.workload.stride, 0)
    halo = (input_chunks - 1) * halo_rows * work.input_row * work.from_dram
    inputs_stay = inputs + halo + work.packed_weights * input_chunks
    return _floats((np.minimum(weights_stay, inputs_stay) + work.outputs * work.to_dram) * work.workload.repeats)


def boundary_bits(work: Operands) -> Floats:
    """Bits that one image brings into the first layer and takes from the last one, ``... x l``; 0 in between."""
    used = work.workload.used
    layers = used.shape[-1]
    if not layers:
        return np.zeros(used.shape)
    slots = np.arange(layers)
    first = slots == used.argmax(-1)[..., None]
    last = slots == (layers - 1 - used[..., ::-1].argmax(-1))[..., None]
    return np.asarray((work.inputs * first + work.outputs * last) * (work.workload.repeats / work.workload.batch))
