from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Pattern, Workload
from hwmodels.imbalance import expected_maximum, filled_blocks, irregularity, lane_steps, packed_steps, run_length_padding, slowest


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


def test_expected_maximum_takes_one_number_of_units_per_candidate() -> None:
    units = np.array([[1], [8], [64]])
    assert expected_maximum(units).tolist() == [[expected_maximum(1)], [expected_maximum(8)], [expected_maximum(64)]]  # type: ignore[union-attr]


@pytest.mark.parametrize("places", [16, 49, 196])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.8])
def test_filled_blocks_meet_a_simulation(places: int, density: float) -> None:
    # the remainder is taken to be uniform: 15 % where one block of four holds all that is expected, else 1 %
    drawn = np.ceil(np.random.default_rng(0).binomial(places, density, 50_000) / 4).mean()
    tolerance = 0.15 if places * density < 4 else 0.01
    assert filled_blocks(np.array(float(places)), np.array(density), block=4) == pytest.approx(drawn, rel=tolerance)


def test_one_block_is_filled_as_often_as_anything_is_there() -> None:
    # four places at density 0.5: 1 - 0.5**4
    assert filled_blocks(np.array(4.0), np.array(0.5), block=4) == pytest.approx(0.9375, rel=1e-5)


def test_aligned_zeros_leave_no_block_half_empty() -> None:
    assert filled_blocks(np.array(64.0), np.array(0.25), block=4, irregular=0.0) == pytest.approx(4)
    assert packed_steps(32, np.array(0.25), block=8, irregular=0.0) == pytest.approx(1)


def test_dense_places_fill_their_blocks() -> None:
    assert filled_blocks(np.array(49.0), np.array(1.0), block=4) == 13
    assert packed_steps(32, np.array(1.0), block=8) == pytest.approx(4)


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.4, 0.5, 0.7, 0.95])
def test_the_blocks_of_a_small_tile_meet_a_simulation(block: int, density: float) -> None:
    drawn = np.ceil(np.random.default_rng(0).binomial(32, density, 50_000) / block).mean()
    assert packed_steps(32, np.array(density), block=block) == pytest.approx(drawn, rel=0.01)
