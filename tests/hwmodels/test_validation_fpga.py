from __future__ import annotations

import dataclasses

import pytest

from hwmodels.validation.compare import agreement, compare
from hwmodels.validation.fpga import RECIPES
from hwmodels.validation.reading import published_rows
from hwmodels.validation.rows import CannotExpress, PublishedRow

ROWS = [row for row in published_rows("fpga") if row.system in RECIPES]
REFUSED = {"Liu21-fullstack", "XVDPU", "MDPI-Zynq-CNN"}
TABLES = sorted({row.system for row in ROWS if row.confirmed and row.system not in REFUSED})


def row(system: str, **changes: object) -> PublishedRow:
    """The first published row of a system with other columns."""
    return dataclasses.replace(next(r for r in ROWS if r.system == system), **changes)  # type: ignore[arg-type]


def modelled(system: str, **changes: object) -> float:
    return RECIPES[system](row(system, **changes))


def test_every_row_is_expressed_or_refused_with_a_reason() -> None:
    results = compare(ROWS, lambda r: RECIPES[r.system](r))
    assert len(results) >= 50
    for result in results:
        assert result.modelled is not None or result.skipped_reason, result.row.id
        assert "failed" not in result.skipped_reason, result.row.id
    refused = [result.row.id for result in results if result.modelled is None and result.row.system not in REFUSED]
    assert refused == ["fpga-zhang15-003"]  # a speed-up over a processor


@pytest.mark.parametrize("system", TABLES)
def test_confirmed_figures_are_met_within_15_percent(system: str) -> None:
    result = agreement(compare([r for r in ROWS if r.system == system], lambda r: RECIPES[r.system](r)))
    assert result.rows
    assert result.mean_abs_error is not None
    assert result.mean_abs_error <= 0.15
    assert result.worst is not None
    assert result.worst <= 0.40
    assert result.kendall_tau is None or result.kendall_tau >= 0.9


def test_scalesim_is_met_exactly() -> None:
    results = compare([r for r in ROWS if r.system == "SCALE-Sim-3.0.0"], lambda r: RECIPES[r.system](r))
    assert all(result.modelled == result.row.value for result in results)


def test_scalesim_takes_other_arrays_layers_and_sizes_from_the_row() -> None:
    # 8 rows and 16 columns, output stationary: ceil(100/8) * ceil(40/16) * (8 + 16 + 30 - 2) - 1
    other = {"M": "100", "K": "30", "N": "40"}
    cycles = modelled("SCALE-Sim-3.0.0", network="mine", layer="x", device_tech="simulated 8x16 OS", other=other)
    assert cycles == 13 * 3 * 52 - 1
    with pytest.raises(CannotExpress, match="no layer table of 'mine'"):
        modelled("SCALE-Sim-3.0.0", network="mine", other={})


def test_layers_that_are_not_in_the_shipped_rows_are_expressed_too() -> None:
    # table 7 of the paper (recalled): conv4 2.88 ms, conv5 1.93 ms
    assert modelled("Zhang15", layer="conv4", metric="latency", unit="ms") == pytest.approx(2.88, rel=0.1)
    assert modelled("Zhang15", layer="conv5", metric="latency", unit="ms") == pytest.approx(1.93, rel=0.1)
    # Qiu et al., table 7 (recalled): CONV2 23.58 ms, fully connected layers 61.18 ms
    assert modelled("Qiu16", layer="conv2", metric="latency", unit="ms") == pytest.approx(23.58, rel=0.15)
    assert modelled("Qiu16", layer="all fc", metric="latency", unit="ms") == pytest.approx(61.18, rel=0.1)


def test_clock_batch_and_tiling_come_from_the_row() -> None:
    slow, fast = (modelled("Zhang15", clock_mhz=clock, layer="conv3", metric="latency", unit="ms") for clock in (50.0, 100.0))
    assert slow == pytest.approx(2 * fast, rel=0.05)
    assert modelled("Intel-DLA", batch=1) < 0.5 * modelled("Intel-DLA", batch=96)
    assert modelled("yolov2-hls-C", other={"tiling": "Tn4 Tm24 Tr26 Tc26 II2"}) > 3 * modelled("yolov2-hls-C")


@pytest.mark.parametrize(
    ("system", "changes", "reason"),
    [
        ("Zhang15", {"metric": "speedup vs GPU"}, "ratio to a processor"),
        ("Zhang15", {"layer": "conv9"}, "has no layer 'conv9'"),
        ("Zhang15", {"network": "ZFNet"}, "no layer table of 'ZFNet'"),
        ("Caffeine", {"device_tech": "VU9P"}, "no published array"),
        ("yolov2-hls-old", {"device_tech": "KV260"}, "DRAM of board 'KV260'"),
        ("FusedLayer", {"metric": "latency"}, "not given with its factors"),
        ("XVDPU", {}, "Versal"),
    ],
)
def test_what_cannot_be_expressed_says_why(system: str, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CannotExpress, match=reason):
        modelled(system, **changes)
