from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import DeviceError, Workload, load_device
from hwmodels.systolic import SystolicArray, splits

DEVICE = SystolicArray(
    name="toy",
    rows=4,
    cols=4,
    arrays=1,
    dataflow="os",
    weight_double_buffer=False,
    clock_hz=1e6,
    max_bits=16,
    dsp_type="dsp48e2",
    dsps=16,
    luts=10_000,
    ffs=20_000,
    bram18=100,
    dram_bytes_per_s=1e9,
    dram_latency_s=1e-6,
    burst_bytes=64,
    burst_overhead_bytes=16,
    mac_energy_j=2e-12,
    sram_energy_j_per_bit=1e-12,
    dram_energy_j_per_bit=1e-11,
    static_power_w=1e-3,
)


def conv(bits: int = 16, **changes: object) -> Workload:
    """4 -> 8 channels, 3x3, 4x4 pixels: m 16, k 36, n 8, 4608 MACs."""
    fields: dict[str, object] = {
        "in_channels": [4],
        "out_channels": [8],
        "kernel_h": [3],
        "kernel_w": [3],
        "in_h": [4],
        "in_w": [4],
        "out_h": [4],
        "out_w": [4],
        "weight_bits": [bits],
        "activation_bits": [bits],
    }
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def tiny(bits: int = 16, width: float = 1.0) -> Workload:
    """A residual network for 8x8 digits: five 3x3 convolutions of 16 and 32 channels and a linear layer."""
    narrow, wide = int(16 * width), int(32 * width)
    return Workload(
        names=tuple("abcdef"),
        in_channels=np.array([1, narrow, narrow, narrow, wide, wide]),
        out_channels=np.array([narrow, narrow, narrow, wide, wide, 10]),
        kernel_h=np.array([3, 3, 3, 3, 3, 1]),
        kernel_w=np.array([3, 3, 3, 3, 3, 1]),
        in_h=np.array([8, 8, 8, 8, 4, 1]),
        in_w=np.array([8, 8, 8, 8, 4, 1]),
        out_h=np.array([8, 8, 8, 4, 4, 1]),
        out_w=np.array([8, 8, 8, 4, 4, 1]),
        stride=np.array([1, 1, 1, 2, 1, 1]),
        weight_bits=np.array(bits),
        activation_bits=np.array(bits),
    )


def test_a_layer_by_hand() -> None:
    report = DEVICE.estimate(conv())
    # ceil(16/4) * ceil(8/4) = 8 folds of 4 + 4 + 36 - 2 = 42 cycles, less one
    assert report.cycles == 335
    # inputs 4*16, weights 288, outputs 8*16, two bytes each
    assert report.dram_bytes == 2 * (64 + 288 + 128)
    # before computing 4 * 4 weights of 9 taps and 3 rows of 4 pixels and 4 channels arrive, and a row of 4 pixels and 4 filters leaves:
    # (144 + 48 + 16) * 16 bit at 8000 bit per cycle; then 1 us to the first word
    assert report.latency_s == pytest.approx(335e-6 + 208 * 16 / 8e9 + 1e-6)
    assert report.energy_parts_j["mac"] == pytest.approx(4608 * 2e-12)
    # inputs 16*36 per ceil(8/4) folds of filters, weights 36*8 per ceil(16/4) folds of pixels, outputs 16*8 once, and what DRAM fills
    assert report.energy_parts_j["sram"] == pytest.approx((2 * 576 + 4 * 288 + 128 + 480) * 16 * 1e-12)
    assert report.energy_parts_j["dram"] == pytest.approx(960 * 8 * 1e-11)
    assert report.energy_parts_j["static"] == pytest.approx(336.416e-9)
    assert report.utilization == pytest.approx(4608 / (336.416 * 16))


def test_partial_sums_travel_where_the_reduction_is_folded() -> None:
    report = dataclasses.replace(DEVICE, dataflow="ws", dram_energy_j_per_bit=0.0).estimate(conv())
    # ceil(36/4) = 9 folds of the reduction: 8 partial sums of 32 bits are written and read for each of 128 outputs
    sram = (2 * 576 + 288 + 128 + 480) * 16 + 128 * 8 * 2 * 32
    assert report.energy_parts_j["sram"] == pytest.approx(sram * 1e-12)


def test_packed_slices_see_fewer_pixels_or_filters() -> None:
    # 8 bit, two MACs per slice: ceil(16/8) * ceil(8/4) = 4 folds of 42 cycles; 4 bit, two by two: ceil(16/8) * ceil(8/8) = 2
    assert DEVICE.estimate(conv(8)).cycles == 4 * 42 - 1
    assert DEVICE.estimate(conv(4)).cycles == 2 * 42 - 1


def test_a_pair_shares_the_axis_that_gains_more() -> None:
    # 4 pixels are one fold anyway, 8 filters become one
    assert DEVICE.estimate(conv(8, out_h=[2], out_w=[2], stride=[2])).cycles == 42 - 1


def test_arrays_divide_pixels_filters_or_inputs() -> None:
    # four arrays: 4 pixels * 4 filters per array in 2 folds of 42, or 2 folds with a quarter of the inputs, 8 folds of 15, ...
    assert dataclasses.replace(DEVICE, arrays=4, dsps=64).estimate(conv()).cycles == 2 * 42 - 1
    # one fold of 4 pixels and 4 filters leaves only the reduction: 36 / 4 = 9 inputs, 4 + 4 + 9 - 2
    small = conv(out_channels=[4], out_h=[2], out_w=[2], stride=[2])
    assert dataclasses.replace(DEVICE, arrays=4, dsps=64).estimate(small).cycles == 15 - 1


def test_splits_multiply_to_the_number_of_arrays() -> None:
    def factors(arrays: int) -> list[tuple[float, ...]]:
        return sorted(tuple(float(factor) for factor in way) for way in splits(arrays))

    assert factors(1) == [(1, 1, 1)]
    assert factors(4) == [(1, 1, 4), (1, 2, 2), (1, 4, 1), (2, 1, 2), (2, 2, 1), (4, 1, 1)]
    assert all(m * k * n == 12 for m, k, n in factors(12))


def test_a_number_of_arrays_that_cannot_be_divided_so_is_never_the_fastest() -> None:
    ways = splits(np.array([[3], [4]]))
    assert all(np.isnan(m * k * n).any() or (m * k * n == [[3], [4]]).all() for m, k, n in ways)
    workload = conv().replace(in_channels=np.array([[4], [4]]))
    both = dataclasses.replace(DEVICE, arrays=np.array([[3], [4]]), dsps=64).estimate(workload)
    alone = [dataclasses.replace(DEVICE, arrays=arrays, dsps=64).estimate(conv()).cycles.item() for arrays in (3, 4)]
    assert both.cycles[:, 0].tolist() == alone


def test_a_weight_double_buffer_hides_all_loads_but_the_first() -> None:
    # output stationary: 8 folds of max(36, 4) cycles, and 4 + 4 - 3 once
    assert dataclasses.replace(DEVICE, weight_double_buffer=True).estimate(conv()).cycles == 8 * 36 + 5


def test_array_sizes_are_axes() -> None:
    rows, cols = np.array([[2], [4], [8]]), np.array([[8], [4], [3]])
    workload = conv().replace(in_channels=np.full((3, 1), 4))
    report = dataclasses.replace(DEVICE, rows=rows, cols=cols).estimate(workload)
    for index in range(3):
        alone = dataclasses.replace(DEVICE, rows=int(rows[index, 0]), cols=int(cols[index, 0])).estimate(conv())
        assert report.total_latency_s[index] == alone.total_latency_s
        assert report.total_energy_j[index] == pytest.approx(float(alone.total_energy_j))
        assert report.resources["DSP"][index] == alone.resources["DSP"]
        assert report.feasible[index] == alone.feasible


def test_a_depthwise_layer_is_one_product_per_group() -> None:
    # 4 groups of m 16, k 9, n 1: ceil(16/4) * 1 folds of 4 + 4 + 9 - 2 = 15 cycles, less one
    assert DEVICE.estimate(conv(out_channels=[4], groups=[4])).cycles == 4 * (4 * 15 - 1)


def test_a_vector_unit_takes_depthwise_layers_where_it_is_faster() -> None:
    depthwise = conv(out_channels=[4], groups=[4])  # 4 * 16 * 9 = 576 MACs, 236 cycles on the array
    assert dataclasses.replace(DEVICE, vector_lanes=4.0).estimate(depthwise).cycles == 144
    assert dataclasses.replace(DEVICE, vector_lanes=1.0).estimate(depthwise).cycles == 236
    assert dataclasses.replace(DEVICE, vector_lanes=4.0).estimate(conv()).cycles == 335


def test_repeats_multiply_time_and_traffic() -> None:
    once, thrice = DEVICE.estimate(conv()), DEVICE.estimate(conv(repeats=[3]))
    assert thrice.cycles == 3 * once.cycles
    assert thrice.dram_bytes == 3 * once.dram_bytes


def test_single_zeros_save_memory_but_no_cycles() -> None:
    dense, sparse = DEVICE.estimate(conv()), DEVICE.estimate(conv(weight_density=[0.25], index_bits=[4]))
    assert sparse.cycles == dense.cycles
    assert sparse.energy_parts_j["mac"] == dense.energy_parts_j["mac"]
    assert dense.dram_bytes - sparse.dram_bytes == 2 * 288 - 72 * 20 / 8


def test_a_layer_can_be_bound_by_the_memory() -> None:
    report = dataclasses.replace(DEVICE, dram_bytes_per_s=1e6).estimate(conv())
    assert report.latency_s == pytest.approx(960 * 1.25 / 1e6 + 1e-6)


def test_operands_beyond_the_ports_take_several_passes() -> None:
    wide = dataclasses.replace(DEVICE, max_bits=24)  # 24 bits are two parts on a port of 18
    assert wide.estimate(conv(24)).cycles == 2 * wide.estimate(conv(16)).cycles


def test_a_floating_point_array_is_no_faster_on_narrow_numbers() -> None:
    floating = dataclasses.replace(DEVICE, max_bits=32)
    assert floating.estimate(conv(32)).cycles == floating.estimate(conv(4)).cycles
    assert floating.estimate(conv(32)).resources["DSP"] == 5 * 16  # slices of a multiplication and an addition


def test_a_float_network_costs_what_the_widest_format_costs() -> None:
    wide, narrow = DEVICE.estimate(conv(32)), DEVICE.estimate(conv(16))
    assert wide.total_latency_s == narrow.total_latency_s
    assert wide.total_energy_j == narrow.total_energy_j


def test_an_array_larger_than_the_chip_is_infeasible_with_a_reason() -> None:
    report = dataclasses.replace(DEVICE, rows=8, bram18=10).estimate(conv())
    assert not report.feasible
    # FIFOs: 2 * (8 + 4) blocks; all buffers are so shallow (2 * 36 input words in each of 4 banks at most) that the smallest are LUTs
    assert report.reasons() == ("needs 32 DSP, the device has 16", "needs 24 BRAM18, the device has 10")


def test_the_constructor_refuses_what_cannot_exist() -> None:
    with pytest.raises(DeviceError, match="`rows` must be at least 1, but is 0"):
        dataclasses.replace(DEVICE, rows=0)
    with pytest.raises(DeviceError, match="`clock_hz` must be above 0"):
        dataclasses.replace(DEVICE, clock_hz=0.0)
    with pytest.raises(DeviceError, match="`dataflow` must be one of ws, os, is, but is 'rs'"):
        dataclasses.replace(DEVICE, dataflow="rs")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["zcu102", "ultra96", "zc706"])
def test_a_half_as_wide_8_bit_network_is_clearly_cheaper_even_when_tiny(device: str) -> None:
    model = load_device(device)
    full, small = model.estimate(tiny(16)), model.estimate(tiny(8, 0.5))
    assert small.total_latency_s <= 0.55 * full.total_latency_s
    assert small.total_energy_j <= 0.25 * full.total_energy_j
