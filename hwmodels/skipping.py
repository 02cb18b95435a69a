"""ASICs that skip zeros: how long the scattered non-zeros of a layer keep their processing elements busy."""

from __future__ import annotations

from typing import Final

import numpy as np

from hwmodels.imbalance import (
    LEAST_DENSITY,
    expected_maximum,
    filled_blocks,
    irregularity,
    lane_steps,
    run_length_padding,
    slowest,
)
from hwmodels.mapped import Mapped
from hwmodels.parameters import Count, Quantity
from hwmodels.traffic import Operands

_POINTER_BITS: Final = 16  # of EIE, one per PE and column (Han et al., ISCA 2016)


def eie(work: Operands, *, pes: Count, fifo_depth: Count, run_bits: Count) -> Mapped:
    """Zero weights and activations; the rows of the weight matrix lie interleaved over PEs (Han et al., ISCA 2016).

    J non-zero activations are broadcast; each gives a PE X weights, X binomial with mean mu over its n rows, and a PE without one
    still takes a cycle:

        cycles = J (mu + (1-d)^n) (1 + z cv (D**-1.75 + J**-0.5)),   cv = sqrt((1-d) / (n d)),   z = E[max of the PEs]

    The two terms in the bracket, the FIFO depth D and the end of the run, are fitted to a FIFO simulation.
    """
    density = np.clip(work.workload.weight_density, LEAST_DENSITY, 1)
    irregular = irregularity(work.workload)
    rows = np.ceil(work.n / pes)
    padding = run_length_padding(rows, density, index_bits=run_bits)
    columns = work.m * work.k * work.workload.activation_density
    variation = np.sqrt((1 - density) / np.maximum(rows * density, density)) * irregular
    waiting = expected_maximum(pes) * variation * (fifo_depth**-1.75 + np.maximum(columns, 1) ** -0.5)
    mean = np.minimum(rows * density + padding, rows)
    busy = np.maximum(mean + irregular * (1 - density) ** rows, 1)
    entries = np.minimum(busy + mean * waiting, np.maximum(rows, 1))
    share = mean / np.maximum(rows, 1) * work.workload.activation_density
    pointers = pes * work.k * work.workload.groups * work.used * _POINTER_BITS
    return Mapped(columns * entries * work.workload.groups, share, share, extra_weight_bits=pointers)


def cambricon_x(work: Operands, *, pes: Count, lanes: Count) -> Mapped:
    """Zero weights; a filter per PE, ``lanes`` of its non-zero weights at once, and the PEs wait for the fullest filter.

    Zhang et al., MICRO 2016.
    """
    density, irregular = work.workload.weight_density, irregularity(work.workload)
    fullest = slowest(work.k * density, density, units=pes, most=work.k, irregular=irregular)
    steps = lane_steps(fullest, lanes=lanes, most=work.k, irregular=irregular)
    sets = np.ceil(work.n / pes)
    return Mapped(work.m * sets * steps * work.workload.groups, density, density, sets)


def cnvlutin(work: Operands, *, pes: Count, lanes: Count) -> Mapped:
    """Zero activations; each of ``lanes`` slices of the inputs feeds ``pes`` filters, and a window waits for its fullest slice.

    Albericio et al., ISCA 2016.
    """
    density = work.workload.activation_density
    slices = np.ceil(work.k / lanes)
    fullest = slowest(slices * density, density, units=lanes, most=slices)
    sets = np.ceil(work.n / pes)
    cycles = work.m * sets * np.maximum(fullest, np.minimum(slices, 1)) * work.workload.groups
    return Mapped(cycles, density, density, sets)


def scnn(work: Operands, *, pes: Count, lanes: Count, weight_lanes: int, accumulators: Count) -> Mapped:
    """Zero weights and activations; every weight of a channel meets every activation of it (Parashar et al., ISCA 2017).

    A PE owns a patch of the map. For each input channel its F x I multipliers take ``ceil(nnz_w / F) ceil(nnz_a / I)`` cycles, over
    as many filters as its accumulators hold outputs for; the PEs wait for the fullest patch. Outputs at the rim of a patch belong
    to a neighbour: they need accumulators, not multiplications. A stride splits channels into stride^2 phases that never mix.
    """
    layer = work.workload
    side = np.sqrt(pes)
    phases = np.minimum(layer.stride, layer.kernel_h) * np.minimum(layer.stride, layer.kernel_w)
    rows, columns = np.ceil(layer.in_h / side), np.ceil(layer.in_w / side)
    places = np.ceil(rows * columns / layer.stride**2)
    rim = np.ceil(rows / layer.stride) + layer.kernel_h - 1, np.ceil(columns / layer.stride) + layer.kernel_w - 1
    filters = np.clip(np.floor(accumulators / (rim[0] * rim[1])), 1, np.maximum(work.n, 1))
    taps = filters * layer.kernel_h * layer.kernel_w / phases
    weights = filled_blocks(taps, layer.weight_density, block=weight_lanes, irregular=irregularity(layer))
    density = layer.activation_density
    inputs = filled_blocks(places, density, block=lanes / weight_lanes)
    channels = work.k / (layer.kernel_h * layer.kernel_w) * phases
    uneven = expected_maximum(pes) * np.sqrt((1 - density) / np.maximum(places * density * channels, LEAST_DENSITY))
    patches = np.minimum(inputs * (1 + uneven), np.ceil(places * weight_lanes / lanes))
    sets = np.ceil(work.n / filters)
    share = layer.weight_density * density
    return Mapped(layer.batch * layer.groups * work.used * sets * channels * weights * patches, share, share, sets)


def eyeriss_v2(work: Operands, *, pes: Count, lanes: Count, spad_weights: Count, correlation: Quantity) -> Mapped:
    """Zero weights and activations, both in compressed columns; a cycle per pair of non-zeros (Chen et al., JETCAS 2019).

    Pruning keeps the weights that meet active channels, so that pairs are a little more frequent than ``d_w d_a``: with correlation
    rho of the two ``d_w d_a + rho sqrt(d_w (1-d_w) d_a (1-d_a))``; a depthwise filter sees one channel and has none. Row stationary:
    each PE holds ``spad_weights`` places and passes one row of outputs; the PEs wait for the fullest.
    """
    layer = work.workload
    weights, inputs = layer.weight_density, layer.activation_density
    aligned = np.sqrt(weights * (1 - weights) * inputs * (1 - inputs)) * (layer.in_channels > layer.groups)
    pairs = np.minimum(weights * inputs + correlation * aligned, np.minimum(weights, inputs))
    passes = layer.batch * layer.out_h * np.maximum(work.k * work.n * layer.groups / spad_weights, 1)
    of_pass = work.m * work.k * work.n * layer.groups / passes
    irregular = irregularity(layer) > 0  # aligned weights leave the zeros of the inputs, on the weights that are kept
    most = of_pass * np.where(irregular, 1.0, weights)
    fullest = slowest(of_pass * pairs, np.where(irregular, pairs, inputs), units=pes, most=most)
    cycles = np.maximum(fullest / lanes * np.ceil(passes / pes), 1) * work.used
    return Mapped(cycles, pairs, pairs, np.ceil(work.n * work.k / spad_weights) / np.maximum(np.ceil(work.k / spad_weights), 1))
