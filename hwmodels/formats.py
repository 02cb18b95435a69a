"""Storage formats of sparse operands: what positions cost, and the operands of a layer packed as a device stores them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np

from hwmodels.imbalance import LEAST_DENSITY, Floats
from hwmodels.parameters import Count
from hwmodels.traffic import Operands
from hwmodels.workload import Ints, Pattern

Format: TypeAlias = Literal["dense", "bitmask", "run_length", "csc", "n_m"]

_POINTER_BITS: Final = 16  # where a column starts in compressed sparse columns (Han et al., ISCA 2016)


def bits_per_value(
    storage: Format,
    bits: Floats | Ints,
    density: Floats,
    *,
    rows: Floats,
    run_bits: Count = 4,
    shared: Floats | float = 1.0,
    n_m: float = 0.5,
) -> Floats:
    """Bits that one value takes, zeros included, in a storage format; never more than ``bits``, since dense storage is always open.

    Per non-zero: bitmask ``b + 1/d``; run length ``(b + r) / (1 - (1-d)^(2^r))``, where the divisor pays for zeros that break a
    run longer than ``2^r``; compressed sparse columns (CSC, or CSR by rows) ``b + log2(rows)`` and a 16-bit pointer per column; N:M
    ``b + log2(M)`` in N of M places, whatever they hold. Where a pattern keeps or drops ``shared`` values together, they share one
    position.

    Args:
        storage: the format.
        bits: width of a value.
        density: fraction of non-zeros.
        rows: values of one column, for ``csc``.
        run_bits: bits of a zero run, for ``run_length``; bits of a position inside its group, for ``n_m``.
        shared: values with one common position; 1 for fine-grained zeros.
        n_m: N/M, for ``n_m``; denser tensors are stored densely.
    """
    if storage == "dense":
        return np.asarray(bits, np.float64)
    if storage == "n_m":
        return np.asarray(np.where(density <= n_m, np.minimum(n_m * (bits + run_bits), bits), bits), np.float64)
    if storage == "bitmask":
        packed = density * bits + 1 / shared
    elif storage == "run_length":
        unbroken = -np.expm1(2.0**run_bits * np.log1p(-np.clip(density, LEAST_DENSITY, 1 - LEAST_DENSITY)))
        packed = density / unbroken * (bits + run_bits / shared)
    else:
        packed = density * (bits + np.ceil(np.log2(np.maximum(rows, 2))) / shared) + _POINTER_BITS / np.maximum(rows, 1)
    return np.asarray(np.minimum(packed, bits))


@dataclass(frozen=True, eq=False)
class PackedOperands(Operands):
    """Operands of a layer as a device stores them: weights and feature maps each in a format of the device.

    The written map is taken to be as sparse as the one that is read. `weights`, unpacked, still says how much is computed.

    Attributes:
        weight_format, map_format: see `bits_per_value`.
        run_bits, map_run_bits: bits of a zero run in weights and in maps.
        n_m: N/M of the device, for ``n_m``.
    """

    weight_format: Format = "dense"
    map_format: Format = "dense"
    run_bits: Count = 4
    map_run_bits: Count = 4
    n_m: float = 0.5

    @cached_property
    def shared(self) -> Floats | float:
        """Weights that share one position: a row of a kernel, a kernel, or the same place in every filter."""
        work = self.workload
        if not (work.pattern > Pattern.FINE).any():
            return 1.0
        kernels = work.kernel_h * work.kernel_w
        shares = {Pattern.VECTOR: work.kernel_w, Pattern.KERNEL: kernels, Pattern.GROUP: work.gemm_n}
        return np.select([work.pattern == pattern for pattern in shares], list(shares.values()), 1).clip(1).astype(np.float64)

    @cached_property
    def weight_cost(self) -> Floats:
        """Bits per weight, zeros included."""
        return self._packed(self.weight_format, self.stored_weight_bits, self.workload.weight_density, self.run_bits, self.shared)

    @cached_property
    def map_cost(self) -> Floats:
        """Bits per activation, zeros included."""
        return self._packed(self.map_format, self.activation_bits, self.workload.activation_density, self.map_run_bits, 1.0)

    def _packed(self, storage: Format, bits: Ints, density: Floats, run_bits: Count, shared: Floats | float) -> Floats:
        if storage == "n_m":  # patterns that leave as many in each M: others fall anywhere, and are stored densely
            density = np.where(np.isin(self.workload.pattern, (Pattern.GROUP, Pattern.N_M)), density, 1.0)
        return bits_per_value(storage, bits, density, rows=self.k, run_bits=run_bits, shared=shared, n_m=self.n_m)

    @cached_property
    def packed_weights(self) -> Floats:
        """Bits of the weights with positions and codebook."""
        return self.k * self.n * self.workload.groups * self.used * self.weight_cost + self.used * self.workload.codebook * 32

    @cached_property
    def input_row(self) -> Floats:
        """Bits of one row of the packed input map, all channels and images."""
        return super().input_row / self.activation_bits * self.map_cost

    @cached_property
    def outputs(self) -> Floats:
        """Bits of the packed output map."""
        return self.m * self.workload.out_channels * self.map_cost
