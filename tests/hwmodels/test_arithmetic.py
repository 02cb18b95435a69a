from __future__ import annotations

import numpy as np
import pytest

from hwmodels.arithmetic import MacName, mac_table
from hwmodels.technology import composable_energy_pj, mac_energy_pj


@pytest.mark.parametrize(
    ("weight", "activation", "gain", "passes"),
    [(8, 8, 1, 1), (4, 4, 4, 1), (2, 2, 16, 1), (1, 1, 16, 1), (3, 8, 2, 1), (2, 8, 4, 1), (16, 4, 2, 2), (16, 16, 1, 4)],
)
def test_a_fusion_unit_falls_apart_into_bricks(weight: int, activation: int, gain: int, passes: int) -> None:
    # Sharma et al., ISCA 2018, 8-bit unit of 2-bit bricks: one 8 x 8, four 4 x 4, sixteen 2 x 2; 16 bit in several passes
    gains, times, _ = mac_table("composable", 8, 2)
    assert (gains[weight, activation], times[weight, activation]) == (gain, passes)


def test_a_fusion_unit_spends_the_same_energy_per_cycle_whatever_it_computes() -> None:
    gains, passes, energy = mac_table("composable", 8, 2)
    np.testing.assert_allclose(energy * gains / passes, composable_energy_pj(8, 2))


def test_the_tpu_is_half_as_fast_with_one_wide_operand_and_a_quarter_with_two() -> None:
    # Jouppi et al., ISCA 2017, section 2
    gains, passes, energy = mac_table("parallel", 8, 2)
    assert [passes[8, 8], passes[8, 16], passes[16, 16], passes[4, 4]] == [1, 2, 4, 1]
    assert (gains == 1).all()
    assert energy[8, 8] == pytest.approx(float(mac_energy_pj(8, 8)))


def test_a_stream_is_as_long_as_the_wider_operand_has_values() -> None:
    _, passes, _ = mac_table("stochastic", 8, 2)
    assert [passes[8, 4], passes[2, 3], passes[1, 1]] == [256, 8, 2]


@pytest.mark.parametrize("mac", ["parallel", "composable", "stochastic"])
def test_wider_operands_are_never_faster_nor_cheaper(mac: MacName) -> None:
    gains, passes, energy = mac_table(mac, 8, 2)
    for axis in (0, 1):
        assert (np.diff(gains / passes, axis=axis) <= 0).all()
        assert (np.diff(energy, axis=axis) >= -1e-12).all()
