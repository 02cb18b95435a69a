"""Which designs are worth building."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autocomp import exploration
from autocomp.errors import ConfigError, UnknownNameError, UnreachableLimitError
from autocomp.exploration import Exploration, explore
from autocomp.figures import designs_figure
from hwmodels import CostReport, Workload, load_device
from hwmodels.design import Columns, DesignSpace, Value
from hwmodels.networks import load_network

ONE_LAYER = Workload(names=("fc",), in_channels=np.array([8]), out_channels=np.array([8]))


@dataclass(frozen=True)
class Table:
    """Designs whose figures are written down, chosen by their number; as it is, the device is number 0."""

    latency: Sequence[float]
    energy: Sequence[float]
    slices: Sequence[float]
    blur: Sequence[float]
    limit: float = 100.0
    area: float = 0.0

    name = "table"

    @property
    def axes(self) -> Mapping[str, Sequence[Value]]:
        return {"number": tuple(range(len(self.latency)))}

    def estimate(self, workload: Workload) -> CostReport:
        return self._report(np.array(0))

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        return {"blur": self.blur[0]}

    def estimate_designs(self, columns: Columns, workload: Workload) -> CostReport:
        return self._report(np.asarray(columns["number"]))

    def disturb_designs(self, columns: Columns, workload: Workload) -> Mapping[str, NDArray[np.float64]]:
        return {"blur": np.asarray(self.blur, float)[np.asarray(columns["number"])]}

    def _report(self, numbers: NDArray[Any]) -> CostReport:
        latency, energy = (np.asarray(np.asarray(values, float)[numbers])[..., None] for values in (self.latency, self.energy))
        return CostReport(
            names=("fc",),
            latency_s=latency,
            energy_parts_j={"mac": energy},
            cycles=latency,
            utilization=np.ones(()),
            dram_bytes=np.zeros(()),
            area_mm2=np.asarray(self.area),
            resources={"slices": np.asarray(np.asarray(self.slices, float)[numbers])},
            limits={"slices": self.limit},
        )


def table(*rows: tuple[float, float, float, float], area: float = 0.0) -> Table:
    """A device from rows of latency, energy, slices and blur."""
    latency, energy, slices, blur = zip(*rows, strict=True)
    return Table(latency, energy, slices, blur, area=area)


def explored(device: Table, **wanted: Any) -> Exploration:
    return explore(device, ONE_LAYER, **wanted)


def test_the_front_is_what_no_feasible_design_beats() -> None:
    # 0 is beaten by 1; 2 trades time for energy; 3 would beat all, but has too many slices
    found = explored(table((2, 2, 10, 0), (1, 2, 20, 0), (3, 1, 10, 0), (0.5, 0.5, 101, 0)))
    assert found.front == [1, 2]
    assert found.feasible.tolist() == [True, True, True, False]
    assert found.objectives == ("latency_s", "energy_j")


def test_of_equal_designs_the_one_that_needs_least_stays() -> None:
    assert explored(table((1, 1, 30, 0), (1, 1, 10, 0), (1, 1, 20, 0))).front == [1]


def test_area_counts_where_there_is_a_model_of_it() -> None:
    assert explored(table((1, 1, 1, 0), area=3.0)).objectives == ("latency_s", "energy_j", "area_mm2")


def test_objectives_may_be_resources() -> None:
    device = table((1, 1, 30, 0), (2, 2, 10, 0), (3, 3, 20, 0))
    assert explored(device).front == [0]
    assert explored(device, objectives=["latency_s", "slices"]).front == [0, 1]


def test_a_limit_tightens_what_the_device_has_and_never_loosens_it() -> None:
    device = table((1, 1, 90, 0), (2, 2, 10, 0), (0.1, 0.1, 110, 0))
    assert explored(device, limits={"slices": 50}).front == [1]
    assert explored(device, limits={"slices": 500}).front == [0]
    assert explored(device, limits={"latency_s": 1.5}).front == [0]


def test_what_is_not_to_be_worse_is_limited_to_the_devices_own() -> None:
    device = table((2, 2, 10, 1.0), (1, 1, 10, 1.5), (1.5, 1.5, 10, 0.5))
    assert explored(device).front == [1]
    assert explored(device, no_worse=["blur"]).front == [2]
    assert explored(device, no_worse=["blur"], limits={"blur": 2.0}).front == [1]
    assert explored(device).design(1)["disturbances"] == {"blur": 1.5}


def test_without_a_feasible_design_the_closest_is_named() -> None:
    with pytest.raises(
        UnreachableLimitError, match=r"None of 2 designs keeps the limits; the closest \(number 1\) has 150 slices, where 100"
    ):
        explored(table((1, 1, 300, 0), (1, 1, 150, 0)))


@pytest.mark.parametrize("wanted", [{"limits": {"slizes": 3.0}}, {"objectives": ["slizes"]}])
def test_an_unknown_name_is_answered_with_the_known_ones(wanted: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match=r"There is no price, resource or disturbance 'slizes'\. Did you mean 'slices'"):
        explored(table((1, 1, 1, 0)), **wanted)


def test_too_many_designs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration, "MOST", 1)
    with pytest.raises(ConfigError, match="A sweep may have 1 designs, but these axes have 2 combinations"):
        explored(table((1, 1, 1, 0), (2, 2, 2, 0)))


def test_a_large_sweep_is_priced_in_slices_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    device = DesignSpace(load_device("zcu102"), {"rows": [8, 16, 32], "arrays": [1, 2, 4, 8], "dataflow": ["ws", "os"]})
    whole = explore(device, load_network("lenet5"))
    monkeypatch.setattr(exploration, "SLICE", 5)
    sliced = explore(device, load_network("lenet5"))
    assert sliced.front == whole.front
    for name, values in whole.figures.items():
        np.testing.assert_array_equal(sliced.figures[name], values, err_msg=name)


rows = st.lists(st.tuples(*[st.integers(1, 4)] * 2, st.integers(1, 150), st.just(0)), min_size=1, max_size=12)


@given(rows)
def test_every_feasible_design_is_on_the_front_or_beaten_by_a_member(designs: list[tuple[int, int, int, int]]) -> None:
    feasible = [i for i, design in enumerate(designs) if design[2] <= 100]
    if not feasible:
        return
    front = explored(table(*designs)).front
    assert set(front) <= set(feasible)
    for i in feasible:
        assert any(designs[j][0] <= designs[i][0] and designs[j][1] <= designs[i][1] for j in front)
    for i in front:
        assert not any(j != i and designs[j][0] <= designs[i][0] and designs[j][1] <= designs[i][1] for j in front)


def test_the_table_has_a_row_for_every_design() -> None:
    found = explored(table((1, 3, 1, 0), (2, 2, 200, 0), (3, 1, 1, 0)))
    rows_of = found.table().to_pylist()
    assert [row["design/number"] for row in rows_of] == [0, 1, 2]
    assert [row["feasible"] for row in rows_of] == [True, False, True]
    assert [row["on_front"] for row in rows_of] == [True, False, True]
    assert rows_of[1]["slices"] == 200
    assert found.design(2) == {
        "parameters": {"number": 2},
        "latency_s": 3.0,
        "energy_j": 1.0,
        "area_mm2": 0.0,
        "resources": {"slices": {"used": 1.0, "limit": 100.0}},
    }


def test_the_plot_has_a_panel_for_each_pair_and_says_what_a_point_is() -> None:
    found = explored(table((1, 3, 1, 0), (2, 2, 200, 0), (3, 1, 1, 0), area=2.0))
    figure = designs_figure(found, "lenet5 on table")
    traces = {(trace.name, trace.xaxis): trace for trace in figure.data}
    assert {name for name, _ in traces} == {"dominated", "front", "as it is"}
    assert len(traces) == 6  # energy and area
    assert list(traces["front", "x"].x) == pytest.approx([1e6, 3e6])  # in microseconds
    assert "number 2" in traces["front", "x"].hovertext[1]
    assert "1 of 100 slices" in traces["front", "x"].hovertext[1]
    assert len(traces["dominated", "x"].x) == 2  # the feasible ones, those on the front below them
    assert figure.layout.title.text == "lenet5 on table"
