from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels.validation import CannotExpress, PublishedRow, published_rows
from hwmodels.validation.ranks import kendall_tau
from hwmodels.validation.recipes import recompute_row
from hwmodels.validation.rram import RECIPES

ROWS = [row for row in published_rows() if row.family == "rram"]


def errors(system: str, *metrics: str) -> list[float]:
    rows = [row for row in ROWS if row.system == system and row.metric.startswith(metrics)]
    assert rows
    return [abs(recompute_row(row) / row.value - 1) for row in rows if not refusal(row)]


def some(system: str, **changes: object) -> PublishedRow:
    return dataclasses.replace(next(row for row in ROWS if row.system == system), **changes)  # type: ignore[arg-type]


def refusal(row: PublishedRow) -> str:
    """Why a row is refused; empty where it is recomputed."""
    try:
        return "" if recompute_row(row) > 0 else "not above 0"
    except CannotExpress as error:
        return str(error)


def test_every_published_row_is_recomputed_or_refused_with_a_reason() -> None:
    assert {row.system for row in ROWS} <= set(RECIPES)
    answers = {row.id: refusal(row) for row in ROWS}
    assert sum(not answer for answer in answers.values()) >= 75
    assert all(not answer or len(answer) > 20 for answer in answers.values())


def test_throughput_of_neurram_within_15_percent() -> None:
    found = errors("NeuRRAM", "throughput")
    assert np.mean(found) <= 0.15
    assert max(found) <= 0.05


def test_energy_of_neurram_within_35_percent() -> None:
    found = errors("NeuRRAM", "efficiency", "WL", "input pulses", "neuron")
    assert np.mean(found) <= 0.10
    assert max(found) <= 0.35


@pytest.mark.parametrize(
    ("system", "metric", "mean"),
    [
        ("DNN+NeuroSim-V1.3", "latency", 0.20),
        ("DNN+NeuroSim-V1.3", "dynamic energy", 0.20),
        ("DNN+NeuroSim-V1.3", "array area", 0.15),
        ("Colonnade-DCIM", "energy", 0.15),
        ("Wang22-C2C-CIM", "efficiency", 0.15),
        ("Jia20-SRAM-CIM", "efficiency", 0.10),
        ("MNSIM-2.0", "latency", 0.15),
        ("MNSIM-2.0", "area", 0.15),
        ("MNSIM-2.0", "power", 0.15),
        ("MNSIM-2.0", "energy", 0.20),
    ],
)
def test_simulators_and_macros_are_met_on_average(system: str, metric: str, mean: float) -> None:
    assert np.mean(errors(system, metric)) <= mean


def test_every_table_is_ranked_alike() -> None:
    tables: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in ROWS:
        try:
            tables.setdefault((row.system, row.metric, row.unit), []).append((row.value, recompute_row(row)))
        except CannotExpress:
            continue
    ranked = {key: kendall_tau([tuple(zip(*pairs, strict=True))]) for key, pairs in tables.items() if len(pairs) > 2}  # type: ignore[list-item]
    assert len(ranked) >= 10
    assert all(tau is not None and tau >= 0.9 for tau in ranked.values()), ranked


def test_areas_and_power_of_isaac_add_up_from_its_components() -> None:
    assert max(errors("ISAAC", "tile area", "chip area", "chip power")) <= 0.05


def test_any_precision_of_neurram_is_recomputed() -> None:
    rates = [recompute_row(some("NeuRRAM", metric="throughput", unit="TOPS", precision_bits=f"in{n}/w4/out{n + 2}")) for n in range(1, 9)]
    assert all(np.diff(rates) < 0)


def test_one_phase_needs_fewer_conversions_than_two() -> None:
    row = some("NeuRRAM", metric="efficiency", unit="TOPS/W", precision_bits="in6/w4/out8")
    one, two = (recompute_row(dataclasses.replace(row, other={"phase": phase})) for phase in ("one", "two"))
    assert one > two


def test_the_published_figure_plays_no_part() -> None:
    for system in RECIPES:
        for row in [row for row in ROWS if row.system == system][:2]:
            try:
                found = recompute_row(row)
            except CannotExpress:
                continue
            assert recompute_row(dataclasses.replace(row, value=1e9)) == found


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (some("NeuRRAM", metric="area fraction RRAM array"), "inputs of the device file"),
        (some("NeuRRAM", precision_bits="8/8", metric="throughput"), "'8/8' is not in<bits>"),
        (some("MNSIM-2.0", network="googlenet CIFAR-10"), "mnsim_googlenet"),
        (some("DNN+NeuroSim-V1.3", layer="layer9"), "layer9"),
        (some("DNN+NeuroSim-V1.3", network="DenseNet"), "only its default network"),
        (some("Colonnade-DCIM", metric="throughput", unit="TOPS"), "only the energy of an operation"),
        (some("Sinangil21-SRAM-CIM"), "mean output code"),
        (some("DNN+NeuroSim-V1.3", metric="ADC energy", layer="whole"), "an input of the device file"),
        (some("Jia20-SRAM-CIM"), "set to the figures at this supply voltage"),
    ],
)
def test_what_cannot_be_expressed_says_why(row: PublishedRow, reason: str) -> None:
    with pytest.raises(CannotExpress, match=reason):
        recompute_row(row)
