"""What layers that are fused keep on chip, so that the maps between them do not travel to DRAM."""

from __future__ import annotations

import numpy as np

from hwmodels.cost import Floats
from hwmodels.fpga import BRAM18_BITS
from hwmodels.layer_shapes import LayerShapes
from hwmodels.tile_costs import Number
from hwmodels.traffic import Operands


def fused_blocks(work: Operands, lane_rows: Number) -> Floats:
    """18 Kb blocks that the layers of each layer's fused group hold all the time, ``... x l``; 0 outside of groups.

    A fused group computes strip by strip (Alwani et al., MICRO 2016): all of its weights stay on chip, and before every layer but the
    first lie the rows of the map that its kernel covers. Before a block convolution lies one block.
    """
    if not work.fuses:
        return np.zeros(())
    shapes, layer = LayerShapes(work), work.workload
    rows = np.minimum((np.asarray(lane_rows) - 1) * shapes.stride + layer.kernel_h, layer.in_h) * shapes.in_cols
    block = np.minimum((layer.block * shapes.stride) ** 2, layer.in_h * layer.in_w)
    lines = np.where(layer.block > 0, block, rows) * layer.in_channels * work.activation_bits * (1 - work.from_dram)
    kept = np.ceil(lines / BRAM18_BITS) + np.ceil(work.weights * work.in_group / BRAM18_BITS)
    kept = np.array(np.broadcast_to(kept * work.used, np.broadcast_shapes(layer.shape, np.shape(kept))))
    follows = np.broadcast_to(work.from_dram, kept.shape) == 0
    for slot in range(1, kept.shape[-1]):  # sum along each group, then back to its first layer
        kept[..., slot] += follows[..., slot] * kept[..., slot - 1]
    for slot in range(kept.shape[-1] - 1, 0, -1):
        kept[..., slot - 1] = np.where(follows[..., slot], kept[..., slot], kept[..., slot - 1])
    return kept
