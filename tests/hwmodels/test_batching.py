"""Candidates that are priced a few at a time have the prices that they have together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwmodels import CostReport, DeviceError, Workload
from hwmodels.batching import CHUNK, array_parameters, in_chunks, joined
from hwmodels.parameters import Quantity
from hwmodels.testing import sample_workload

LAYERS = 9


def priced(workload: Workload, clock_hz: Quantity) -> CostReport:
    """A MAC per cycle, a pJ per MAC, and as many words as there are weights."""
    cycles = np.asarray(workload.macs, np.float64)
    return CostReport(
        names=workload.names,
        latency_s=cycles / clock_hz,
        energy_parts_j={"mac": cycles * 1e-12},
        cycles=cycles,
        utilization=np.ones(()),
        dram_bytes=np.zeros(()),
        area_mm2=np.asarray(clock_hz, np.float64) / 1e9,
        resources={"words": np.asarray(workload.weights.sum(-1), np.float64)},
        limits={"words": np.asarray(1e5)},
    )


@dataclass(frozen=True)
class Plain:
    """A model that sees how it is asked."""

    clock_hz: Quantity = 1e9
    seen: list[tuple[int, ...]] = field(default_factory=list)

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Prices, and a note of the shape that was asked about."""
        self.seen.append(workload.shape)
        return priced(workload, self.clock_hz)


def leaves(report: CostReport) -> Mapping[str, NDArray[Any]]:
    """Some of everything: per layer, per candidate, scalar."""
    return {
        "latency": report.latency_s,
        "energy": report.energy_j,
        "utilization": report.utilization,
        "area": np.asarray(report.area_mm2),
        "words": report.resources["words"],
        "fits": report.feasible,
    }


@pytest.mark.parametrize("candidates", [1, 7, CHUNK // LAYERS, CHUNK // LAYERS + 1, 5000])
def test_chunks_make_one_report(candidates: int) -> None:
    workload = sample_workload(candidates)
    model = Plain()
    together = model.estimate(workload)
    for name, values in leaves(priced(workload, 1e9)).items():
        np.testing.assert_array_equal(leaves(together)[name], values, err_msg=name)
    assert sum(shape[0] for shape in model.seen) == candidates
    assert all(np.prod(shape) <= CHUNK for shape in model.seen)


def test_one_network_is_asked_about_as_it_is() -> None:
    model = Plain()
    assert model.estimate(sample_workload(3).candidate(0)).latency_s.ndim == 1
    assert len(model.seen) == 1


def test_several_candidate_axes_keep_their_shape() -> None:
    flat = sample_workload(6)
    stacked = flat.replace(**{n: a.reshape(2, 3, LAYERS) for n, a in flat.arrays().items() if a.ndim == 2})
    report = Plain().estimate(stacked)
    assert report.latency_s.shape == (2, 3, LAYERS)
    assert report.feasible.shape == (2, 3)
    np.testing.assert_array_equal(report.latency_s.reshape(6, LAYERS), priced(flat, 1e9).latency_s)
    np.testing.assert_array_equal(report.resources["words"].ravel(), priced(flat, 1e9).resources["words"])


@pytest.mark.parametrize("candidates", [2, 5000])
def test_array_parameters_are_cut_along_with_the_candidates(candidates: int) -> None:
    workload = sample_workload(candidates)
    clocks = np.linspace(1e8, 1e9, candidates)[:, None]
    report = Plain(clocks).estimate(workload)
    np.testing.assert_array_equal(report.latency_s, workload.macs / clocks)
    np.testing.assert_array_equal(report.area_mm2, clocks[:, 0] / 1e9)


def test_one_network_is_repeated_for_each_value_of_an_array() -> None:
    workload = sample_workload(3).candidate(0)
    clocks = np.array([[1e8], [2e8], [4e8]])
    report = Plain(clocks).estimate(workload)
    assert report.latency_s.shape == (3, len(workload.names))
    # twice the clock is half the time
    np.testing.assert_allclose(report.total_latency_s[:-1], 2 * report.total_latency_s[1:])


def test_no_candidates_have_an_empty_report() -> None:
    assert Plain().estimate(sample_workload(4).part(0, 0)).feasible.shape == (0,)


def test_arrays_and_candidates_must_be_as_many() -> None:
    with pytest.raises(DeviceError, match=r"must have as many candidates, but have \[2, 3\]"):
        Plain(np.array([[1e8], [2e8]])).estimate(sample_workload(3))


def test_array_parameters_are_those_that_hold_arrays() -> None:
    assert array_parameters(Plain()) == {}
    assert list(array_parameters(Plain(np.array([[1e8]])))) == ["clock_hz"]


def test_a_part_without_a_resource_needs_none_of_it() -> None:
    workload = sample_workload(2)
    with_words = priced(workload, 1e9)
    none = np.zeros_like(with_words.latency_s)
    without = CostReport(with_words.names, with_words.latency_s, {"sram": with_words.energy_j}, none, none, none)
    report = joined([(np.array([0, 3]), with_words), (np.array([1, 2]), without)], 4)
    assert report.resources["words"][[1, 2]].tolist() == [0, 0]
    assert report.resources["words"][[0, 3]].tolist() == with_words.resources["words"].tolist()
    assert report.energy_parts_j["mac"][1].sum() == 0
    np.testing.assert_array_equal(report.energy_j[[1, 2]], without.energy_j)
