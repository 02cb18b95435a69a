from __future__ import annotations

import numpy as np
import pytest

from hwmodels.technology import HOROWITZ_45NM_PJ, mac_energy_scale


def test_a_mac_of_16_bits_is_the_reference() -> None:
    assert mac_energy_scale(16, 16) == pytest.approx(1)


@pytest.mark.parametrize("bits", [8, 32])
def test_scaling_meets_the_table_of_horowitz(bits: int) -> None:
    # Horowitz ISSCC 2014: 8 bit 0.2 + 0.03 pJ, 32 bit 3.1 + 0.1 pJ; 16 bit is interpolated as 3.1/4 + 0.1/2 = 0.825 pJ
    published = HOROWITZ_45NM_PJ[f"int{bits}_multiply"] + HOROWITZ_45NM_PJ[f"int{bits}_add"]
    assert mac_energy_scale(bits, bits) * 0.825 == pytest.approx(published, rel=0.05)


def test_energy_grows_with_either_width() -> None:
    scale = mac_energy_scale(np.arange(1, 33)[:, None], np.arange(1, 33))
    assert (np.diff(scale, axis=0) > 0).all()
    assert (np.diff(scale, axis=1) > 0).all()
