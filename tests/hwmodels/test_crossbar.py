from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwmodels import DeviceError, Pattern, Workload, load_device
from hwmodels.crossbar import Crossbar
from hwmodels.parameters import parameter_types, takes_arrays
from hwmodels.testing import sample_workload

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
    cell_area_mm2=1e-6,
    adc_area_mm2=2e-3,
    programming_sigma=0.02,
    stuck_off_fraction=0.001,
    stuck_on_fraction=0.001,
    on_off_ratio=100.0,
)
# cells 128 * 128 * 1e-6, and one converter
CROSSBAR_MM2 = 0.016384 + 0.002


def changed(device: Crossbar = DEVICE, **parameters: Any) -> Crossbar:
    return dataclasses.replace(device, **parameters)


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
    assert report.area_mm2 == pytest.approx(2 * CROSSBAR_MM2)
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
    slow = changed(conversion_s=5e-9)
    assert slow.estimate(conv()).latency_s == pytest.approx(3 * 8 * 4e-7 + 1e-8)
    assert dataclasses.replace(slow, adcs=2).estimate(conv()).latency_s == pytest.approx(3 * 8 * 2e-7 + 1e-8)


def test_without_sample_and_hold_every_column_is_read_for_itself() -> None:
    # 80 columns on 40 converters: two reads of 100 ns and two conversions of 1 ns for each of 8 slices, and rows driven twice
    plain = changed(overlapped=False, adcs=40)
    report = plain.estimate(conv())
    assert report.latency_s == pytest.approx(3 * 8 * 2 * 101e-9 + 1e-8)
    assert report.energy_parts_j["dac"] == pytest.approx(2 * DEVICE.estimate(conv()).energy_parts_j["dac"])
    assert report.energy_parts_j["adc"] == pytest.approx(DEVICE.estimate(conv()).energy_parts_j["adc"])


def test_a_converter_that_is_wired_to_its_columns_gets_no_help_from_others() -> None:
    # 80 columns: all 32 converters of 128 columns take three each, or those of 80 neighbours four
    spread = changed(overlapped=False, adcs=32)
    assert spread.estimate(conv()).latency_s == pytest.approx(3 * 8 * 3 * 101e-9 + 1e-8)
    assert dataclasses.replace(spread, wired_mux=True).estimate(conv()).latency_s == pytest.approx(3 * 8 * 4 * 101e-9 + 1e-8)


def test_a_pulse_train_is_converted_once() -> None:
    # 4-bit inputs have 3 planes in one phase: 3 reads and one conversion of 80 columns in turn, instead of 4 conversions
    train = changed(drive="pulse_train", phase_bits=3, setup_s=5e-9)
    report = train.estimate(conv(activation_bits=[4]))
    assert report.latency_s == pytest.approx(3 * (3 * 1e-7 + 80e-9 + 5e-9) + 1e-8)
    assert report.energy_parts_j["adc"] == pytest.approx(16 * 80 * 2 * 2e-12)
    assert report.energy_parts_j["sample_hold"] == pytest.approx(3 * 16 * 80 * 2 * 1e-15)


def test_a_shared_bus_serves_every_pixel_in_turn() -> None:
    # beside the product: 16 pixels with 1 ns to start, 3 new rows of 16 channels (one stride) and 20 outputs, 8 bits each at 1 ns
    bus = changed(access_s=1e-9, input_transfer_s=256e-9, output_transfer_s=256e-9)
    extra = 16 * (1e-9 + (16 * 3 * 1 + 20) * 8 * 1e-9)
    assert bus.estimate(conv()).latency_s == pytest.approx(3 * 8 * 1e-7 + 1e-8 + extra)


def test_reading_fewer_rows_at_once_takes_more_reads() -> None:
    assert changed(active_rows=32).estimate(conv()).cycles == 4 * DEVICE.estimate(conv()).cycles


def test_multi_bit_inputs_take_fewer_reads() -> None:
    # 8 bits in slices of 3: three instead of eight
    assert changed(dac_bits=3).estimate(conv()).cycles == 3 * 3


def test_differential_cells_take_twice_the_columns_and_one_conversion_per_pair() -> None:
    # 160 columns need a second crossbar per row tile
    report = changed(differential=True).estimate(conv())
    assert report.resources["crossbars"] == 4
    assert report.energy_parts_j["adc"] == pytest.approx(16 * 8 * 80 * 2 * 2e-12)


def test_a_lower_resolution_saves_energy_time_and_area() -> None:
    slow, coarse = changed(conversion_s=5e-9), changed(conversion_s=5e-9, adc_bits=4)
    # (4 + 16/475) / (8 + 256/475) of the energy and area, half of the time of a successive approximation
    share = (4 + 16 / 475) / (8 + 256 / 475)
    fine_report, coarse_report = slow.estimate(conv()), coarse.estimate(conv())
    assert coarse_report.energy_parts_j["adc"] == pytest.approx(share * fine_report.energy_parts_j["adc"])
    assert coarse_report.latency_s == pytest.approx(3 * 8 * 2e-7 + 1e-8)
    assert fine_report.area_mm2 - coarse_report.area_mm2 == pytest.approx(2 * 0.002 * (1 - share))


def test_area_is_the_sum_of_its_parts() -> None:
    full = changed(
        driver_area_mm2=1e-5,
        column_area_mm2=2e-5,
        crossbar_overhead_mm2=0.003,
        crossbars_per_tile=4,
        tile_area_mm2=0.1,
        links_area_mm2=5.0,
    )
    # 2 crossbars of cells, 128 drivers, 128 column circuits, converter and registers; half a tile; the links
    assert full.estimate(conv()).area_mm2 == pytest.approx(2 * (CROSSBAR_MM2 + 0.00128 + 0.00256 + 0.003) + 0.05 + 5)
    whole = dataclasses.replace(full, whole_tiles=True)
    assert whole.estimate(conv()).area_mm2 == pytest.approx(4 * (CROSSBAR_MM2 + 0.00128 + 0.00256 + 0.003) + 0.1 + 5)
    assert whole.estimate(conv()).resources["crossbars"] == 4


def test_converters_take_most_of_an_isaac_crossbar_with_its_periphery() -> None:
    # Table I: 1200 um2 of 1637 um2; of the whole tile with its buffer and bus they are 31 %
    device = load_device("isaac")
    assert isinstance(device, Crossbar)
    parts = device.crossbar_area_parts_mm2()
    assert float(parts["adc"]) / float(sum(parts.values())) == pytest.approx(0.73, abs=0.01)


def test_leakage_is_paid_for_crossbars_in_use() -> None:
    leaky = changed(static_power_w=1.0, crossbar_leakage_w=0.25)
    report = leaky.estimate(conv())
    assert report.energy_parts_j["static"] == pytest.approx(1.5 * report.latency_s)


def test_a_network_beyond_the_chip_is_infeasible_with_a_reason() -> None:
    report = DEVICE.estimate(conv(in_channels=[1600]))
    # 14400 rows: 113 tiles
    assert report.reasons() == ("needs 113 crossbars, the device has 12",)


def test_a_chip_that_may_swap_writes_all_weights_in_every_pass() -> None:
    # 113 crossbars on 12: ten rounds of up to 128 rows at 1 us, one after the other
    swapping = changed(swap=True, write_s=1e-6)
    report = swapping.estimate(conv(in_channels=[1600]))
    stays = DEVICE.estimate(conv(in_channels=[1600]))
    assert report.feasible
    assert report.area_mm2 == pytest.approx(12 * CROSSBAR_MM2)
    assert report.latency_s - stays.latency_s == pytest.approx(10 * 128 * 1e-6)
    assert report.energy_parts_j["writing"] == pytest.approx(14400 * 80 * 1e-11)
    # what fits is written once
    assert swapping.estimate(conv()).energy_parts_j["writing"] == pytest.approx(144 * 80 * 1e-11 / 10)
    assert swapping.estimate(conv()).latency_s == DEVICE.estimate(conv()).latency_s


def test_single_zeros_save_nothing_and_channels_do() -> None:
    full, narrow = DEVICE.estimate(conv()), DEVICE.estimate(conv(in_channels=[14]))
    for pattern in (Pattern.FINE, Pattern.VECTOR, Pattern.KERNEL):
        sparse = DEVICE.estimate(conv(weight_density=[0.2], pattern=[pattern]))
        assert sparse.total_energy_j == full.total_energy_j
        assert sparse.resources["crossbars"] == 2
    assert narrow.resources["crossbars"] == 1
    assert narrow.total_energy_j < full.total_energy_j


def test_rows_that_are_zero_in_every_filter_leave_the_crossbar() -> None:
    # 144 rows at 0.5: 72 fit one crossbar
    pruned = DEVICE.estimate(conv(weight_density=[0.5], pattern=[Pattern.GROUP]))
    assert pruned.resources["crossbars"] == 1
    assert pruned.energy_parts_j["writing"] == pytest.approx(72 * 80 * 1e-11 / 10)


def test_parameters_are_axes() -> None:
    axes = changed(rows=np.array([[64], [128], [256]]), active_rows=np.array([[64], [128], [128]]), adc_bits=np.array([[4], [8], [6]]))
    together = axes.estimate(conv())
    for index, (rows, active, bits) in enumerate([(64, 64, 4), (128, 128, 8), (256, 128, 6)]):
        alone = changed(rows=rows, active_rows=active, adc_bits=bits).estimate(conv())
        assert together.total_latency_s[index] == pytest.approx(float(alone.total_latency_s))
        assert together.total_energy_j[index] == pytest.approx(float(alone.total_energy_j))
        assert together.area_mm2[index] == pytest.approx(float(alone.area_mm2))
        assert together.resources["crossbars"][index] == alone.resources["crossbars"]


def test_the_slowest_layer_is_the_throughput_of_a_pipelined_chip() -> None:
    two = Workload(
        names=("a", "b"),
        in_channels=np.array([16, 16]),
        out_channels=np.array([16, 16]),
        in_h=np.array([12, 4]),
        out_h=np.array([12, 4]),
        weight_bits=np.array(8),
        activation_bits=np.array(8),
    )
    serial = changed(duplication="none")
    # 12 and 4 products of 0.8 us
    assert serial.throughput_hz(two) == pytest.approx(1 / (16 * 0.8e-6))
    assert dataclasses.replace(serial, pipelined=True).throughput_hz(two) == pytest.approx(1 / (12 * 0.8e-6))


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DeviceError, match="`active_rows` must be at most `rows`, but is 256 of 128"):
        changed(active_rows=256)
    with pytest.raises(DeviceError, match="`stuck_on_fraction` must be at most 1"):
        changed(stuck_on_fraction=1.5)
    with pytest.raises(DeviceError, match="`sign_in_pair` needs a pair of cells"):
        changed(sign_in_pair=True)


def test_isaac_keeps_every_crossbar_busy_at_the_published_rate() -> None:
    # Table I: 478.95 GOPS/mm2 over 85.4 mm2 (recalled) is 40.9 TOPS; 16128 crossbars of 128 x 16 weights, 16 slices of 100 ns: 41.3
    groups = 16128
    work = Workload(
        names=("all",),
        in_channels=np.array([128 * groups]),
        out_channels=np.array([16 * groups]),
        groups=np.array([groups]),
        weight_bits=np.array(16),
        activation_bits=np.array(16),
    )
    report = load_device("isaac").estimate(work)
    assert report.feasible
    assert 2 * float(work.macs.sum()) / float(report.total_latency_s) == pytest.approx(41.3e12, rel=1e-3)


def test_the_supply_scales_time_and_energy() -> None:
    # at 1.2 instead of 1 V with a threshold of 0.5 V: 0.5 / 0.7 of the time, 1.44 times the energy; programming has its own supply
    nominal = changed(threshold_v=0.5).estimate(conv())
    fast = changed(threshold_v=0.5, supply_v=1.2).estimate(conv())
    assert fast.total_latency_s == pytest.approx(0.5 / 0.7 * float(nominal.total_latency_s))
    assert fast.energy_parts_j["adc"] == pytest.approx(1.44 * nominal.energy_parts_j["adc"])
    assert fast.energy_parts_j["writing"] == pytest.approx(nominal.energy_parts_j["writing"])
    with pytest.raises(DeviceError, match="must be above `threshold_v`"):
        changed(threshold_v=1.0)


def test_digital_cells_add_up_sums_that_are_wider_than_weights() -> None:
    # 8-bit weights in 1-bit cells and 7 guard bits: 15 adder bits for each of 144 rows, 20 filters, 16 pixels and 8 input bits
    digital = changed(cell_bits=1, guard_bits=7.0)
    assert digital.estimate(conv()).energy_parts_j["array"] == pytest.approx(16 * 8 * 144 * 20 * 15 * 1e-15)


NUMBERS = [name for name, kind in parameter_types(Crossbar).items() if takes_arrays(kind)]


def another(name: str, value: float) -> float:
    """A value of a parameter that breaks no rule between parameters."""
    larger = {"rows", "cols", "supply_v", "nominal_supply_v", "age_s", "drift_nu", "wire_ohm"}
    if isinstance(value, int):
        return value * 2 if name in larger else max(value // 2, 1)
    return value * 1.5 if name in larger else value / 2


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("device", ["isaac", "neurram", "neurosim", "prime"])
def test_every_number_is_an_axis(device: str, name: str) -> None:
    model = load_device(device)
    assert isinstance(model, Crossbar)
    work = sample_workload(3)
    values = [getattr(model, name), another(name, getattr(model, name)), getattr(model, name)]
    together = changed(model, **{name: np.array(values)[:, None]})
    report, disturbed = together.estimate(work), together.nonidealities(work)
    for index, value in enumerate(values):
        alone = changed(model, **{name: value})
        expected = alone.estimate(work.candidate(index))
        assert np.isclose(report.total_latency_s[index], expected.total_latency_s, rtol=1e-12)
        assert np.isclose(report.total_energy_j[index], expected.total_energy_j, rtol=1e-12)
        assert np.isclose(np.broadcast_to(report.area_mm2, 3)[index], expected.area_mm2, rtol=1e-12)
        assert report.feasible[index] == expected.feasible
        numbers = alone.nonidealities(work)
        assert {key: np.broadcast_to(found, 3)[index].item() for key, found in disturbed.items()} == pytest.approx(numbers)
