from __future__ import annotations

import numpy as np

from hwmodels import Workload, load_device
from hwmodels.fusion import fused_blocks
from hwmodels.tile_costs import Lanes, Memory
from hwmodels.tiling import choose_tiling
from hwmodels.traffic import Operands


def fused_pair(block: int = 0) -> Operands:
    """Two fused 3x3 layers of 8 channels on 64x64 pixels, 16 bit."""
    layers = {name: np.full(2, 64) for name in ("in_h", "in_w", "out_h", "out_w")} | {"kernel_h": np.full(2, 3), "kernel_w": np.full(2, 3)}
    channels = np.full(2, 8)
    bits = {"weight_bits": np.full((), 16), "activation_bits": np.full((), 16)}
    names = ("first", "second")
    fused, blocks = np.array([1, 0]), np.full((), block)
    return Operands(Workload(names=names, in_channels=channels, out_channels=channels, fused=fused, block=blocks, **layers, **bits), 16)


def test_a_fused_group_keeps_its_weights_and_the_rows_between_on_chip() -> None:
    # weights 8 * 8 * 9 * 16 = 9216 bits, one block of 18432 each; before the second layer 3 rows * 64 * 8 * 16 = 24576 bits, 2 blocks
    assert fused_blocks(fused_pair(), 1).tolist() == [4, 4]
    # four rows at once see six rows: 49152 bits, 3 blocks
    assert fused_blocks(fused_pair(), 4).tolist() == [5, 5]


def test_a_block_convolution_is_fused_without_line_buffers() -> None:
    # a block of 8 * 8 pixels of 8 channels: 8192 bits, one block
    assert fused_blocks(fused_pair(block=8), 1).tolist() == [3, 3]


def test_fused_layers_move_the_outer_maps_only() -> None:
    work = fused_pair()
    memory = Memory(lanes=Lanes(8, 4), blocks=20, bits_per_cycle=64, burst_bytes=1024, burst_overhead_bytes=0)
    tiling = choose_tiling(memory, work, np.zeros(2))
    assert tiling.output_bits.tolist() == [0, 8 * 4096 * 16]
    assert tiling.input_bits[1] == 0
    assert tiling.weight_bits.tolist() == [9216, 9216]


def test_nothing_is_kept_without_fusion() -> None:
    assert fused_blocks(Operands(fused_pair().workload.replace(fused=np.zeros(2, int)), 16), 1) == 0


def test_fusion_needs_block_rams_and_saves_traffic() -> None:
    pair = fused_pair().workload
    apart = load_device("vc707").estimate(pair.replace(fused=np.zeros(2, int)))
    fused = load_device("vc707").estimate(pair)
    assert apart.dram_bytes.sum() - fused.dram_bytes.sum() >= 2 * 8 * 64 * 64 * 2
    assert fused.feasible
    small = load_device("vc707", {"bram18": 3}).estimate(pair)
    assert not small.feasible
    assert "BRAM18, the device has 3" in small.reasons()[0]
