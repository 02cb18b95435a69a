from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Pattern, Workload
from hwmodels.imbalance import expected_maximum, irregularity, lane_steps, run_length_padding, slowest


@pytest.mark.parametrize("units", [1, 8, 64, 256])
def test_expected_maximum_of_normals_meets_a_simulation(units: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(20_000, units)).max(1).mean()
    assert expected_maximum(units) == pytest.approx(drawn, abs=0.03)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_slowest_unit_meets_a_simulation(density: float) -> None:
    drawn = np.random.default_rng(0).binomial(144, density, (4000, 16)).max(1).mean()
    modelled = slowest(np.array(144 * density), np.array(density), units=16, most=np.array(144.0))
    assert modelled == pytest.approx(drawn, rel=0.02)


def test_the_slowest_unit_never_does_more_than_all() -> None:
    assert slowest(np.array(9.9), np.array(0.99), units=256, most=np.array(10.0)) == 10


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_lane_steps_meet_a_simulation(density: float) -> None:
    # the closed form takes the remainder to be uniform; at density 0.1 the counts spread over 3.6, less than the 16 lanes
    drawn = np.ceil(np.random.default_rng(0).binomial(144, density, 20_000) / 16).mean()
    assert lane_steps(np.array(144 * density), lanes=16, most=np.array(144.0)) == pytest.approx(drawn, rel=0.1)


def test_dense_work_fills_the_lanes_exactly() -> None:
    assert lane_steps(np.array(100.0), lanes=16, most=np.array(100.0)) == 7


@pytest.mark.parametrize(("entries", "density"), [(64.0, 0.09), (138.0, 0.11), (300.0, 0.02), (16.0, 0.5)])
def test_padding_equals_the_sum_that_it_replaces(entries: float, density: float) -> None:
    gaps = np.arange(16, entries, 16)  # Han et al., ISCA 2016: gaps of four bits
    expected = ((entries - gaps) * density * (1 - density) ** gaps).sum()
    assert run_length_padding(np.array(entries), np.array(density), index_bits=4) == pytest.approx(expected)


def test_only_aligned_patterns_are_regular() -> None:
    patterns = [Pattern.DENSE, Pattern.FINE, Pattern.VECTOR, Pattern.KERNEL, Pattern.GROUP]
    workload = Workload(names=tuple("abcde"), in_channels=np.ones(5, int), out_channels=np.ones(5, int), pattern=np.array(patterns))
    assert irregularity(workload).tolist() == [1, 1, 0, 1, 0]
