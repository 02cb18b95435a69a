from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwmodels import Pattern, Workload, load_device
from hwmodels.sparse import SparseAccelerator

EIE, CAMBRICON, EYERISS = (load_device(name) for name in ("eie", "cambricon_x", "eyeriss"))


def sparse(device: object, **changes: Any) -> SparseAccelerator:
    assert isinstance(device, SparseAccelerator)
    return dataclasses.replace(device, **changes)


def layer(**changes: object) -> Workload:
    """64 -> 32 channels, 3x3, 8x8 pixels, 16 bit: m 64, k 576, n 32."""
    fields: dict[str, object] = {
        "in_channels": [64],
        "out_channels": [32],
        "kernel_h": [3],
        "kernel_w": [3],
        "in_h": [8],
        "in_w": [8],
        "out_h": [8],
        "out_w": [8],
        "weight_bits": [16],
        "activation_bits": [16],
    }
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def linear(inputs: int, outputs: int, weight_density: float, activation_density: float) -> Workload:
    """A layer compressed as EIE wants it: 4-bit codebook indices with 4-bit zero runs."""
    return Workload(
        names=("fc",),
        in_channels=np.array([inputs]),
        out_channels=np.array([outputs]),
        weight_bits=np.array([4]),
        activation_bits=np.array([16]),
        weight_density=np.array([weight_density]),
        activation_density=np.array([activation_density]),
        pattern=np.array([Pattern.FINE]),
        index_bits=np.array([4]),
        codebook=np.array([16]),
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "weight_density", "activation_density", "published_us"),
    [
        (9216, 4096, 0.09, 0.351, 30.3),  # Alex-6
        (4096, 4096, 0.09, 0.353, 12.2),  # Alex-7
        (4096, 1000, 0.25, 0.375, 9.9),  # Alex-8
        (4096, 1000, 0.23, 0.411, 7.5),  # VGG-8
        (600, 8791, 0.11, 1.0, 13.9),  # NT-Wd
    ],
)
def test_eie_latency_meets_the_paper(
    inputs: int, outputs: int, weight_density: float, activation_density: float, published_us: float
) -> None:
    # Han et al., ISCA 2016, Table V (recalled). The real layers' zeros are not random: 20 % leaves room for that.
    report = EIE.estimate(linear(inputs, outputs, weight_density, activation_density))
    assert report.total_latency_s * 1e6 == pytest.approx(published_us, rel=0.2)


def test_eie_power_meets_the_paper() -> None:
    # 0.59 W of chip power; DRAM is outside. The registers' energy was derived from the power of one PE, so 20 % is a check of the sum.
    report = EIE.estimate(linear(9216, 4096, 0.09, 0.351))
    power_w = (report.total_energy_j - report.energy_parts_j["dram"].sum()) / report.total_latency_s
    assert power_w == pytest.approx(0.59, rel=0.2)


def test_eie_needs_its_weights_on_chip() -> None:
    report = sparse(EIE, buffer_bytes=1024.0).estimate(linear(9216, 4096, 0.09, 0.351))
    assert not report.feasible
    assert "KiB of weight memory, the device has 1" in report.reasons()[0]


@pytest.mark.parametrize(
    ("shape", "active", "power_mw"),
    [
        ((3, 96, 11, 227, 55, 1), 154, 332),  # in, out, kernel, input, output, groups
        ((96, 256, 5, 27, 27, 2), 135, 288),
        ((256, 384, 3, 13, 13, 1), 156, 266),
        ((384, 384, 3, 13, 13, 2), 156, 235),
    ],
)
def test_eyeriss_keeps_as_many_elements_busy_as_measured_on_alexnet(shape: tuple[int, ...], active: int, power_mw: int) -> None:
    # Chen et al., JSSC 2017, AlexNet. Conv1's last strip is not full (55 of 56 rows): 2 % less. Power: same table, 30 %, with
    # energies per operation that were not fitted to this chip.
    inputs, outputs, kernel, in_size, out_size, groups = shape
    workload = layer(
        in_channels=[inputs],
        out_channels=[outputs],
        kernel_h=[kernel],
        kernel_w=[kernel],
        in_h=[in_size],
        in_w=[in_size],
        out_h=[out_size],
        out_w=[out_size],
        groups=[groups],
        batch=[4],
    )
    report = sparse(EYERISS, dram_bytes_per_s=1e12).estimate(workload)
    assert report.utilization[0] * 168 == pytest.approx(active, rel=0.02)
    on_chip_j = report.total_energy_j - report.energy_parts_j["dram"].sum()
    assert on_chip_j / report.total_latency_s * 1e3 == pytest.approx(power_mw, rel=0.3)


def test_gating_saves_energy_but_no_time() -> None:
    dense, gated = EYERISS.estimate(layer()), EYERISS.estimate(layer(activation_density=[0.4]))
    assert gated.total_latency_s == dense.total_latency_s
    # 0.4 run in full, 0.6 at 3 %
    assert gated.energy_parts_j["mac"] == pytest.approx((0.4 + 0.6 * 0.03) * dense.energy_parts_j["mac"])


def test_a_dense_layer_on_cambricon_x_by_hand() -> None:
    # 64 pixels * ceil(32/16) filters per PE * ceil(576/16) steps
    assert CAMBRICON.estimate(layer()).cycles == 64 * 2 * 36


def test_aligned_zeros_are_skipped_without_loss() -> None:
    for pattern in (Pattern.VECTOR, Pattern.GROUP):
        assert CAMBRICON.estimate(layer(weight_density=[0.25], pattern=[pattern])).cycles == 64 * 2 * 9


def test_scattered_zeros_wait_for_the_fullest_filter() -> None:
    fine = CAMBRICON.estimate(layer(weight_density=[0.25], pattern=[Pattern.FINE]))
    # fullest of 16 filters: 144 + 1.766 * sqrt(144 * 0.75) = 162.4 weights; (162.4 + 7.5) / 16 steps
    assert fine.cycles == pytest.approx(64 * 2 * 10.62, rel=1e-3)
    assert fine.energy_parts_j["mac"] == pytest.approx(0.25 * CAMBRICON.estimate(layer()).energy_parts_j["mac"])


def test_cambricon_x_does_not_see_zero_activations_and_cnvlutin_no_zero_weights() -> None:
    cnvlutin = sparse(CAMBRICON, mode="cnvlutin")
    assert CAMBRICON.estimate(layer(activation_density=[0.3])).cycles == CAMBRICON.estimate(layer()).cycles
    assert cnvlutin.estimate(layer(weight_density=[0.3])).cycles == cnvlutin.estimate(layer()).cycles
    # 36 inputs per lane, 30 % of them: the fullest of 16 lanes has 10.8 + 1.766 * sqrt(10.8 * 0.7) = 15.66
    assert cnvlutin.estimate(layer(activation_density=[0.3])).cycles == pytest.approx(64 * 2 * 15.66, rel=1e-3)
