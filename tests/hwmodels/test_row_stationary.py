from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Workload, load_device
from hwmodels.networks import load_network, select
from hwmodels.sparse import SparseAccelerator

# Zeros in the inputs of AlexNet's convolutions, Chen et al., JSSC 2017, table V (recalled).
ALEXNET_DENSITY = {"conv1": 0.9999, "conv2": 0.613, "conv3": 0.275, "conv4": 0.207, "conv5": 0.224}


def eyeriss(**parameters: object) -> SparseAccelerator:
    model = load_device("eyeriss", parameters)
    assert isinstance(model, SparseAccelerator)
    return model


def alexnet(*layers: str, batch: int = 4) -> Workload:
    """AlexNet's convolutions with the densities that the chip's authors measured, four images as they ran it."""
    density = np.array([ALEXNET_DENSITY[name] for name in layers])
    return select(load_network("alexnet"), layers).replace(batch=batch, weight_bits=16, activation_bits=16, activation_density=density)


def vgg(pixels: int, channels: int) -> Workload:
    """A convolution of VGG-16: as many channels in as out, 3x3, three images."""
    size, count, kernel = np.array([pixels]), np.array([channels]), np.array([3])
    shape = {"in_h": size, "in_w": size, "out_h": size, "out_w": size, "kernel_h": kernel, "kernel_w": kernel}
    return Workload(names=("conv",), in_channels=count, out_channels=count, **shape).replace(batch=3, weight_bits=16, activation_bits=16)


@pytest.mark.parametrize(("layer", "active"), [("conv1", 154), ("conv2", 135), ("conv3", 156), ("conv4", 156), ("conv5", 156)])
def test_as_many_elements_are_active_as_measured_on_alexnet(layer: str, active: int) -> None:
    # Chen et al., JSSC 2017, table V: 11x14 rows of conv1, 5 x 27 of conv2 in two strips, four stacks of 3x13 of the others
    device = eyeriss()
    assert device.array.active_pes(device.packed(alexnet(layer))) == active


def test_a_map_with_few_rows_is_laid_side_by_side() -> None:
    # 7 output rows fit twice into 14 columns, 3 kernel rows four times into 12 rows
    device = eyeriss()
    assert device.array.active_pes(device.packed(vgg(7, 64))) == 168


@pytest.mark.parametrize(
    ("layer", "processing_ms", "total_ms"),
    [("conv1", 16.5, 20.9), ("conv2", 39.2, 41.9), ("conv3", 21.8, 23.6), ("conv4", 16.0, 18.4), ("conv5", 10.0, 10.5)],
)
def test_latency_meets_the_chip_on_alexnet(layer: str, processing_ms: float, total_ms: float) -> None:
    # Chen et al., JSSC 2017, table V (conv4 confirmed, the others recalled; they sum to the confirmed 35 frames/s). No constant of
    # the latency was fitted. Total: the written map counts as sparse as the read one, which an image is not: 20 %.
    report = eyeriss().estimate(alexnet(layer))
    assert report.cycles.sum() / 200e6 * 1e3 == pytest.approx(processing_ms, rel=0.1)
    assert report.total_latency_s * 1e3 == pytest.approx(total_ms, rel=0.2)


@pytest.mark.parametrize(
    ("pixels", "channels", "processing_ms"), [(224, 64, 810.6), (112, 128, 810.8), (56, 256, 408.1), (28, 512, 210.0), (14, 512, 48.5)]
)
def test_large_maps_wait_for_partial_sums_as_the_chip_does_on_vgg16(pixels: int, channels: int, processing_ms: float) -> None:
    # Chen et al., JSSC 2017, table VI (recalled): 224-pixel maps take 4.6 times as long as their MACs on 156 elements
    cycles = eyeriss().estimate(vgg(pixels, channels)).cycles.sum()
    assert cycles / 200e6 * 1e3 == pytest.approx(processing_ms, rel=0.06)


def test_the_cycles_of_a_layer_by_hand() -> None:
    # conv5, one image, two groups of 192 -> 128 channels: 128 * 192 / 4 stacks = 6144 passes of 13 * 3 cycles, twice 239 616.
    # Every 4 * 3 MACs a sum is handed on: 519 168 cycles. A bank of 2048 words holds the rows of floor(2048 / 15^2) = 9 channels, so
    # 169 * 256 sums go to the buffer and back ceil(192 / 9) = 22 times: 1 903 616 / 8 = 237 952 cycles behind the others.
    # 442 368 weights come once, four per cycle: 110 592
    layer = alexnet("conv5", batch=1)
    device = eyeriss()
    assert device.array.mac_cycles(device.packed(layer)) == 479_232
    assert device.estimate(layer).cycles == pytest.approx(519_168 + 110_592)


def test_a_wider_bus_helps_where_partial_sums_are_the_bottleneck() -> None:
    narrow, wide = (eyeriss(bus_words=words).estimate(vgg(224, 64)).cycles for words in (8.0, 16.0))
    assert wide < 0.6 * narrow
    assert eyeriss(bus_words=16.0).estimate(vgg(14, 512)).cycles == eyeriss().estimate(vgg(14, 512)).cycles


@pytest.mark.parametrize(("layer", "power_mw"), [("conv1", 332), ("conv2", 288), ("conv3", 266), ("conv4", 235), ("conv5", 236)])
def test_chip_power_meets_the_chip_on_alexnet(layer: str, power_mw: float) -> None:
    # Chen et al., JSSC 2017, table V. One constant, the clock network, was fitted to their mean; the spread is the model's
    report = eyeriss().estimate(alexnet(layer))
    on_chip_j = report.total_energy_j - report.energy_parts_j["dram"].sum()
    assert on_chip_j / report.total_latency_s * 1e3 == pytest.approx(power_mw, rel=0.1)


def test_off_chip_traffic_meets_the_chip_on_alexnet() -> None:
    # 0.0029 accesses of 16 bits per MAC (Chen et al., JSSC 2017, abstract); 10 % for what run-length coding gains
    layers = alexnet(*ALEXNET_DENSITY)
    report = eyeriss().estimate(layers)
    assert report.dram_bytes.sum() / 2 / layers.macs.sum() == pytest.approx(0.0029, rel=0.1)


def test_the_buffer_decides_how_often_operands_are_loaded() -> None:
    # conv3, 16 images, 60 KiW for partial sums: 64 filters of 13x13 pixels of 5 images take 54 080 words; 384 / 64 = 6 loads of the
    # inputs and ceil(16 / 5) = 4 of the weights, as in fig. 10 of Chen et al., ISCA 2016
    device = eyeriss(buffer_kb=128, filter_buffer_kb=4)
    inputs, weights = device.array.loads(device.packed(alexnet("conv3", batch=16)))
    assert inputs == 6
    assert weights == 4


def test_gating_saves_energy_but_no_array_time() -> None:
    layer = vgg(28, 64)
    dense, gated = eyeriss().estimate(layer), eyeriss().estimate(layer.replace(activation_density=0.4))
    assert gated.cycles == dense.cycles
    # 0.4 run in full, 0.6 at 3 %
    assert gated.energy_parts_j["mac"] == pytest.approx((0.4 + 0.6 * 0.03) * dense.energy_parts_j["mac"])
