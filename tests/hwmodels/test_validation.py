"""Reading published rows, reading figures off reports, and comparing the two; with what the models reach on the published rows."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from hwmodels import CostReport, Workload, load_device
from hwmodels.errors import HardwareError
from hwmodels.networks import load_network
from hwmodels.validation import FAMILIES, CannotExpress, PublishedRow, RowError, agreement, compare, published_rows, read_rows
from hwmodels.validation.metrics import figure, quantity_of
from hwmodels.validation.ranks import kendall_tau
from hwmodels.validation.recipes import recompute_row

HEADER = "id,family,system,network,layer,metric,unit,value,precision_bits,batch,clock_MHz,other_params"


def row(**changes: Any) -> PublishedRow:
    texts = ("paper", "device_tech", "network", "layer", "precision_bits", "units_text", "onchip_kb", "source", "confidence")
    given: dict[str, Any] = dict.fromkeys(texts, "") | {
        "id": "a",
        "family": "fpga",
        "system": "s",
        "metric": "latency",
        "unit": "ms",
        "value": 2.0,
    }
    return PublishedRow(**(given | {"batch": None, "clock_mhz": None, "bandwidth_gb_per_s": None, "other": {}} | changes))


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


# -- reading ---------------------------------------------------------------------------------------------------------------------------


def test_the_published_rows_have_unique_ids_and_their_file_holds_one_family() -> None:
    rows = published_rows()
    assert len({r.id for r in rows}) == len(rows) > 300
    for family in FAMILIES:
        assert {r.family for r in published_rows(family)} == {family}


def test_a_remark_behind_a_number_is_not_part_of_it(tmp_path: Path) -> None:
    (read,) = read_rows(table(tmp_path, 'a,fpga,s,n,whole,latency,ms,2,16,4 (a guess),150 (recalled),"{""k"": 1}"'))
    assert (read.batch, read.clock_mhz, read.other, read.value) == (4, 150.0, {"k": 1}, 2.0)


def test_columns_that_need_not_be_there_are_empty(tmp_path: Path) -> None:
    (read,) = read_rows(table(tmp_path, "a,fpga,s,latency,ms,2", header="id,family,system,metric,unit,value"))
    assert (read.network, read.batch, read.clock_mhz, dict(read.other)) == ("", None, None, {})
    assert read.confirmed  # whoever wrote the row vouches for it


@pytest.mark.parametrize(
    ("confidence", "counts"),
    [("confirmed (abstract)", True), ("recalled, cross-checked", True), ("recalled", False), ("", True)],
)
def test_recalled_figures_are_not_confirmed(confidence: str, counts: bool) -> None:
    assert row(confidence=confidence).confirmed is counts


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,fpga,s,n,,latency,ms,two,,,,", "line 2: `value` must be a number, but is 'two'"),
        ("a,fpga,s,n,,latency,ms,nan,,,,", "line 2: `value` must be a finite number, but is 'nan'"),
        ("a,fpga,s,n,,latency,ms,,,,,", "line 2: `value` must not be empty, but is ''"),
        (",fpga,s,n,,latency,ms,1,,,,", "line 2: `id` must not be empty"),
        ("a,gpu,s,n,,latency,ms,1,,,,", "line 2: `family` must be one of fpga, asic, rram, but is 'gpu'"),
        ("a,fpga,s,n,,latency,ms,1,,some,,", "line 2: `batch` must be empty or begin with a number above 0, but is 'some'"),
        ("a,fpga,s,n,,latency,ms,1,,1.5,,", "line 2: `batch` must be a whole number, but is '1.5'"),
        ("a,fpga,s,n,,latency,ms,1,,,0,", "line 2: `clock_MHz` must be empty or begin with a number above 0, but is '0'"),
        ('a,fpga,s,n,,latency,ms,1,,,,"{""k"": }"', "line 2: `other_params` must be a JSON object (Expecting value at character 6)"),
        ("a,fpga,s,n,,latency,ms,1,,,,3", "line 2: `other_params` must be a JSON object, but is '3'"),
        ("a,fpga,s,n,,latency,ms,1,,", "line 2: a row must have 12 cells, but has 10"),
        ("a,fpga,s,n,,latency,ms,1,,,,\na,fpga,s,n,,power,W,1,,,,", "line 3: `id` must be unique, but 'a' stands on line 2 too"),
        ('a,fpga,s,n,,latency,ms,1,,,,"open', "the line is not CSV"),
    ],
)
def test_a_malformed_row_is_refused_in_one_line_with_file_line_column_and_value(line: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(RowError) as caught:
        read_rows(table(tmp_path, line))
    message = str(caught.value)
    assert expected in message
    assert message.startswith(str(tmp_path / "mine.csv"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,family,system,metric,value", "has no `unit`"),
        (f"{HEADER},clock_mhz", "unknown column `clock_mhz` (did you mean `clock_MHz`?)"),
        (f"{HEADER},unit", "the column `unit` stands there twice"),
        ("", "has no `id`"),
    ],
)
def test_a_malformed_header_is_refused(header: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(RowError, match="line 1") as caught:
        read_rows(table(tmp_path, header=header))
    assert expected in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"nowhere\.csv cannot be read"):
        read_rows(tmp_path / "nowhere.csv")
    (tmp_path / "latin.csv").write_bytes(b"id,\xe9\n")
    with pytest.raises(RowError, match="not UTF-8"):
        read_rows(tmp_path / "latin.csv")


# -- metrics ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def priced() -> tuple[CostReport, Workload]:
    """Two layers, two images: 4x8 channels on maps of 10 pixels, and 16x5; 1 ms and 3 ms, 6 uJ and 2 uJ."""
    counts = {
        "in_channels": [4, 16],
        "out_channels": [8, 5],
        "op": [0, 1],
        "in_h": [2, 1],
        "in_w": [5, 1],
        "out_h": [2, 1],
        "out_w": [5, 1],
    }
    workload = Workload(names=("conv", "fc"), batch=np.array(2), **{name: np.array(values) for name, values in counts.items()})
    report = CostReport(
        names=workload.names,
        latency_s=np.array([1e-3, 3e-3]),
        energy_parts_j={"mac": np.array([4e-6, 1e-6]), "dram": np.array([2e-6, 1e-6])},
        cycles=np.array([1000.0, 3000.0]),
        utilization=np.array([0.8, 0.4]),
        dram_bytes=np.array([3e6, 1e6]),
        area_mm2=np.array(2.0),
        resources={"DSP": np.array(220.0)},
        limits={"DSP": 900.0},
    )
    return report, workload


@pytest.mark.parametrize(
    ("metric", "unit", "expected"),
    [
        # 2 images x (10 x 4 x 8 + 16 x 5) = 800 MACs = 1600 operations in 4 ms and 8 uJ
        ("latency", "ms", 4.0),
        ("Latency", "us", 4000.0),
        ("throughput", "MOPS", 0.4),
        ("throughput", "GOP/s", 0.4e-3),
        ("throughput", "GFLOPS", 0.4e-3),
        ("throughput", "img/s", 500.0),
        ("frame rate", "fps", 500.0),
        ("energy", "uJ", 8.0),
        ("energy", "uJ/image", 4.0),
        ("mac energy", "uJ", 5.0),
        ("energy", "nJ/op", 5.0),
        ("energy", "pJ/MAC", 10_000.0),
        ("power", "mW", 2.0),  # 8 uJ in 4 ms
        ("efficiency", "GOPS/W", 0.2),  # 1600 / 8 uJ
        ("efficiency", "img/s/W", 250_000.0),
        ("density", "GOPS/s/mm2", 0.2e-3),
        ("cycles", "cycles", 4000.0),
        ("DRAM traffic", "MB", 4.0),
        ("DRAM traffic", "MB/image", 2.0),
        ("area", "mm2", 2.0),
        ("utilization", "%", 50.0),  # (0.8 x 1 + 0.4 x 3) / 4
        ("DSP", "count", 220.0),
    ],
)
def test_figures_are_read_off_a_report_in_the_unit_that_is_asked_for(
    metric: str, unit: str, expected: float, priced: tuple[CostReport, Workload]
) -> None:
    assert figure(*priced, metric, unit) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "unit", "expected"),
    [
        ("speed-up", "x", "unit 'x' is unknown"),
        ("latency", "mJ", "metric 'latency' is no energy"),
        ("power", "ms", "metric 'power' in ms is none of latency"),
        ("RF energy", "pJ", "parts mac, dram"),
        ("LUT", "count", "which are DSP"),
    ],
)
def test_a_metric_that_no_report_has_cannot_be_expressed(
    metric: str, unit: str, expected: str, priced: tuple[CostReport, Workload]
) -> None:
    with pytest.raises(CannotExpress) as caught:
        figure(*priced, metric, unit)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("unit", "quantity"), [("µs", "latency"), ("KB", "off-chip traffic"), ("GFLOP/s", "throughput"), ("x", None)])
def test_units_are_known_in_the_spellings_of_papers(unit: str, quantity: str | None) -> None:
    assert quantity_of(unit) == quantity


# -- ranks -----------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_kendalls_tau_of_one_table_is_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    ours = kendall_tau([(first, second)])
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert ours is None
    else:
        assert ours == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


def test_pairs_are_only_formed_within_a_table() -> None:
    # One table in order (3 pairs, all concordant), one reversed (1 pair): (3 - 1) / 4. Across the tables nothing is compared.
    assert kendall_tau([([1, 2, 3], [10, 20, 30]), ([100, 200], [2, 1])]) == pytest.approx(0.5)


def test_a_rank_agreement_without_two_values_is_undefined() -> None:
    assert kendall_tau([]) is None
    assert kendall_tau([([1.0], [2.0]), ([3.0], [1.0])]) is None
    assert kendall_tau([([1.0, 1.0], [2.0, 3.0])]) is None


# -- comparing -------------------------------------------------------------------------------------------------------------------------


def test_the_relative_error_is_signed_and_the_summary_is_of_confirmed_rows() -> None:
    rows = [
        row(id="high", value=10.0, confidence="confirmed"),
        row(id="low", value=20.0, confidence="confirmed"),
        row(id="vague", value=1.0, confidence="recalled"),
        row(id="other", value=5.0, confidence="confirmed", metric="power"),
    ]
    modelled = {"high": 11.0, "low": 16.0, "vague": 7.0, "other": 5.0}
    compared = compare(rows, lambda r: modelled[r.id])
    assert [c.relative_error for c in compared] == pytest.approx([0.1, -0.2, 6.0, 0.0])
    found = agreement(compared)
    # |0.1|, |-0.2| and 0 over three confirmed rows; in the one table with two of them, 10 < 20 and 11 < 16
    assert found.mean_abs_error == pytest.approx(0.1)
    assert (found.rows, found.expressed, found.skipped) == (3, 4, 0)
    assert found.worst == pytest.approx(0.2)
    assert (found.worst_id, found.kendall_tau) == ("low", 1.0)


def _refuse(_: PublishedRow) -> float:
    raise CannotExpress("a ratio against a CPU")


def _raise(_: PublishedRow) -> float:
    raise IndexError("list index\nout of range")


def _complain(_: PublishedRow) -> float:
    raise HardwareError("Device 'x' has no layer type 'y'.")


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (_refuse, "a ratio against a CPU"),
        (_raise, "failed: IndexError: list index out of range"),
        (_complain, "failed: Device 'x' has no layer type 'y'."),
        (lambda _: math.nan, "failed: the model's figure is nan"),
        (lambda _: math.inf, "failed: the model's figure is inf"),
    ],
)
def test_a_row_that_fails_says_so_in_one_line_and_the_rest_goes_on(recipe: Callable[[PublishedRow], float], reason: str) -> None:
    bad, good = compare([row(id="bad"), row(id="good")], lambda r: recipe(r) if r.id == "bad" else 2.0)
    assert (bad.modelled, bad.relative_error, bad.skipped_reason) == (None, None, reason)
    assert good.relative_error == 0.0


def test_a_published_zero_has_no_relative_error() -> None:
    (compared,) = compare([row(value=0.0)], lambda _: 1.0)
    assert compared.modelled is None
    assert "has no relative error" in compared.skipped_reason


def test_no_rows_have_no_agreement() -> None:
    found = agreement([])
    assert (found.rows, found.mean_abs_error, found.worst, found.worst_id, found.kendall_tau) == (0, None, None, None, None)


# -- rows of a user's own --------------------------------------------------------------------------------------------------------------


def custom(**changes: Any) -> PublishedRow:
    other = {"device": "zcu102", "model": "lenet5"} | changes.pop("other", {})
    return row(system="mine", **({"precision_bits": "w4a8", "batch": 2} | changes), other=other)


def test_a_row_that_names_device_and_network_needs_no_recipe() -> None:
    workload = load_network("lenet5").replace(weight_bits=4, activation_bits=8, batch=2)
    expected = load_device("zcu102", {"clock_mhz": 100}).estimate(workload).total_latency_s
    assert recompute_row(custom(clock_mhz=100)) == pytest.approx(1e3 * float(expected), rel=1e-12)


def test_one_layer_costs_less_than_all_convolutions_and_these_less_than_the_network() -> None:
    one, convolutions, whole = (recompute_row(custom(layer=layer)) for layer in ("conv1", "all conv", "whole"))
    assert one < convolutions < whole
    assert recompute_row(custom(layer="conv1,conv2")) == pytest.approx(convolutions)


def test_device_and_network_may_be_files_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "layers.csv").write_text("layer,in_channels,out_channels,weight_bits,activation_bits\nfc,64,32,8,8\n")
    source = Path(__file__).parents[2] / "hwmodels" / "devices" / "zcu102.yaml"
    (tmp_path / "board.yaml").write_text(source.read_text(encoding="utf-8"))
    other = json.dumps({"device": "board.yaml", "model": "layers.csv"}).replace('"', '""')
    (read,) = read_rows(table(tmp_path, f'a,fpga,mine,n,fc,latency,us,1,,,,"{other}"'))
    shipped = replace(read, other={**read.other, "device": "zcu102"})
    assert recompute_row(read) == recompute_row(shipped) > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"other": {"model": "lenet6"}}, "No network is called 'lenet6'"),
        ({"other": {"device": "zcu103"}}, "zcu103"),
        ({"layer": "conv9"}, "No layer is called 'conv9'"),
        ({"precision_bits": "some"}, "precision 'some' is none of 8, fp32, 8/8, w4a8"),
        ({"unit": "parsec"}, "unit 'parsec' is unknown"),
        ({"other": {"parameters": {"clock_ghz": -1}}}, "clock_ghz"),
    ],
)
def test_what_is_wrong_with_a_row_of_ones_own_is_its_reason(changes: Mapping[str, Any], expected: str) -> None:
    (compared,) = compare([custom(**changes)])
    assert expected in compared.skipped_reason


def test_an_unknown_system_names_the_known_ones() -> None:
    (compared,) = compare([row(system="Zhang16")])
    assert "no recipe for system 'Zhang16'; known: " in compared.skipped_reason
    assert "Zhang15" in compared.skipped_reason
    assert not compared.skipped_reason.startswith("failed")


def test_a_device_without_a_model_says_what_is_missing() -> None:
    (compared,) = compare([row(other={"device": "zcu102"})])
    assert "no `model`" in compared.skipped_reason


# -- the published rows ----------------------------------------------------------------------------------------------------------------


def test_the_reference_columns_are_all_read() -> None:
    folder = Path(__file__).parents[2] / "hwmodels" / "published"
    for family in FAMILIES:
        with (folder / f"{family}.csv").open(encoding="utf-8", newline="") as file:
            for raw, read in zip(csv.DictReader(file), published_rows(family), strict=True):
                assert raw["precision_bits"] == read.precision_bits
                assert float(raw["value"]) == read.value
                assert (read.clock_mhz is None) == (raw["clock_MHz"] == "")
                assert read.units_text == raw["PEs_or_MACs_or_DSPs"]
