from __future__ import annotations

import numpy as np
import pytest

from hwmodels.converters import adc_area_scale, adc_energy_scale, adc_time_scale, lossless_bits, pulse_train


@pytest.mark.parametrize(("bits", "picojoules"), [(4, 0.79), (5, 0.99), (6, 1.20), (7, 1.42), (8, 1.67), (10, 2.38)])
def test_energy_of_isaacs_converter_at_every_published_resolution(bits: int, picojoules: float) -> None:
    # Accelergy's library after Shafiee et al., ISCA 2016; within 0.4 %
    assert 1.6667 * float(adc_energy_scale("sar", bits, 8)) == pytest.approx(picojoules, rel=0.004)


def test_a_flash_converter_has_a_comparator_for_each_level() -> None:
    # 15 of 31 comparators, at the same time
    assert adc_energy_scale("flash", 4, 5) == pytest.approx(15 / 31)
    assert adc_area_scale("flash", 4, 5) == pytest.approx(15 / 31)
    assert adc_time_scale("flash", 4, 5) == 1


def test_a_cyclic_converter_works_bit_by_bit_in_one_stage() -> None:
    assert adc_energy_scale("cyclic", 6, 8) == pytest.approx(0.75)
    assert adc_time_scale("cyclic", 6, 8) == pytest.approx(0.75)
    assert adc_area_scale("cyclic", 6, 8) == 1


def test_a_successive_approximation_takes_a_step_for_each_bit() -> None:
    assert adc_time_scale("sar", np.array([[4], [8]]), 8).tolist() == [[0.5], [1.0]]


def test_lossless_resolution_of_the_isaac_crossbar_is_nine_bits() -> None:
    # 128 rows of 2-bit cells and 1-bit inputs sum up to 384; Shafiee et al. save one bit by their encoding
    assert lossless_bits(128, 2, 1) == 9
    # one row of one-bit cells: 0 or 1
    assert lossless_bits(1, 1, 1) == 1


def test_a_pulse_train_has_a_plane_for_each_bit_but_the_sign() -> None:
    planes, phases = pulse_train(np.array([1, 2, 4, 5, 8]), 3)
    assert planes.tolist() == [1, 1, 3, 4, 7]
    assert phases.tolist() == [1, 1, 1, 2, 2]
