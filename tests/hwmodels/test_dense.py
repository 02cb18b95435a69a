from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwmodels import DeviceError, Workload, load_device
from hwmodels.dense import DenseAccelerator
from hwmodels.networks import load_network, select
from hwmodels.testing import sample_workload
from hwmodels.workload import Op


def device(name: str, **parameters: object) -> DenseAccelerator:
    loaded = load_device(name, parameters)
    assert isinstance(loaded, DenseAccelerator)
    return loaded


TPU, DADIANNAO, BITFUSION, STOCHASTIC, TETRIS = (device(name) for name in ("tpu_v1", "dadiannao", "bitfusion", "sc_mac", "tetris"))


def linear(inputs: int, outputs: int, *, batch: int = 1, bits: int = 8, **changes: Any) -> Workload:
    fields = {
        "op": np.full((), Op.LINEAR),
        "batch": np.full((), batch),
        "weight_bits": np.full((), bits),
        "activation_bits": np.full((), bits),
    }
    return Workload(names=("fc",), in_channels=np.array([inputs]), out_channels=np.array([outputs]), **(fields | changes))


def convolutions(bits: int, network: str = "vgg16") -> Workload:
    layers = load_network(network).replace(weight_bits=bits, activation_bits=bits)
    return select(layers, [name for name in layers.names if name.startswith("conv")])


def test_the_tpu_streams_pixels_through_folds_of_its_array() -> None:
    # 512 x 512 is 2 x 2 folds of 300 rows, and 256 + 256 cycles to fill and drain
    assert TPU.estimate(linear(512, 512, batch=300)).cycles == 4 * 300 + 512


def test_the_tpu_waits_for_the_shift_of_weights_where_the_batch_is_small() -> None:
    assert TPU.estimate(linear(512, 512, batch=100)).cycles == 4 * 256 + 512


def test_the_tpu_is_slower_with_wide_operands() -> None:
    # 8 x 16 bit in two passes, 16 x 16 in four (Jouppi et al., ISCA 2017)
    wide = linear(512, 512, batch=300, activation_bits=np.full((), 16))
    assert TPU.estimate(wide).cycles == 2 * 4 * 300 + 512
    assert TPU.estimate(linear(512, 512, batch=300, bits=16)).cycles == 4 * 4 * 300 + 512


def test_the_tpu_is_bound_by_the_weights_of_a_linear_layer() -> None:
    # 4096 x 4096 bytes at 34 GB/s, and 12 % of the time for other things; the feature maps stay on chip
    report = TPU.estimate(linear(4096, 4096, batch=64))
    assert report.dram_bytes == 4096**2
    assert report.latency_s == pytest.approx(4096**2 / 34e9 / 0.88)


def test_the_tpu_loads_whole_tiles() -> None:
    # 600 x 600 takes 3 x 3 tiles of 64 KiB (the paper's LSTM1)
    assert TPU.estimate(linear(600, 600, batch=96)).dram_bytes == 9 * 65536


def test_the_tpu_takes_the_power_that_was_measured() -> None:
    # 40 W busy (Jouppi et al., ISCA 2017; recalled), without its DRAM; at full use
    board = load_network("vgg16").replace(weight_bits=8, activation_bits=8)
    report = TPU.estimate(select(board, ["conv4_2"]).replace(batch=16))
    assert report.utilization > 0.8
    assert (report.total_energy_j - report.energy_parts_j["dram"].sum()) / report.total_latency_s == pytest.approx(40, rel=0.2)


def test_a_layer_on_dadiannao_by_hand() -> None:
    # 14 x 14 pixels * 9 kernel positions * 512 / 16 inputs * 512 / 256 filters
    layer = select(convolutions(16), ["conv5_1"])
    report = DADIANNAO.estimate(layer)
    assert report.cycles == 196 * 9 * 32 * 2
    assert report.utilization == pytest.approx(1)
    assert report.dram_bytes == 0


def test_dadiannao_is_as_efficient_as_it_was_compared_with() -> None:
    # 286.4 GOPS/W (Shafiee et al., ISCA 2016, comparison of ISAAC; recalled)
    layer = select(convolutions(16), ["conv5_1"])
    report = DADIANNAO.estimate(layer)
    assert 2 * layer.macs.sum() / report.total_energy_j / 1e9 == pytest.approx(286.4, rel=0.15)


def test_dadiannao_says_when_weights_do_not_fit() -> None:
    report = DADIANNAO.estimate(load_network("vgg16").replace(weight_bits=16, activation_bits=16))
    assert not report.feasible
    assert "MiB of weight memory, the device has 32" in report.reasons()[0]


def test_a_convolution_on_bitfusion_by_hand() -> None:
    # conv3 of its doubled AlexNet, 16 images, 4 bit: 9 * 512 / (16 * 4) = 72 steps, 384 / 32 = 12 folds, 16 * 14 * 14 pixels (7 tiles of
    # 2 rows). 32 filters leave room for 227 channels, tiles of 128: 4 passes of 32-bit sums, each read and written.
    layers = select(load_network("bitfusion_alexnet"), ["conv2", "conv3"]).replace(batch=16)
    pixels = 16 * 14 * 14
    inputs = 16 * (7 * 4) ** 2 * 512 * 4 * 12
    sums, weights = pixels * 384 * 64 * 4, 512 * 384 * 9 * 4
    report = BITFUSION.estimate(layers)
    assert report.cycles[1] == pixels * 72 * 12
    assert report.dram_bytes[1] * 8 == inputs + sums + weights
    assert report.latency_s[1] * 500e6 == pytest.approx((inputs + sums + weights) / 192)


def test_the_input_of_bitfusion_arrives_as_patches() -> None:
    # conv1: 3 * 11 * 11 inputs on 16 rows are 23 steps instead of 121. 96 filters are three widths of the array and not two of twice
    # the width, so that the patches are read three times; sums of 32 bit are read and written once.
    layer = select(load_network("bitfusion_alexnet"), ["conv1"]).replace(batch=16)
    pixels = 16 * 55 * 55
    report = BITFUSION.estimate(layer)
    assert report.cycles == pixels * 23 * 3
    assert report.dram_bytes * 8 == pixels * (3 * 363 * 8 + 96 * 64) + 363 * 96 * 8


@pytest.mark.parametrize(("bits", "speed"), [(16, 1 / 4), (8, 1), (4, 4), (2, 16), (1, 16)])
def test_bitfusion_is_as_fast_as_its_operands_are_narrow(bits: int, speed: float) -> None:
    layer = linear(4096, 4096, batch=64)
    narrow = layer.replace(weight_bits=bits, activation_bits=bits)
    assert BITFUSION.estimate(layer).cycles / BITFUSION.estimate(narrow).cycles == pytest.approx(speed)


def test_stochastic_computing_takes_a_cycle_per_bit_of_the_stream() -> None:
    # 64 x 64 gates: one fold, 100 pixels for each of 64 arrays, and 64 + 64 cycles to fill and drain
    layer = linear(64, 64, batch=64 * 100)
    assert STOCHASTIC.estimate(layer).cycles == 100 * 256 + 128
    assert STOCHASTIC.estimate(layer.replace(weight_bits=4, activation_bits=3)).cycles == 100 * 16 + 128
    assert STOCHASTIC.estimate(linear(64, 64)).cycles == 256 + 128  # the next weights are shifted in meanwhile
    assert device("sc_mac", stream_length=1024.0).estimate(layer).cycles == 100 * 1024 + 128


def test_stochastic_computing_classifies_as_many_digits_per_joule_as_published() -> None:
    # Ren et al., ASPLOS 2017: 510 734 images per joule, buffers included; the constant was taken from there, so this checks the sum
    digits = load_network("lenet5").replace(weight_bits=8, activation_bits=8)
    assert STOCHASTIC.estimate(digits).energy_parts_j["mac"].sum() == pytest.approx(1 / 510_734, rel=1e-3)


def test_an_array_below_stacked_dram_is_faster_and_takes_less_energy_than_beside_a_phone_s() -> None:
    # Gao et al., ASPLOS 2017, compare with LPDDR channels
    beside = device("tetris", dram="lpddr4", dram_gb_per_s=12.8)
    layers = load_network("alexnet").replace(weight_bits=16, activation_bits=16)
    stacked, planar = TETRIS.estimate(layers), beside.estimate(layers)
    assert planar.total_latency_s / stacked.total_latency_s > 2
    assert planar.total_energy_j > stacked.total_energy_j
    np.testing.assert_allclose(stacked.dram_bytes, planar.dram_bytes)


def test_fused_maps_stay_on_chip() -> None:
    layers = select(convolutions(8), ["conv4_1", "conv4_2"])
    apart, fused = BITFUSION.estimate(layers), BITFUSION.estimate(layers.replace(fused=np.array([1, 0])))
    assert (fused.dram_bytes < apart.dram_bytes).all()
    assert (fused.cycles == apart.cycles).all()


def test_maps_that_do_not_fit_together_go_through_dram() -> None:
    layer = select(convolutions(8), ["conv1_2"])  # 2 * 64 * 224 * 224 bytes are 6.1 MiB
    small = dataclasses.replace(TPU, input_buffer_bytes=4 * 2.0**20)
    weights = 3 * 256 * 256  # 576 inputs: three tiles, which stay while all pixels stream
    assert TPU.estimate(layer).dram_bytes == weights
    assert small.estimate(layer).dram_bytes > weights + 2 * 64 * 224 * 224  # and the borders of the tiles


def test_parameters_as_axes_give_what_each_device_gives() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "rows": rng.integers(4, 200, 30),
        "cols": rng.integers(4, 200, 30),
        "arrays": rng.integers(1, 5, 30),
        "clock_mhz": rng.uniform(100, 900, 30),
        "weight_buffer_kb": rng.uniform(8, 4096, 30),
        "input_buffer_kb": rng.uniform(8, 4096, 30),
        "output_buffer_kb": rng.uniform(8, 512, 30),
        "dram_gb_per_s": rng.uniform(1, 100, 30),
        "node_nm": rng.uniform(7, 90, 30),
    }
    layers = convolutions(4)
    for name in ("tpu_v1", "bitfusion", "sc_mac", "dadiannao"):
        together = load_device(name, columns).estimate(layers)
        for index in range(30):
            alone = load_device(name, {key: values[index].item() for key, values in columns.items()}).estimate(layers)
            np.testing.assert_allclose(together.latency_s[index], alone.latency_s)
            np.testing.assert_allclose(together.energy_j[index], alone.energy_j)
            np.testing.assert_allclose(together.area_mm2[index], alone.area_mm2)


def test_stream_length_is_an_axis() -> None:
    lengths = np.array([16.0, 256.0, 1024.0])
    report = load_device("sc_mac", {"stream_length": lengths}).estimate(linear(64, 64, batch=6400))
    np.testing.assert_array_equal(report.cycles[:, 0], 100 * lengths + 128)


@pytest.mark.parametrize("name", ["tpu_v1", "dadiannao", "bitfusion", "sc_mac", "tetris"])
def test_more_bandwidth_and_a_faster_clock_never_take_longer(name: str) -> None:
    slow = device(name)
    workload = sample_workload(20)
    for field in ("clock_hz", "dram_bytes_per_s"):
        fast = dataclasses.replace(slow, **{field: 2 * getattr(slow, field)})
        assert (fast.estimate(workload).total_latency_s <= slow.estimate(workload).total_latency_s).all()


def test_the_area_is_that_of_the_die() -> None:
    assert TPU.estimate(linear(256, 256)).area_mm2 == pytest.approx(331, rel=0.01)  # at most half of Haswell's 662 mm2
    assert DADIANNAO.estimate(linear(256, 256)).area_mm2 == pytest.approx(67.7, rel=0.01)


def test_time_that_is_all_overhead_is_refused() -> None:
    with pytest.raises(DeviceError, match="`overhead_fraction` must be below 1"):
        device("tpu_v1", overhead_fraction=1.0)


@pytest.mark.parametrize("brick", [3, 16])
def test_bricks_that_do_not_make_a_unit_are_refused(brick: int) -> None:
    with pytest.raises(DeviceError, match=f"power of two times `brick_bits`, but unit_bits=8, brick_bits={brick}"):
        device("bitfusion", brick_bits=brick)
