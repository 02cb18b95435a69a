from __future__ import annotations

from hwmodels import Workload
from hwmodels.traffic import Operands, offchip_bits


def conv(**changes: object) -> Workload:
    """4 -> 6 channels, 3x3, 8x8 pixels, 8 bit: inputs 2048, weights 1728, outputs 3072 bits."""
    fields: dict[str, object] = {
        "in_channels": [4],
        "out_channels": [6],
        "kernel_h": [3],
        "kernel_w": [3],
        "in_h": [8],
        "in_w": [8],
        "out_h": [8],
        "out_w": [8],
        "weight_bits": [8],
        "activation_bits": [8],
    }
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def test_operand_sizes_by_hand() -> None:
    work = Operands(conv(), 16)
    assert work.inputs == 4 * 8 * 8 * 8
    assert work.weights == 4 * 6 * 9 * 8
    assert work.outputs == 6 * 8 * 8 * 8


def test_each_operand_moves_once_when_one_of_them_fits() -> None:
    assert offchip_bits(Operands(conv(), 16), 1728) == 2048 + 1728 + 3072


def test_the_cheaper_loop_order_is_taken() -> None:
    # capacity 1000: 2 chunks of weights read the inputs twice, 1728 + 2 * 2048 = 5824;
    # 3 chunks of inputs read the weights thrice and 2 * 2 halo rows of 4 * 8 * 8 = 256 bits, 2048 + 1024 + 5184 = 8256
    assert offchip_bits(Operands(conv(), 16), 1000) == 5824 + 3072
    # few filters: 4 * 1 * 9 * 8 = 288 bits of weights in 2 chunks beat 11 chunks of inputs at 200; outputs 512
    assert offchip_bits(Operands(conv(out_channels=[1]), 16), 200) == 288 + 2 * 2048 + 512


def test_inputs_stay_where_weights_are_large() -> None:
    # linear 64 -> 100 at 8 bit: inputs 512 bits in 2 chunks of 300 would read 51200 bits of weights twice; weights in 171 chunks
    # would read 512 bits 171 times: 51200 + 87552 > 512 + 102400
    work = Operands(Workload(names=("fc",), in_channels=[64], out_channels=[100], weight_bits=[8], activation_bits=[8]), 16)  # type: ignore[arg-type]
    assert offchip_bits(work, 300) == 512 + 2 * 51200 + 800


def test_a_group_meets_its_own_inputs_only() -> None:
    # depthwise: weights 4 * 9 * 8 = 288 bits are 72 per group, one chunk of 100 each; nothing is read twice
    assert offchip_bits(Operands(conv(out_channels=[4], groups=[4]), 16), 100) == 2048 + 288 + 2048


def test_a_stride_beyond_the_kernel_skips_pixels() -> None:
    strided = conv(kernel_h=[1], kernel_w=[1], out_h=[4], out_w=[4], stride=[2])
    assert Operands(strided, 16).inputs == 4 * 4 * 4 * 8


def test_zeros_are_not_moved_but_indices_and_codebook_are() -> None:
    # 216 weights, half of them zero: 108 * (4 + 3) bits and 16 entries of 32 bits
    work = Operands(conv(weight_bits=[4], weight_density=[0.5], index_bits=[3], codebook=[16]), 16)
    assert work.packed_weights == 108 * 7 + 512
    assert work.weight_bits == 16  # looked up before it is multiplied
    assert work.stored_weight_bits == 4


def test_a_wide_network_is_priced_at_the_widest_format() -> None:
    wide, narrow = Operands(conv(weight_bits=[32], activation_bits=[32]), 16), Operands(conv(weight_bits=[16], activation_bits=[16]), 16)
    for name in ("inputs", "outputs", "weights", "packed_weights", "weight_bits", "activation_bits"):
        assert getattr(wide, name) == getattr(narrow, name), name


def chain(fused: list[int], filters: list[int]) -> Operands:
    """Pointwise layers on 8x8 pixels, 8 bit; a layer of 0 filters is an unused slot."""
    inputs = [4, 4, 4, 4][: len(filters)]
    pixels = [8] * len(filters)
    sizes = {"in_h": pixels, "in_w": pixels, "out_h": pixels, "out_w": pixels}
    names = tuple("abcd"[: len(filters)])
    bits = {"weight_bits": [8] * len(filters), "activation_bits": [8] * len(filters)}
    return Operands(Workload(names=names, in_channels=inputs, out_channels=filters, fused=fused, **sizes, **bits), 16)  # type: ignore[arg-type]


def test_maps_between_fused_layers_do_not_travel() -> None:
    work = chain([1, 1, 0], [4, 4, 4])
    assert work.from_dram.tolist() == [1, 0, 0]
    assert work.to_dram.tolist() == [0, 0, 1]
    assert work.in_group.tolist() == [1, 1, 1]
    # a map has 4 * 64 * 8 = 2048 bits, weights 16 * 8 = 128: the first layer reads its map, the last writes its own
    assert offchip_bits(work, 1e6).tolist() == [2048 + 128, 128, 128 + 2048]


def test_a_fused_map_passes_slots_without_a_layer() -> None:
    work = chain([1, 0, 0], [4, 0, 4])
    assert work.from_dram[2] == 0
    assert work.to_dram.tolist()[0] == 0


def test_the_last_map_leaves_the_chip_whatever_it_says() -> None:
    work = chain([0, 1, 0], [4, 4, 0])
    assert work.to_dram[1] == 1
    assert work.in_group.tolist()[:2] == [0, 0]


def test_a_workload_without_fusion_travels_whole() -> None:
    work = chain([0, 0], [4, 4])
    assert not work.fuses
    assert work.from_dram == 1
    assert offchip_bits(work, 1e6).tolist() == [4224, 4224]
