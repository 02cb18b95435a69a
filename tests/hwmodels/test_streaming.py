from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import DeviceError, HardwareModel, Workload, load_device
from hwmodels.networks import load_network
from hwmodels.streaming import StreamingDataflow
from hwmodels.testing import HardwareModelContract

DEVICE = StreamingDataflow(
    name="toy",
    mac_style="lut",
    clock_hz=1e6,
    max_bits=16,
    dsp_type="dsp48e2",
    dsps=100,
    luts=10_000,
    ffs=20_000,
    bram18=100,
    routed_fraction=1.0,
    dram_bytes_per_s=1e9,
    mac_energy_j=2e-12,
    lut_energy_j=1e-13,
    sram_energy_j_per_bit=1e-13,
    dram_energy_j_per_bit=1e-11,
    static_power_w=1e-3,
)


def two_layers(**changes: object) -> Workload:
    """4 -> 8 channels, 3x3, 4x4 pixels, and 128 -> 10, of binary weights and activations."""
    fields: dict[str, object] = {
        "in_channels": [4, 128],
        "out_channels": [8, 10],
        "op": [0, 1],
        "kernel_h": [3, 1],
        "kernel_w": [3, 1],
        "in_h": [4, 1],
        "in_w": [4, 1],
        "out_h": [4, 1],
        "out_w": [4, 1],
        "weight_bits": [1, 1],
        "activation_bits": [1, 1],
    }
    return Workload(names=("conv", "linear"), **(fields | changes))  # type: ignore[arg-type]


def dense(bits: list[int], size: int = 4) -> Workload:
    """Linear layers of equal size and different widths."""
    return Workload(
        names=tuple(f"fc{bit}" for bit in bits),
        in_channels=np.full(len(bits), size),
        out_channels=np.full(len(bits), size),
        op=np.ones(len(bits), int),
        weight_bits=np.array(bits),
        activation_bits=np.array(bits),
    )


def test_a_network_by_hand() -> None:
    report = DEVICE.estimate(two_layers())
    # 16 pixels * 9 positions and 3 rows of 4 pixels before the first window; ten outputs in eight folds of the inputs
    np.testing.assert_array_equal(report.cycles, [144 + 12, 80])
    np.testing.assert_allclose(report.latency_s, [156e-6, 80e-6])
    # convolution: 32 multipliers of 5 LUTs, 8 lanes of 1.1 * (1 + 1 + ceil(log2(36))) * 2, control, 4 window bits, 32 weight bits per word
    conv = 32 * 5 + 8 * 1.1 * 8 * 2 + 300 + 4 + 32
    # linear: 16 multipliers, one lane of 1.1 * (2 + 7) * 2, control; its weights are 80 words deep and lie in a block RAM with a counter
    linear = 16 * 5 + 1.1 * 9 * 2 + 300 + 16
    assert report.resources["LUT"] == pytest.approx(conv + linear)
    assert report.resources["BRAM18"] == 1
    # only the first map (4 channels of 16 bits) and the last one (10 bits) leave the chip
    np.testing.assert_allclose(report.dram_bytes, [8, 1.25])
    # 4608 and 1280 MACs on 32 and 16 multipliers for 156 cycles
    np.testing.assert_allclose(report.utilization, [4608 / (32 * 156), 1280 / (16 * 156)])


def test_energy_by_hand() -> None:
    report = DEVICE.estimate(two_layers())
    np.testing.assert_allclose(report.energy_parts_j["mac"], np.array([4608, 1280]) * 5e-13)
    # weights once per MAC, inputs once per 8 lanes or 1 lane, and what comes in and goes out
    buffered = [4608 * (1 + 1 / 8) + 64 + 128, 1280 * 2 + 128 + 10]
    np.testing.assert_allclose(report.energy_parts_j["sram"], np.array(buffered) * 1e-13)
    np.testing.assert_allclose(report.energy_parts_j["dram"], [64e-11, 10e-11])
    np.testing.assert_allclose(report.energy_parts_j["static"], [156e-9, 80e-9])


def test_a_smaller_chip_folds_the_engines_until_they_fit() -> None:
    report = dataclasses.replace(DEVICE, luts=900).estimate(two_layers())
    # half as many lanes in the convolution and half as many multipliers in the linear layer
    np.testing.assert_array_equal(report.cycles, [288 + 12, 160])
    assert report.feasible
    assert report.resources["LUT"] <= 900


def test_a_network_that_does_not_fit_gets_the_smallest_engines_and_a_reason() -> None:
    report = dataclasses.replace(DEVICE, luts=500).estimate(two_layers())
    np.testing.assert_array_equal(report.cycles, [144 * 32 + 12, 1280])
    assert not report.feasible
    assert report.reasons()[0].endswith("LUT, the device has 500")


def test_an_interval_is_the_longest_stage_and_a_batch_waits_for_it() -> None:
    assert DEVICE.interval_s(two_layers()) == pytest.approx(156e-6)
    report = DEVICE.estimate(two_layers(batch=[5]))
    assert report.total_latency_s == pytest.approx((156 + 80 + 4 * 156) * 1e-6)
    np.testing.assert_array_equal(report.cycles, [5 * 156, 5 * 80])


def test_the_link_can_be_the_longest_stage() -> None:
    slow = dataclasses.replace(DEVICE, dram_bytes_per_s=1e4)
    assert slow.interval_s(two_layers()) == pytest.approx(8 / 1e4)


def test_rows_that_are_passed_on_shorten_the_first_image_only() -> None:
    rows = dataclasses.replace(DEVICE, row_pipelining=True)
    # the convolution waits for 3 of 4 rows and then has 39 cycles left; the linear layer needs its whole input
    assert rows.estimate(two_layers()).total_latency_s == pytest.approx((117 + 80 + 39) * 1e-6)
    wide = two_layers(in_h=[8, 1], out_h=[8, 1])
    # 288 cycles and 12 before; 3 of 8 rows
    assert rows.estimate(wide).total_latency_s == pytest.approx((300 * 3 / 8 + 160 + 300 * 5 / 8) * 1e-6)
    assert rows.interval_s(two_layers()) == pytest.approx(156e-6)


def test_parallel_windows_unfold_the_kernel_too() -> None:
    report = dataclasses.replace(DEVICE, parallel_windows=True).estimate(two_layers())
    assert report.cycles[0] == 16 + 12


def test_dsp_blocks_go_to_the_layers_where_they_save_most() -> None:
    chip = dataclasses.replace(DEVICE, mac_style="auto", dsps=20, luts=100_000)
    report = chip.estimate(dense([16, 8]))
    # 16 blocks make the 16 multipliers of 16 bit; the 4 that are left make 8 of 8 bit, with (8 + 8 + 8) / 8 / 2 LUTs of adders each
    in_luts = 1.1 * ((2 * 3 - 1) * 16 + 2 * 16)
    lanes = 4 * 1.1 * ((32 + 2) * 17 + (16 + 2) * 9)
    weights = 16 * 16 + 16 * 8
    assert report.resources["DSP"] == 20
    assert report.resources["LUT"] == pytest.approx(8 * 1.5 + 8 * in_luts + lanes + weights + 2 * 300)


def test_serial_multipliers_trade_time_for_area() -> None:
    serial = dataclasses.replace(DEVICE, mac_style="bit_serial", luts=100_000)
    assert serial.estimate(dense([4])).cycles == 16
    composable = dataclasses.replace(DEVICE, mac_style="composable", luts=100_000)
    assert composable.estimate(dense([4])).cycles == 4
    assert dataclasses.replace(composable, slice_bits=4).estimate(dense([4])).cycles == 1
    assert composable.estimate(dense([4])).utilization == 1


def test_a_depthwise_layer_shares_its_lanes_among_channels() -> None:
    depthwise = two_layers(out_channels=[4, 10], groups=[4, 1])
    report = DEVICE.estimate(depthwise)
    assert report.cycles[0] == 144 + 12  # four lanes of one multiplier


def test_ultraram_takes_what_block_rams_cannot_hold() -> None:
    # 512 * 512 * 8 bit in 512 * 8 / 36 blocks and more; one UltraRAM holds 16 of them
    tight = dataclasses.replace(DEVICE, luts=10_000_000, bram18=20)
    assert not tight.estimate(dense([8], 512)).feasible
    roomy = dataclasses.replace(tight, urams=20.0).estimate(dense([8], 512))
    assert roomy.feasible
    assert roomy.resources["BRAM18"] == 20
    assert roomy.resources["URAM"] > 0


def test_parameters_are_axes() -> None:
    luts, clocks = np.array([900, 10_000, 500]), np.array([1e6, 2e6, 1e6])
    swept = dataclasses.replace(DEVICE, luts=luts[:, None], clock_hz=clocks[:, None]).estimate(two_layers())
    for i in range(3):
        alone = dataclasses.replace(DEVICE, luts=int(luts[i]), clock_hz=float(clocks[i])).estimate(two_layers())
        assert swept.total_latency_s[i] == pytest.approx(alone.total_latency_s)
        assert swept.resources["LUT"][i] == pytest.approx(alone.resources["LUT"])
        assert swept.feasible[i] == alone.feasible


@pytest.mark.parametrize(
    ("network", "images_per_s", "latency_us"),
    # Umuroglu et al., FPGA 2017, the -max designs (SFC and CNV in the abstract, LFC recalled)
    [("finn_sfc", 12_361e3, 0.31), ("finn_lfc", 1_561e3, 2.44), ("finn_cnv", 21.9e3, 283)],
)
def test_the_folding_that_fits_a_zc706_is_as_fast_as_finn(network: str, images_per_s: float, latency_us: float) -> None:
    # Nothing of the designs is given: the chip, the clock and the network alone. CNV is bound by its first layer, three channels wide.
    model = load_device("finn_zc706")
    assert isinstance(model, StreamingDataflow)
    workload = load_network(network)
    assert 1 / model.interval_s(workload) == pytest.approx(images_per_s, rel=0.15)
    assert model.estimate(workload).total_latency_s == pytest.approx(latency_us * 1e-6, rel=0.15)


@pytest.mark.parametrize("routed_fraction", [0.6, 0.8, 1.0])
def test_finns_throughput_does_not_hang_on_the_assumed_share_of_luts(routed_fraction: float) -> None:
    # folds are powers of two: the next faster SFC would need 1.1 times the whole chip
    workload = load_network("finn_sfc").replace(batch=1000)
    assumed, other = load_device("finn_zc706"), load_device("finn_zc706", {"routed_fraction": routed_fraction})
    assert other.estimate(workload).total_latency_s == assumed.estimate(workload).total_latency_s


def test_finns_power_follows_from_its_luts() -> None:
    # chip power of SFC-max 7.3 W sets the LUT's energy; LFC-max 8.8 W and CNV-max 3.6 W (recalled) follow within a quarter
    model = load_device("finn_zc706")
    for network, watts in (("finn_lfc", 8.8), ("finn_cnv", 3.6)):
        report = model.estimate(load_network(network).replace(batch=1000))
        assert report.total_energy_j / report.total_latency_s == pytest.approx(watts, rel=0.25)


def test_a_resnet_of_few_bits_fits_a_u250() -> None:
    # Petrica et al., FPT 2020 (recalled): 1-bit weights, 2-bit activations, multipliers of LUTs; 1.9 ms, 1.03 M LUTs
    network = load_network("resnet50")
    inner = np.r_[8, np.ones(len(network.names) - 2, int), 8]
    workload = network.replace(weight_bits=inner, activation_bits=np.where(inner == 8, 8, 2))
    report = load_device("finn_u250", {"mac_style": "lut"}).estimate(workload)
    assert report.feasible
    assert report.total_latency_s == pytest.approx(1.9e-3, rel=0.15)
    assert report.resources["LUT"] == pytest.approx(1.03e6, rel=0.25)


def test_the_constructor_refuses_what_cannot_exist() -> None:
    with pytest.raises(DeviceError, match=r"`routed_fraction` must be at most 1, but is 1\.5"):
        dataclasses.replace(DEVICE, routed_fraction=1.5)
    with pytest.raises(DeviceError, match="`mac_style` must be one of"):
        dataclasses.replace(DEVICE, mac_style="analog")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["dsp", "bit_serial", "composable", "auto"])
class TestOtherMultipliers(HardwareModelContract):
    """What no shipped device is made of keeps the contract too."""

    @pytest.fixture
    def model(self, style: str) -> HardwareModel:
        return load_device("finn_zc706", {"mac_style": style})
