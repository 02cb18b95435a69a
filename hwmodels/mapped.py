"""Mapped: a layer laid out on the processing elements of an ASIC, before it is priced."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.imbalance import Floats


@dataclass(frozen=True, eq=False)
class Mapped:
    """A layer on the processing elements (PEs); arrays broadcast to ``... x l`` and count one run of the layer.

    Attributes:
        cycles: of the whole layer, all groups.
        active: share of the MACs that are executed.
        energy: share of the MACs' energy that is spent, gated ones included.
        input_reads: times that the input map is read from the buffer.
        extra_weight_bits: stored beside the weights and their positions.
        partial_words: partial sums that are read from and written to the buffer.
        hops: partial sums that move from PE to PE.
        map_bits: bits of the maps that cross the off-chip bus, where the mapping decides it; None for the better loop order.
        weight_loads: times that the weights come from off chip, with ``map_bits``.
    """

    cycles: Floats
    active: Floats
    energy: Floats
    input_reads: Floats | float = 1.0
    extra_weight_bits: Floats | float = 0.0
    partial_words: Floats | float = 0.0
    hops: Floats | float = 0.0
    map_bits: Floats | None = None
    weight_loads: Floats | float = 1.0
