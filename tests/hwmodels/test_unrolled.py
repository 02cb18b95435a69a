from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import DeviceError, Workload, load_device
from hwmodels.networks import load_network, select
from hwmodels.unrolled import UnrolledEngine

from .engines import DEVICE, conv


def linear(batch: int = 1) -> Workload:
    """100 -> 64 on maps of one pixel."""
    bits = {"weight_bits": [16], "activation_bits": [16]}
    return Workload(names=("fc",), in_channels=[100], out_channels=[64], batch=[batch], **bits)  # type: ignore[arg-type]


def changed(**changes: object) -> UnrolledEngine:
    return dataclasses.replace(DEVICE, **changes)  # type: ignore[arg-type]


def test_cycles_of_unrolled_filters_and_channels_by_hand() -> None:
    # ceil(20/8) * ceil(10/4) * 144 pixels * 9 positions
    assert DEVICE.estimate(conv()).cycles == 3 * 3 * 144 * 9


def test_ideal_cycles_of_alexnet_equal_zhangs() -> None:
    """Zhang et al., FPGA 2015, equation 4 with Tm = 64 and Tn = 7: the cycles of conv1, conv2 and conv3 of AlexNet in two groups."""
    workload = select(load_network("alexnet"), ["conv2", "conv4", "conv5"])
    cycles = load_device("vc707").estimate(workload).cycles
    # 2 groups * ceil(128/64) * ceil(48/7) * 27 * 27 * 25; conv4 192 -> 192 and conv5 192 -> 128 on 13x13
    assert cycles.tolist() == [510300, 2 * 3 * 28 * 169 * 9, 2 * 2 * 28 * 169 * 9]


def test_pixels_and_kernel_positions_can_be_unrolled() -> None:
    assert changed(pixel_rows=4, pixel_cols=5).estimate(conv()).cycles == 3 * 3 * (3 * 3) * 9
    assert changed(kernel_rows=3, kernel_cols=2).estimate(conv()).cycles == 3 * 3 * 144 * 2
    assert changed(pixel_rows=4, pixel_cols=5).estimate(conv()).resources["DSP"] == 8 * 4 * 20


def test_an_initiation_interval_shares_multipliers() -> None:
    slow = changed(interval=3).estimate(conv())
    assert slow.cycles == 3 * DEVICE.estimate(conv()).cycles
    assert slow.resources["DSP"] == np.ceil(32 / 3)


def test_narrow_operands_share_slices() -> None:
    # 8 bit: two filters in a slice, ceil(20/16) = 2 instead of 3; 4 bit: two filters and two pixels
    assert DEVICE.estimate(conv(8)).cycles == 2 * 3 * 144 * 9
    assert DEVICE.estimate(conv(4)).cycles == 2 * 3 * (12 * 6) * 9


def test_bit_serial_units_take_a_cycle_per_pair_of_bits() -> None:
    serial = changed(mac_style="bit_serial", max_bits=8)
    assert serial.estimate(conv(8)).cycles == 64 * 3 * 3 * 144 * 9
    assert serial.estimate(conv(2)).cycles == 4 * 3 * 3 * 144 * 9
    assert serial.estimate(conv(2)).resources["DSP"] == 0


def test_groups_are_computed_one_after_the_other_and_depthwise_layers_on_the_filter_lanes() -> None:
    grouped = conv(in_channels=[20], groups=[2])
    assert DEVICE.estimate(grouped).cycles == 2 * (2 * 3) * 144 * 9  # two times 10 -> 10
    depthwise = conv(in_channels=[20], groups=[20])
    assert DEVICE.estimate(depthwise).cycles == 3 * 144 * 9
    assert changed(vector_lanes=100.0).estimate(depthwise).cycles == 20 * 144 * 9 / 100


def test_pixel_lanes_take_images_or_filters_of_a_fully_connected_layer() -> None:
    wide = changed(pixel_rows=2, pixel_cols=4)
    assert wide.estimate(linear()).cycles == 25 * 1  # 64 filters on 8 * 8 lanes
    assert wide.estimate(linear(batch=8)).cycles == 25 * 8  # 8 images on the pixel lanes, or 8 times all filters
    assert DEVICE.estimate(linear(batch=8)).cycles == 25 * 8 * 8


def test_a_batch_reads_fully_connected_weights_once() -> None:
    one, many = DEVICE.estimate(linear()), DEVICE.estimate(linear(batch=16))
    assert many.dram_bytes - one.dram_bytes == 15 * (100 + 64) * 2


def test_winograd_computes_four_pixels_in_each_direction_from_six_products() -> None:
    winograd = changed(winograd_rows=4, winograd_cols=4)
    report = winograd.estimate(conv())
    assert report.cycles == 3 * 3 * (3 * 3)  # 3 x 3 tiles of 4 x 4 pixels, one cycle each
    assert report.resources["DSP"] == 32 * 36
    # 36 products for 16 pixels of 9 positions
    assert report.energy_parts_j["mac"] == pytest.approx(259_200 * 36 / 144 * 2e-12)
    # weights travel as 6 x 6 instead of 3 x 3
    assert report.dram_bytes == (10 * 144 + 20 * 144 + 200 * 36) * 2


def test_winograd_splits_larger_kernels_where_the_engine_can() -> None:
    five = conv(kernel_h=[5], kernel_w=[5])
    assert changed(winograd_cols=4).estimate(five).cycles == 3 * 3 * (12 * 3) * (5 * 2)
    # otherwise six plain multipliers: 12 rows of 2 steps, 25 positions
    assert changed(winograd_cols=4, winograd_splits=False).estimate(five).cycles == 3 * 3 * (12 * 2) * 25


def test_layers_without_a_kernel_use_the_products_of_winograd_as_pixel_lanes() -> None:
    pointwise = conv(kernel_h=[1], kernel_w=[1])
    assert changed(winograd_cols=4).estimate(pointwise).cycles == 3 * 3 * (12 * 2)
    assert changed(winograd_cols=4).estimate(pointwise).dram_bytes == (10 * 144 + 20 * 144 + 200) * 2


def test_a_stride_can_be_folded_into_channels() -> None:
    strided = conv(in_channels=[3], kernel_h=[11], kernel_w=[11], stride=[4], in_h=[48], in_w=[48])
    # 121 positions of 3 channels, or 9 positions of 48 channels in 12 tiles
    assert DEVICE.estimate(strided).cycles == 3 * 144 * 121
    assert changed(folds_stride=True).estimate(strided).cycles == 3 * 144 * 12 * 9


def test_parameters_are_axes() -> None:
    filters, channels, rams = np.array([[4], [8], [16]]), np.array([[16], [4], [2]]), np.array([[20], [500], [50]])
    workload = conv().replace(in_channels=np.full((3, 1), 10))
    report = changed(filters=filters, channels=channels, bram18=rams).estimate(workload)
    for index in range(3):
        alone = changed(filters=int(filters[index, 0]), channels=int(channels[index, 0]), bram18=int(rams[index, 0])).estimate(conv())
        assert report.total_latency_s[index] == pytest.approx(float(alone.total_latency_s), rel=1e-12)
        assert report.total_energy_j[index] == pytest.approx(float(alone.total_energy_j), rel=1e-12)
        assert report.feasible[index] == alone.feasible


def test_winograd_and_unrolled_kernels_exclude_each_other() -> None:
    with pytest.raises(DeviceError, match="`kernel_rows` and `kernel_cols` must be 1"):
        changed(winograd_rows=4, kernel_rows=3)


sizes = st.integers(1, 200)


@given(channels=sizes, filters=sizes, size=st.integers(1, 60), kernel=st.sampled_from([1, 3, 5]), tile=st.sampled_from([1, 2, 4]))
def test_no_engine_computes_faster_than_its_multipliers_allow(channels: int, filters: int, size: int, kernel: int, tile: int) -> None:
    shape: dict[str, object] = {
        "kernel_h": [kernel],
        "kernel_w": [kernel],
        "in_h": [size],
        "in_w": [size],
        "out_h": [size],
        "out_w": [size],
    }
    report = changed(winograd_cols=tile).estimate(conv(16, in_channels=[channels], out_channels=[filters], **shape))
    assert report.utilization <= 1
    assert report.total_latency_s * 1e8 >= report.cycles
