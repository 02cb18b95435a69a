from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from hwmodels.errors import DeviceError
from hwmodels.parameters import Count, Quantity, check_parameters, parameter_types, takes_arrays


@dataclass
class Toy:
    rows: Count = 4
    clock_hz: Quantity = 1e6
    adc_bits: int = 8
    stuck_fraction: float = 0.1
    mode: Literal["ws", "os"] = "ws"
    overlap: bool = True


def test_axes_are_told_from_scalars() -> None:
    assert [name for name, kind in parameter_types(Toy).items() if takes_arrays(kind)] == ["rows", "clock_hz"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rows": 0}, "`rows` must be at least 1, but is 0"),
        ({"rows": 2.5}, "`rows` must be a whole number"),
        ({"rows": np.array([[4], [0]])}, "`rows` must be at least 1"),
        ({"rows": np.array([[4.0]])}, "`rows` must hold whole numbers only"),
        ({"rows": np.array([4, 8])}, r"`rows` must hold one value per candidate \(b x 1\), with shape \(2,\)"),
        ({"clock_hz": np.array([[1e6], [0.0]])}, "`clock_hz` must be above 0"),
        ({"clock_hz": np.array([[1e6], [np.nan]])}, "`clock_hz` must be finite and not negative"),
        ({"adc_bits": np.array([[4]])}, "`adc_bits` must be a whole number"),
        ({"adc_bits": 33}, "`adc_bits` must be 1 to 32, but is 33"),
        ({"stuck_fraction": 1.5}, "`stuck_fraction` must be at most 1"),
        ({"mode": "is"}, "`mode` must be one of ws, os, but is 'is'"),
        ({"overlap": 1}, "`overlap` must be true or false"),
    ],
)
def test_a_broken_rule_is_named_with_the_value(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        check_parameters(Toy(**fields))


def test_one_value_per_candidate_is_taken() -> None:
    check_parameters(Toy(rows=np.array([[4], [8]]), clock_hz=np.array([[1e6], [2e6]])))
