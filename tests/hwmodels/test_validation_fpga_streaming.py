from __future__ import annotations

import dataclasses

import pytest

from hwmodels.validation import CannotExpress, PublishedRow, compare, published_rows
from hwmodels.validation.fpga_streaming import RECIPES

ROWS = {row.id: row for row in published_rows("fpga") if row.system in RECIPES}
FINN, ESE = ROWS["fpga-finn-001"], ROWS["fpga-ese-001"]


def recomputed(row: PublishedRow, **changes: object) -> float:
    return RECIPES[row.system](dataclasses.replace(row, **changes))  # type: ignore[arg-type]


def test_every_measured_row_is_met_within_the_target() -> None:
    comparisons = compare(ROWS.values(), lambda row: RECIPES[row.system](row))
    errors = [abs(c.relative_error) for c in comparisons if c.relative_error is not None and c.row.confirmed]
    assert len(errors) >= 5
    assert sum(errors) / len(errors) <= 0.15
    assert max(errors) <= 0.40


def test_a_row_that_cannot_be_expressed_says_why() -> None:
    skipped = {c.row.system: c.skipped_reason for c in compare(ROWS.values(), lambda r: RECIPES[r.system](r)) if c.modelled is None}
    assert set(skipped) == {"FINN", "ESE", "Intel-INT8x2", "LegUp-CNN", "MixedPrec-CNN-FPGA"}
    assert not any(reason.startswith("failed") for reason in skipped.values())


def test_the_value_of_a_row_is_not_used() -> None:
    for row in (FINN, ESE):
        assert recomputed(row, value=1.0) == recomputed(row)


@pytest.mark.parametrize(
    ("network", "metric", "unit", "value"),
    # rows of the same paper that are not shipped (recalled)
    [
        ("MNIST LFC", "throughput", "img/s", 1.561e6),
        ("MNIST LFC", "latency", "us", 2.44),
        ("CIFAR-10 CNV", "latency", "us", 283),
        ("MNIST SFC", "throughput", "TOPS", 8.265),
        ("MNIST LFC", "throughput", "TOPS", 9.086),
    ],
)
def test_other_figures_of_finn_can_be_asked_for(network: str, metric: str, unit: str, value: float) -> None:
    assert recomputed(FINN, network=network, metric=metric, unit=unit) == pytest.approx(value, rel=0.15)


def test_clock_width_and_board_come_from_the_row() -> None:
    assert recomputed(FINN, clock_mhz=100.0) == pytest.approx(recomputed(FINN) / 2)
    assert recomputed(FINN, precision_bits="w2a2") < recomputed(FINN)
    assert recomputed(FINN, device_tech="Ultra96") < recomputed(FINN)


def test_an_unknown_board_or_network_is_refused() -> None:
    with pytest.raises(CannotExpress, match="board 'Spartan' is none that is modelled"):
        recomputed(FINN, device_tech="Spartan")
    with pytest.raises(CannotExpress, match="network 'any"):
        recomputed(FINN, network="any")


def test_the_voices_that_share_the_weights_are_a_batch() -> None:
    assert recomputed(ESE, batch=64) == pytest.approx(recomputed(ESE), rel=0.05)
    assert recomputed(ESE, batch=1) < recomputed(ESE) / 20


def test_speed_ups_over_processors_and_board_power_are_refused() -> None:
    with pytest.raises(CannotExpress, match="processor"):
        recomputed(ESE, metric="speedup vs CPU", unit="x")
    with pytest.raises(CannotExpress, match="whole board"):
        recomputed(ROWS["fpga-ese-003"])
    with pytest.raises(CannotExpress, match="whole board"):
        recomputed(FINN, metric="power", unit="W")
