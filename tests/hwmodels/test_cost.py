from __future__ import annotations

import numpy as np
import pytest

from hwmodels import CostReport, HardwareError


def report(**fields: object) -> CostReport:
    """Two candidates of two layers."""
    two = np.array([[1.0, 2.0], [3.0, 4.0]])
    given = {"names": ("a", "b"), "latency_s": two, "energy_parts_j": {"mac": two, "dram": two / 2}, "cycles": two}
    return CostReport(**(given | {"utilization": two / 8, "dram_bytes": np.zeros(2)} | fields))  # type: ignore[arg-type]


def test_totals_are_sums_over_layers_and_parts() -> None:
    assert report().total_latency_s.tolist() == [3, 7]
    assert report().total_energy_j.tolist() == [4.5, 10.5]  # 1.5 times the latency's figures


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_price_that_is_no_price_is_refused_with_layer_and_value(bad: float) -> None:
    with pytest.raises(HardwareError, match=f"cycles of layer 'b' is {bad:g}"):
        report(cycles=np.array([[1.0, 1.0], [1.0, bad]]))


def test_a_candidate_fits_when_no_resource_exceeds_its_limit() -> None:
    priced = report(resources={"DSP": np.array([10.0, 30.0])}, limits={"DSP": 20})
    assert priced.feasible.tolist() == [True, False]
    assert priced.reasons(0) == ()
    assert priced.reasons(1) == ("needs 30 DSP, the device has 20",)


def test_limits_may_differ_between_designs() -> None:
    column = np.array([[20.0], [40.0]])  # as a device parameter with one value per candidate comes
    priced = report(resources={"DSP": np.array([30.0, 30.0])}, limits={"DSP": column}, area_mm2=column)
    assert priced.feasible.tolist() == [False, True]
    assert priced.reasons(0) == ("needs 30 DSP, the device has 20",)
    assert np.shape(priced.area_mm2) == (2,)
