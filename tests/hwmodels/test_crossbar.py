from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import DeviceError, Workload
from hwmodels.crossbar import Crossbar

DEVICE = Crossbar(
    name="toy",
    rows=128,
    cols=128,
    cell_bits=2,
    differential=False,
    dac_bits=1,
    active_rows=128,
    adc_bits=8,
    adcs=1,
    crossbars=12,
    max_bits=16,
    read_s=1e-7,
    conversion_s=1e-9,
    add_s=1e-8,
    dac_energy_j=1e-12,
    cell_energy_j=1e-15,
    sample_hold_energy_j=1e-15,
    adc_energy_j=2e-12,
    shift_add_energy_j=1e-14,
    edram_energy_j=256e-12,
    router_energy_j=512e-12,
    write_energy_j=1e-11,
    passes_per_write=10,
    static_power_w=0.0,
    crossbar_area_mm2=0.5,
    programming_sigma=0.02,
    stuck_off_fraction=0.001,
    stuck_on_fraction=0.001,
    on_off_ratio=100.0,
)


def conv(bits: int = 8, **changes: object) -> Workload:
    """16 -> 20 channels, 3x3, 4x4 pixels: m 16, k 144, n 20."""
    fields: dict[str, object] = {
        "in_channels": [16],
        "out_channels": [20],
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


def test_a_layer_by_hand() -> None:
    report = DEVICE.estimate(conv())
    # 4 cells per weight: 144 x 80 cells in ceil(144/128) * ceil(80/128) = 2 crossbars
    assert report.resources["crossbars"] == 2
    assert report.area_mm2 == 1.0
    assert report.utilization == pytest.approx(144 * 80 / (2 * 128 * 128))
    # 12 crossbars hold 6 copies: ceil(16/6) = 3 products of 8 input slices at 100 ns, and one addition of two row tiles
    assert report.cycles == 3 * 8
    assert report.latency_s == pytest.approx(3 * 8 * 1e-7 + 1e-8)


def test_energy_by_hand() -> None:
    parts = DEVICE.estimate(conv()).energy_parts_j
    conversions = 16 * 8 * 80 * 2
    assert parts["dac"] == pytest.approx(16 * 8 * 144 * 1e-12)
    assert parts["array"] == pytest.approx(16 * 8 * 144 * 80 * 1e-15)
    assert parts["adc"] == pytest.approx(conversions * 2e-12)
    assert parts["sample_hold"] == pytest.approx(conversions * 1e-15)
    assert parts["shift_add"] == pytest.approx(conversions * 1e-14)
    # inputs 16*16 and outputs 16*20 words of 8 bits are routed; the buffer also reads a window of 144 words per pixel
    assert parts["router"] == pytest.approx((256 + 320) * 8 * 2e-12)
    assert parts["edram"] == pytest.approx((256 + 320 + 16 * 144) * 8 * 1e-12)
    assert parts["writing"] == pytest.approx(144 * 80 * 1e-11 / 10)


def test_slow_converters_set_the_pace() -> None:
    # 80 used columns at 5 ns through one converter take 400 ns instead of 100, through two 200
    slow = dataclasses.replace(DEVICE, conversion_s=5e-9)
    assert slow.estimate(conv()).latency_s == pytest.approx(3 * 8 * 4e-7 + 1e-8)
    assert dataclasses.replace(slow, adcs=2).estimate(conv()).latency_s == pytest.approx(3 * 8 * 2e-7 + 1e-8)


def test_reading_fewer_rows_at_once_takes_more_reads() -> None:
    assert dataclasses.replace(DEVICE, active_rows=32).estimate(conv()).cycles == 4 * DEVICE.estimate(conv()).cycles


def test_differential_cells_take_twice_the_columns() -> None:
    # 160 columns need a second crossbar per row tile
    assert dataclasses.replace(DEVICE, differential=True).estimate(conv()).resources["crossbars"] == 4


def test_small_groups_share_a_crossbar_along_its_diagonal() -> None:
    # 16 groups of 9 x 4 cells: 14 fit the rows, 32 the columns; ceil(16/14) = 2
    assert DEVICE.estimate(conv(out_channels=[16], groups=[16])).resources["crossbars"] == 2


def test_spare_crossbars_go_to_the_layers_with_most_pixels() -> None:
    two = Workload(
        names=("many", "few"),
        in_channels=np.array([16, 16]),
        out_channels=np.array([16, 16]),
        out_h=np.array([12, 4]),
        weight_bits=np.array(8),
        activation_bits=np.array(8),
    )
    # one crossbar each, 10 spare over 12 + 4 pixels: 7 and 2 more copies, ceil(12/8) = 2 and ceil(4/3) = 2 products
    assert DEVICE.estimate(two).cycles.tolist() == [16, 16]


def test_a_network_beyond_the_chip_is_infeasible_with_a_reason() -> None:
    report = DEVICE.estimate(conv(in_channels=[1600]))
    # 14400 rows: 113 tiles
    assert report.reasons() == ("needs 113 crossbars, the device has 12",)


def test_single_zeros_save_nothing_and_channels_do() -> None:
    full, fine, narrow = DEVICE.estimate(conv()), DEVICE.estimate(conv(weight_density=[0.2])), DEVICE.estimate(conv(in_channels=[14]))
    assert fine.total_energy_j == full.total_energy_j
    assert narrow.resources["crossbars"] == 1
    assert narrow.total_energy_j < full.total_energy_j


def test_lossless_resolution_of_the_isaac_crossbar_is_nine_bits() -> None:
    # 128 rows of 2-bit cells and 1-bit inputs sum up to 384; Shafiee et al. save one bit by their encoding
    assert DEVICE.lossless_adc_bits == 9


def test_nonidealities_are_the_devices() -> None:
    disturbed = DEVICE.nonidealities(conv())
    assert disturbed is not None
    assert disturbed["programming_sigma"] == 0.02
    assert disturbed["adc_bits"] == 8


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DeviceError, match="`active_rows` must be at most `rows`, but is 256 of 128"):
        dataclasses.replace(DEVICE, active_rows=256)
    with pytest.raises(DeviceError, match="`stuck_on_fraction` must be at most 1"):
        dataclasses.replace(DEVICE, stuck_on_fraction=1.5)
