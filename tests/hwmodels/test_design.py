"""Designs are priced together as they would be one by one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hwmodels import CostReport, DeviceError, HardwareModel, Workload, device_names, estimate_designs, load_device
from hwmodels.axes import default_axes
from hwmodels.design import CONTRADICTION, Adjustable, Columns, DesignSpace, grid, own_value
from hwmodels.networks import load_network
from hwmodels.testing import HardwareModelContract, sample_for

DEVICES = sorted(device_names())


def leaves(report: CostReport) -> dict[str, NDArray[np.float64]]:
    """Every figure of a report, the mark of impossible designs aside."""
    plain = {name: getattr(report, name) for name in ("latency_s", "cycles", "utilization", "dram_bytes", "area_mm2")}
    energy = {f"energy {part}": joules for part, joules in report.energy_parts_j.items()}
    needs = {f"needs {name}": need for name, need in report.resources.items() if name != CONTRADICTION}
    limits = {f"has {name}": np.asarray(limit) for name, limit in report.limits.items() if name != CONTRADICTION}
    return plain | energy | needs | limits


def some_designs(model: HardwareModel, count: int, seed: int) -> Columns:
    """Designs drawn from the default axes of a device, words and numbers mixed."""
    rng = np.random.default_rng(seed)
    return {key: [values[i] for i in rng.integers(len(values), size=count)] for key, values in default_axes(model).items()}


def check_against_a_loop(device: str, columns: Columns, workload: Workload) -> tuple[int, int]:
    """Hold every figure of every design against a device that is loaded on its own; how many designs exist, and how many cannot."""
    together = estimate_designs(device, columns, workload)
    possible = 0
    count = len(next(iter(columns.values())))
    for i in range(count):
        try:
            model = load_device(device, {key: values[i] for key, values in columns.items()})
        except DeviceError:
            assert not together.feasible[i]
            assert any(CONTRADICTION in reason for reason in together.reasons(i))
            continue
        possible += 1
        alone = model.estimate(workload if len(workload.shape) == 1 else workload.part(i, i + 1))
        assert together.feasible[i] == alone.feasible.all()
        for name, values in leaves(alone).items():
            np.testing.assert_allclose(leaves(together)[name][i], np.squeeze(values), rtol=1e-12, err_msg=f"{device} {name} of design {i}")
    return possible, count - possible


@pytest.mark.parametrize("device", DEVICES)
def test_designs_cost_what_each_costs_alone(device: str) -> None:
    model = load_device(device)
    possible, _ = check_against_a_loop(device, some_designs(model, 12, seed=0), sample_for(model, 1).candidate(0))
    assert possible


@pytest.mark.parametrize("device", ["zcu102", "vc707", "finn_zc706", "eyeriss", "dstc", "tpu_v1", "isaac", "neurosim"])
def test_every_design_may_have_a_candidate_of_its_own(device: str) -> None:
    model = load_device(device)
    possible, _ = check_against_a_loop(device, some_designs(model, 30, seed=1), sample_for(model, 30))
    assert possible


def test_words_and_numbers_keep_the_order_of_the_designs() -> None:
    # the words alternate, so each group's designs lie scattered
    columns: Columns = {
        "dataflow": ["ws", "os", "is", "os", "ws", "is"],
        "rows": [8, 16, 8, 32, 8, 16],
        "clock_mhz": [100, 150.0, 200, 100, 100, 100],
    }
    workload = load_network("alexnet")
    check_against_a_loop("zcu102", columns, workload)
    report = estimate_designs("zcu102", columns, workload)
    np.testing.assert_array_equal(report.latency_s[0], report.latency_s[4])  # the same design
    assert report.total_latency_s[1] != report.total_latency_s[3]


def test_a_design_that_breaks_a_rule_is_infeasible_and_leaves_the_others_alone() -> None:
    # 128 of 64 rows cannot be read at once
    columns = {"rows": [64, 64, 128, 128], "active_rows": [128, 64, 128, 64]}
    possible, impossible = check_against_a_loop("isaac", columns, load_network("lenet5"))
    assert (possible, impossible) == (3, 1)
    report = estimate_designs("isaac", columns, load_network("lenet5"))
    assert report.reasons(0) == (f"needs 1 {CONTRADICTION}, the device has 0",)
    np.testing.assert_array_equal(report.latency_s[0], load_device("isaac").estimate(load_network("lenet5")).latency_s)


def test_designs_that_all_break_a_rule_have_an_answer_too() -> None:
    report = estimate_designs("isaac", {"rows": [32, 64], "active_rows": [128, 128]}, load_network("lenet5"))
    assert report.feasible.tolist() == [False, False]


def test_resources_decide_what_fits() -> None:
    # 32 x 32 x 2 = 2048 and 32 x 32 x 4 = 4096 slices; a ZU9EG has 2520
    report = estimate_designs("zcu102", {"rows": [32, 32], "cols": [32, 32], "arrays": [2, 4]}, load_network("lenet5"))
    assert report.feasible.tolist() == [True, False]
    assert report.resources["DSP"].tolist() == [2048, 4096]
    assert "needs 4096 DSP, the device has 2520" in report.reasons(1)


def test_none_leaves_the_devices_own_value() -> None:
    report = estimate_designs("zcu102", {"rows": [None, 16, 8], "dataflow": [None, "os", "os"]}, load_network("lenet5"))
    np.testing.assert_array_equal(report.latency_s[0], report.latency_s[1])
    assert report.total_latency_s[0] != report.total_latency_s[2]


def test_fixed_parameters_hold_in_every_design() -> None:
    slow = estimate_designs("zcu102", {"rows": [8, 16]}, load_network("vgg16"), parameters={"clock_mhz": 100})
    fast = estimate_designs("zcu102", {"rows": [8, 16]}, load_network("vgg16"))
    np.testing.assert_array_equal(slow.cycles, fast.cycles)
    assert (slow.total_latency_s > fast.total_latency_s).all()


def test_no_designs_have_an_empty_report() -> None:
    report = DesignSpace(load_device("zcu102"), {"rows": [8, 16]}).estimate_designs({"rows": []}, load_network("lenet5"))
    assert report.latency_s.shape == (0, len(load_network("lenet5").names))
    assert report.feasible.shape == (0,)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "Each parameter must have one value per design, but there are no values"),
        ({"rows": [8, 16], "cols": [8]}, r"Each parameter must have one value per design, but there are \[1, 2\] values"),
        ({"rowz": [8]}, r"Axes of device 'zcu102': unknown key `rowz` .*did you mean `rows`"),
        ({"rows": [8, 0, 16]}, "`rows` must be at least 1, but is 0 to 16"),
        ({"rows": [8.5]}, "`rows` must hold whole numbers only"),
        ({"rows": ["wide"]}, "`rows` must hold whole numbers only"),
        ({"clock_mhz": [100, -1]}, "`clock_mhz` must be finite and not negative"),
        ({"dataflow": ["os", "xs"]}, "`dataflow` must be one of ws, os, is, but is 'xs'"),
    ],
)
def test_what_is_wrong_with_designs_is_one_line(columns: Columns, said: str) -> None:
    with pytest.raises(DeviceError, match=said) as caught:
        estimate_designs("zcu102", columns, load_network("lenet5"))
    assert "\n" not in str(caught.value)


def test_as_many_candidates_as_designs_are_needed() -> None:
    workload = sample_for(load_device("zcu102"), 3)
    with pytest.raises(DeviceError, match=r"2 designs need one workload, or 2 candidates, but it has shape \(3, 9\)"):
        estimate_designs("zcu102", {"rows": [8, 16]}, workload)


@pytest.mark.parametrize(
    ("axes", "parameters", "said"),
    [
        ({"rows": 8}, {}, "`rows` must be a list of values, but is 8"),
        ({"dataflow": "os"}, {}, "`dataflow` must be a list of values, but is 'os'"),
        ({"rows": []}, {}, r"`rows` must be a list of values that differ, but is \[\]"),
        ({"rows": [8, 8]}, {}, r"`rows` must be a list of values that differ, but is \[8, 8\]"),
        ({"rows": [8, [16]]}, {}, "`rows` must be a whole number"),
        ({"rowz": [8]}, {}, r"unknown key `rowz` .*did you mean `rows`"),
        ({"rows": [8]}, {"rows": 16}, "`rows` is given one value and is an axis, too"),
        ({"clock_ghz": [0.1, 0.2]}, {"clock_mhz": 100}, "`clock_ghz` is given one value and is an axis, too"),
    ],
)
def test_what_is_wrong_with_axes_is_one_line(axes: dict[str, list[int]], parameters: dict[str, object], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        load_device("zcu102", parameters, axes)


def test_without_axes_a_device_is_the_plain_model() -> None:
    assert type(load_device("zcu102", {}, {})) is type(load_device("zcu102"))
    assert not isinstance(load_device("zcu102"), Adjustable)
    assert isinstance(load_device("zcu102", axes={"rows": [8, 16]}), Adjustable)


def test_an_open_device_needs_its_file_no_more(tmp_path: Path) -> None:
    # a worker on another machine has no such file
    file = tmp_path / "mine.yaml"
    text = (Path(__file__).parents[2] / "hwmodels" / "devices" / "zcu102.yaml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    device = load_device(str(file), axes={"rows": [8, 16], "dataflow": ["ws", "os"]})
    file.unlink()
    sent = pickle.loads(pickle.dumps(device))
    assert isinstance(sent, DesignSpace)
    columns = grid(sent.axes)
    here = estimate_designs("zcu102", columns, load_network("lenet5"))
    np.testing.assert_array_equal(sent.estimate_designs(columns, load_network("lenet5")).latency_s, here.latency_s)


def test_a_grid_has_every_combination_and_the_last_axis_changes_fastest() -> None:
    assert grid({"rows": [8, 16], "dataflow": ["ws", "os"]}) == {"rows": [8, 8, 16, 16], "dataflow": ["ws", "os", "ws", "os"]}


def test_a_value_comes_back_in_the_unit_of_its_key() -> None:
    model = load_device("isaac", {"conversion_ns": 0.78125, "read_ns": 100})
    assert own_value(model, "conversion_ns") == 0.78125
    assert own_value(model, "read_us") == 0.1
    assert own_value(model, "rows") == 128
    assert own_value(load_device("zcu102"), "dataflow") == "os"


def test_nonidealities_of_designs_are_those_of_each_alone() -> None:
    columns = {"rows": [128, 256, 64], "adc_bits": [8, 6, 7], "active_rows": [128, 128, 128]}
    workload = load_network("lenet5")
    device = DesignSpace(load_device("isaac"), {})
    together = device.disturb_designs(columns, workload)
    own = load_device("isaac").nonidealities(workload)
    assert own
    for i in (0, 1):
        alone = load_device("isaac", {key: values[i] for key, values in columns.items()}).nonidealities(workload)
        assert alone
        assert {name: values[i] for name, values in together.items()} == pytest.approx(dict(alone))
    assert {name: values[2] for name, values in together.items()} == pytest.approx(dict(own))  # 128 of 64 rows: as it is
    assert DesignSpace(load_device("zcu102"), {}).disturb_designs({"rows": [8, 16]}, workload) == {}


class TestAnOpenDevice(HardwareModelContract):
    """Without a word about its axes it is a hardware model like any other."""

    @pytest.fixture
    def model(self) -> HardwareModel:
        return load_device("zcu102", axes={"rows": [8, 16], "dataflow": ["ws", "os"]})
