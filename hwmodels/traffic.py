"""What the operands of a layer weigh in bits, and how often they cross the off-chip bus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.cost import Floats
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
        narrowed = self.workload.weight_bits - self.stored_weight_bits
        packed = self.workload.weight_storage_bits
        return _floats(packed - self.workload.nonzeros * narrowed if narrowed.any() else packed)


def offchip_bits(work: Operands, capacity_bits: float) -> Floats:
    """Off-chip traffic of each layer under the better of two loop orders, ``... x l``.

    One operand stays on chip, in as many chunks as the buffer asks for; the other is streamed once per chunk (the two outer
    loop orders of Zhang et al., FPGA 2015, with the whole reduction inside, so that no partial sum leaves the chip):

        weights stay:  weights + inputs * ceil(weights / capacity)
        inputs stay:   inputs + halo + weights * ceil(inputs / capacity)

    Chunks are counted per group, since a group's weights meet its own inputs only.

    Args:
        work: the operands.
        capacity_bits: buffer that holds one chunk (half of a double buffer).
    """
    group_capacity = work.workload.groups * capacity_bits
    weight_chunks = np.maximum(np.ceil(work.weights / group_capacity), 1)
    input_chunks = np.maximum(np.ceil(work.inputs / group_capacity), 1)
    weights_stay = work.packed_weights + work.inputs * weight_chunks
    halo_rows = np.maximum(work.workload.kernel_h - work.workload.stride, 0)
    inputs_stay = work.inputs + (input_chunks - 1) * halo_rows * work.input_row + work.packed_weights * input_chunks
    return _floats((np.minimum(weights_stay, inputs_stay) + work.outputs) * work.workload.repeats)


def transfer_s(traffic_bytes: NDArray[np.float64], *, bytes_per_s: float, burst_bytes: float, overhead_bytes: float) -> Floats:
    """Seconds to move bytes in bursts: each burst loses the time of ``overhead_bytes``.

    This is the effective bandwidth ``BW * burst / (burst + overhead)`` of Zhang et al., FPGA 2015.
    """
    return np.asarray(traffic_bytes * ((1 + overhead_bytes / burst_bytes) / bytes_per_s))
