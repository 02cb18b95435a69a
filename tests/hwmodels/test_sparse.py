from __future__ import annotations

import time
from typing import Any, get_args

import numpy as np
import pytest

from hwmodels import DeviceError, Op, Pattern, Workload, WorkloadError, device_names, load_device
from hwmodels.sparse import Mode, SparseAccelerator
from hwmodels.testing import sample_for

DEVICES = [name for name, family in device_names().items() if family == "sparse"]
# Parameters that may be explored, with the values that the candidates take.
AXES: dict[str, Any] = {
    "clock_mhz": [100.0, 400.0],
    "buffer_kb": [16.0, 512.0],
    "dram_gb_per_s": [0.2, 20.0],
    "pes": [4, 36],
    "lanes": [8, 32],
}
OWN_AXES: dict[str, dict[str, Any]] = {
    "eie": {"fifo_depth": [1, 16], "run_bits": [2, 5]},
    "scnn": {"accumulators": [256, 4096]},
    "eyeriss": {"spad_filters": [8, 24], "spad_inputs": [6, 24], "input_bank_kb": [2.0, 16.0], "bus_words": [2.0, 16.0]},
    "eyeriss_v2": {"spad_weights": [96, 384]},
}


def device(name: str, **parameters: object) -> SparseAccelerator:
    model = load_device(name, parameters)
    assert isinstance(model, SparseAccelerator)
    return model


def layer(density: float = 1.0, pattern: Pattern = Pattern.DENSE, **changes: object) -> Workload:
    """256 -> 256 channels, 3x3, 14x14 pixels, 8 bit; half of the inputs are zeros."""
    fields: dict[str, object] = {"in_channels": [256], "out_channels": [256], "kernel_h": [3], "kernel_w": [3]}
    fields |= {"in_h": [14], "in_w": [14], "out_h": [14], "out_w": [14], "weight_bits": [8], "activation_bits": [8]}
    fields |= {"weight_density": [density], "activation_density": [0.5], "pattern": [pattern]}
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def test_every_mode_is_shipped() -> None:
    assert {device(name).mode for name in DEVICES} == set(get_args(Mode))


@pytest.mark.parametrize("name", DEVICES)
def test_an_array_of_parameters_costs_what_each_costs_alone(name: str) -> None:
    axes = {k: v for k, v in (AXES | OWN_AXES.get(device(name).mode, {})).items() if (device(name).mode, k) != ("dstc", "lanes")}
    workload = sample_for(device(name), 2)
    together = device(name, **{key: np.array(values) for key, values in axes.items()}).estimate(workload)
    for index in range(2):
        alone = device(name, **{key: values[index] for key, values in axes.items()}).estimate(workload.part(index, index + 1))
        assert together.total_latency_s[index] == pytest.approx(alone.total_latency_s[0], rel=1e-12)
        assert together.total_energy_j[index] == pytest.approx(alone.total_energy_j[0], rel=1e-12)
        assert np.broadcast_to(together.area_mm2, 2)[index] == pytest.approx(float(alone.area_mm2))
        assert together.feasible[index] == alone.feasible[0]


@pytest.mark.parametrize("name", [name for name in DEVICES if name != "eyeriss_v2_pe"])
def test_two_hundred_thousand_layers_are_priced_in_a_second(name: str) -> None:
    # 0.1 to 0.2 us per layer and candidate were measured; 5 us leaves room for a busy machine
    workload = sample_for(device(name), 1)
    many = workload.replace(weight_density=np.random.default_rng(0).uniform(0, 1, (200_000 // workload.shape[-1], workload.shape[-1])))
    started = time.perf_counter()
    device(name).estimate(many)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("name", ["cambricon_x", "scnn", "dstc"])
def test_aligned_patterns_gain_more_than_scattered_zeros(name: str) -> None:
    latency = {pattern: device(name).estimate(layer(0.3, pattern)).cycles[0] for pattern in Pattern if pattern != Pattern.DENSE}
    dense = device(name).estimate(layer()).cycles[0]
    assert latency[Pattern.GROUP] == latency[Pattern.VECTOR] < latency[Pattern.FINE] == latency[Pattern.KERNEL] < dense
    assert latency[Pattern.GROUP] == pytest.approx(0.3 * dense, rel=0.03)


@pytest.mark.parametrize("name", [name for name in DEVICES if name != "eie"])
def test_removed_filters_gain_on_every_device(name: str) -> None:
    # half of the channels on both sides leave a quarter of the work
    whole, half = device(name).estimate(layer(in_channels=[512], out_channels=[512])), device(name).estimate(layer())
    assert half.cycles < 0.5 * whole.cycles
    assert half.total_energy_j < 0.5 * whole.total_energy_j


def test_a_shared_position_saves_traffic() -> None:
    # run-length weights of Cambricon-X: 4 bits of position beside 8 for each weight, or for each row of three, kernel, or 256 filters
    patterns = (Pattern.FINE, Pattern.VECTOR, Pattern.KERNEL, Pattern.GROUP)
    traffic = [device("cambricon_x").estimate(layer(0.3, pattern)).dram_bytes[0] for pattern in patterns]
    assert traffic == sorted(traffic, reverse=True)
    assert traffic[0] > 1.2 * traffic[-1]


def test_the_format_of_the_device_decides_the_traffic() -> None:
    # weights 589 824 at density 0.1: dense 8 bit; bitmask 0.1 * 8 + 1 = 1.8 bit; maps are the same
    dense, bitmask = (
        device("cambricon_x", weight_format=text, buffer_kb=4096.0).estimate(layer(0.1, Pattern.FINE)) for text in ("dense", "bitmask")
    )
    assert dense.dram_bytes - bitmask.dram_bytes == pytest.approx(589_824 * (8 - 1.8) / 8)


def test_fused_layers_keep_their_map_on_chip() -> None:
    names = ("first", "second")
    pair = Workload(names=names, **{key: np.repeat(array, 2, -1) if array.ndim else array for key, array in layer().arrays().items()})
    for name in ("cambricon_x", "eyeriss", "scnn"):
        apart, fused = device(name).estimate(pair), device(name).estimate(pair.replace(fused=np.array([1, 0])))
        assert (fused.dram_bytes < apart.dram_bytes).all()


def test_eie_needs_its_weights_on_chip() -> None:
    fc = Workload(names=("fc",), op=np.array([Op.LINEAR]), in_channels=np.array([9216]), out_channels=np.array([4096]))
    report = device("eie", buffer_kb=1.0).estimate(fc)
    assert not report.feasible
    assert "KiB of weight memory, the device has 1" in report.reasons()[0]


def test_only_eie_limits_the_layers_that_it_runs() -> None:
    assert device("eie").supports == {Op.LINEAR}
    assert device("scnn").supports == set(Op)
    with pytest.raises(WorkloadError, match=r"^Device 'eie' runs fully connected layers only, but layer 'conv' is a convolution; price it"):
        device("eie").estimate(layer())


def test_more_multipliers_take_more_area_and_leakage() -> None:
    small, large = device("eyeriss"), device("eyeriss", pes=24)
    # 168 more elements of 0.036 mm2 and 1.12 mW
    assert large.estimate(layer()).area_mm2 - small.estimate(layer()).area_mm2 == pytest.approx(168 * 0.036)
    static_w = [(r.energy_parts_j["static"] / r.latency_s)[0] for r in (large.estimate(layer()), small.estimate(layer()))]
    assert static_w[0] - static_w[1] == pytest.approx(168 * 1.12e-3)


@pytest.mark.parametrize(("name", "published_mm2"), [("eie", 40.8), ("eyeriss", 12.25), ("cambricon_x", 6.38), ("scnn", 7.9)])
def test_the_parts_of_a_chip_add_up_to_its_published_area(name: str, published_mm2: float) -> None:
    chip = device(name)
    fc = Workload(names=("fc",), op=np.array([Op.LINEAR]), in_channels=np.array([8]), out_channels=np.array([8]))
    assert float(chip.estimate(fc).area_mm2) == pytest.approx(published_mm2, rel=0.02)


def test_an_outer_product_core_has_lanes_that_its_weights_divide() -> None:
    with pytest.raises(DeviceError, match="`lanes` of mode 'dstc' must be one multiple of `weight_lanes` 16, but is 100"):
        device("dstc", lanes=100)
