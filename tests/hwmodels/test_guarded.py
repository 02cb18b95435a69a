from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from hwmodels import CostReport, HardwareError, Workload, load_device, price
from hwmodels.guarded import UNPRICED, Guarded


@dataclass(frozen=True)
class Faulty:
    """Prices like zcu102, and fails where a weight has 4 bits."""

    fault: str

    name = "faulty"

    def estimate(self, workload: Workload) -> CostReport:
        report = load_device("zcu102").estimate(workload)
        hit = np.broadcast_to(workload.weight_bits == 4, workload.shape)
        if self.fault == "text":
            return "42"  # type: ignore[return-value]
        if self.fault == "raises" and hit.any():
            raise ZeroDivisionError("no entry for 4 bit")
        return CostReport(
            names=report.names,
            latency_s=np.where(hit, np.nan, report.latency_s),
            energy_parts_j=report.energy_parts_j,
            cycles=report.cycles,
            utilization=report.utilization,
            dram_bytes=report.dram_bytes,
            resources=report.resources,
            limits=report.limits,
        )

    def nonidealities(self, workload: Workload) -> None:
        return None


def workload(bits: list[int]) -> Workload:
    """A linear layer in as many candidates as there are widths."""
    return Workload(names=("fc",), in_channels=[64], out_channels=[32], weight_bits=np.array(bits)[:, None], activation_bits=[8])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raises", r"Hardware model 'faulty' must price every workload, but raised ZeroDivisionError: no entry for 4 bit\."),
        ("nan", r"Hardware model 'faulty': A price must be finite and not negative, but latency_s of layer 'fc' is nan\."),
        ("text", r"Hardware model 'faulty' must answer with a CostReport, but answered with str\."),
    ],
)
def test_a_fault_is_one_line_with_the_models_name(fault: str, said: str) -> None:
    with pytest.raises(HardwareError, match=said) as caught:
        price(Faulty(fault), workload([8, 4]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_only_the_candidates_that_fail_are_infeasible(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = Guarded(Faulty(fault)).estimate(workload([8, 4, 2]))
    whole = load_device("zcu102").estimate(workload([8, 8, 2]))
    np.testing.assert_array_equal(report.feasible, [True, False, True])
    np.testing.assert_array_equal(report.latency_s, whole.latency_s)  # the failed one stands in with the first one's prices
    assert report.reasons(1) == (f"needs 1 {UNPRICED}, the device has 0",)
    assert "'faulty'" in caplog.text


def test_a_model_that_always_fails_raises() -> None:
    with pytest.raises(HardwareError, match="no entry for 4 bit"):
        Guarded(Faulty("raises")).estimate(workload([4, 4]))


def test_a_model_that_works_is_left_alone() -> None:
    guarded, plain = Guarded(load_device("isaac")), load_device("isaac")
    assert guarded.name == "isaac"
    assert guarded.nonidealities(workload([8])) == plain.nonidealities(workload([8]))
    np.testing.assert_array_equal(guarded.estimate(workload([8, 4])).energy_j, plain.estimate(workload([8, 4])).energy_j)
