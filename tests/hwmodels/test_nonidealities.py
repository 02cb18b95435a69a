from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import load_device
from hwmodels.nonidealities import Cells, Converters, disturbances
from hwmodels.testing import sample_workload

CELLS = Cells(
    bits=2,
    differential=True,
    sigma=(0.02, 0.0, 0.0, 0.0),
    stuck=(0.001, 0.002),
    on_ohm=25_000.0,
    on_off_ratio=40.0,
    drift_nu=0.0,
    drift_start_s=20.0,
    age_s=0.0,
    wire_ohm=0.0,
)
CONVERTERS = Converters(active_rows=128, cols=128, dac_bits=1, adc_bits=8, flip_encoding=False, range_fraction=1.0)


def test_everything_is_a_plain_number() -> None:
    found = disturbances(CELLS, CONVERTERS)
    assert all(type(value) in {int, float} for value in found.values())
    assert found["programming_sigma"] == 0.02
    assert (found["stuck_off"], found["stuck_on"]) == (0.001, 0.002)
    assert found["differential"] == 1


def test_one_value_per_candidate_becomes_a_list() -> None:
    found = disturbances(CELLS, dataclasses.replace(CONVERTERS, adc_bits=np.array([[6], [8]])))
    assert np.asarray(found["adc_bits"]).tolist() == [6, 8]
    assert found["adc_step"] == pytest.approx([384 / 63, 384 / 255])


def test_range_and_step_of_a_converter() -> None:
    # sums up to 128 rows * 3 * 1 = 384 in 255 steps; inverted filters halve the sums, and 8 bits then tell 192 levels apart
    found = disturbances(CELLS, CONVERTERS)
    assert (found["adc_range"], found["lossless_adc_bits"]) == (384, 9)
    assert found["adc_step"] == pytest.approx(384 / 255)
    flipped = disturbances(CELLS, dataclasses.replace(CONVERTERS, flip_encoding=True))
    assert [flipped[key] for key in ("adc_range", "lossless_adc_bits", "adc_step")] == [192, 8, 1]
    # a converter that clips at half of the largest sum has finer steps
    clipped = disturbances(CELLS, dataclasses.replace(CONVERTERS, range_fraction=0.75))
    assert clipped["adc_range"] == 288
    assert clipped["adc_step"] == pytest.approx(288 / 255)


def test_conductances_fall_with_a_power_of_time() -> None:
    # (2000 s / 20 s)**-0.05
    assert dataclasses.replace(CELLS, drift_nu=0.05, age_s=2000.0).drift_factor == pytest.approx(100**-0.05)
    assert dataclasses.replace(CELLS, drift_nu=0.05, age_s=1.0).drift_factor == 1
    assert CELLS.drift_factor == 1


def test_ir_drop_by_hand() -> None:
    # an average cell has (40 + 1) / 2 uS; 1 ohm per cell: 20.5e-6 * (128**2 + 128**2) / 3 and / 2
    mean, worst = dataclasses.replace(CELLS, wire_ohm=1.0).ir_drop(128, 128)
    assert mean == pytest.approx(20.5e-6 * 2 * 128**2 / 3)
    assert worst == pytest.approx(20.5e-6 * 2 * 128**2 / 2)
    assert not any(CELLS.ir_drop(128, 128))


def test_ir_drop_agrees_with_the_currents_of_a_row() -> None:
    # A row of n equal cells fed from one end, solved exactly: for a small r G n**2 the first order is right within a few percent
    cells, wire, conductance = 64, 0.1, 20.5e-6
    # Kirchhoff at each node: (v[i-1] - v[i]) / r = (v[i] - v[i+1]) / r + G v[i]; v[-1] is the driver, 1 V
    along = np.full(cells - 1, 1 / wire)
    matrix = np.diag(np.full(cells, 2 / wire + conductance)) - np.diag(along, 1) - np.diag(along, -1)
    matrix[-1, -1] = 1 / wire + conductance
    drive = np.zeros(cells)
    drive[0] = 1 / wire
    lost = 1 - np.linalg.solve(matrix, drive)
    mean, worst = dataclasses.replace(CELLS, wire_ohm=wire).ir_drop(0, cells)
    assert mean == pytest.approx(lost.mean(), rel=0.05)
    assert worst == pytest.approx(lost.max(), rel=0.05)


def test_neurram_has_the_measured_noise_of_its_cells() -> None:
    # sigma in uS = 0.26348 + 1.9650 g - 1.1731 g**2 with g = G / 25 uS: 1.055 uS at the top, smaller for small conductances
    found = load_device("neurram").nonidealities(sample_workload(1))
    assert found is not None
    sigma = [25 * (found["sigma_offset"] + found["sigma_linear"] * g - found["sigma_curvature"] * g**2) for g in (0.0, 1.0)]
    assert sigma == pytest.approx([0.26348, 1.05538], rel=1e-4)


def test_nonidealities_are_the_devices() -> None:
    device = load_device("isaac", {"programming_sigma": 0.05, "adc_bits": 6})
    found = device.nonidealities(sample_workload(1))
    assert found is not None
    assert (found["programming_sigma"], found["adc_bits"]) == (0.05, 6)
    # one bit less than 128 rows of 2-bit cells need
    assert found["lossless_adc_bits"] == 8
