"""What the models reach on the rows that are shipped: the bounds that were promised, and where the factors of uncertainty come from."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hwmodels.uncertainty import uncertainty
from hwmodels.validation import Comparison, agreement, compare, grouped, published_rows, table_key
from hwmodels.validation.metrics import quantity_of
from hwmodels.validation.residuals import SYSTEMS, factors, kind_of

NEURRAM_ENERGIES = ("efficiency", "WL switching energy", "input pulses energy", "neuron ops+control (ADC) energy")


@pytest.fixture(scope="module")
def comparisons() -> Sequence[Comparison]:
    return compare(published_rows())


def confirmed(comparisons: Sequence[Comparison], *systems: str) -> list[Comparison]:
    found = [c for c in comparisons if c.row.system in systems and c.row.confirmed and c.modelled is not None]
    assert found
    return found


def test_no_recipe_fails(comparisons: Sequence[Comparison]) -> None:
    assert [(c.row.id, c.skipped_reason) for c in comparisons if c.skipped_reason.startswith(("failed", "no recipe"))] == []


def test_scale_sim_is_met_exactly(comparisons: Sequence[Comparison]) -> None:
    rows = confirmed(comparisons, "SCALE-Sim-3.0.0")
    assert len(rows) == 16
    assert all(c.modelled == c.row.value for c in rows)


def test_fpga_latency_and_throughput(comparisons: Sequence[Comparison]) -> None:
    timed = ("latency", "throughput", "frame rate")
    found = agreement([c for c in comparisons if c.row.family == "fpga" and quantity_of(c.row.unit) in timed])
    assert found.rows >= 25
    assert found.mean_abs_error is not None
    assert found.worst is not None
    assert found.mean_abs_error <= 0.15
    assert found.worst <= 0.40


@pytest.mark.parametrize(
    ("system", "metrics", "bound"),
    [
        ("EyerissV2-PE", ("processing cycles (ground truth sim)",), 0.10),
        ("DSTC", ("latency (digitised)",), 0.10),
        ("EIE", ("actual time", "theoretical time"), 0.20),
        ("Eyeriss", ("processing latency (4 images)", "total latency (4 images)"), 0.20),
        ("NeuRRAM", ("throughput",), 0.15),
        ("NeuRRAM", NEURRAM_ENERGIES, 0.35),
    ],
)
def test_the_mean_error_stays_below_its_bound(
    system: str, metrics: tuple[str, ...], bound: float, comparisons: Sequence[Comparison]
) -> None:
    rows = [c for c in confirmed(comparisons, system) if c.row.metric in metrics]
    assert {c.row.metric for c in rows} == set(metrics)
    found = agreement(rows)
    assert found.mean_abs_error is not None
    assert found.mean_abs_error <= bound


def test_tables_are_ranked_as_measured(comparisons: Sequence[Comparison]) -> None:
    low = {}
    for key, rows in grouped(comparisons, table_key).items():
        tau = agreement(rows).kendall_tau
        if tau is not None and tau < 0.9:
            low[key[1:3]] = round(tau, 2)
    assert low == {}


# -- uncertainty -----------------------------------------------------------------------------------------------------------------------


def test_the_factors_of_uncertainty_are_those_of_the_published_rows(comparisons: Sequence[Comparison]) -> None:
    computed = factors(comparisons)
    assert {family: dict(uncertainty(family)) for family in SYSTEMS if uncertainty(family)} == {
        family: pytest.approx(kinds, abs=0.011) for family, kinds in computed.items()
    }


def test_nine_of_ten_rows_lie_within_the_factor(comparisons: Sequence[Comparison]) -> None:
    for family, kinds in factors(comparisons).items():
        for kind, factor in kinds.items():
            rows = [c for c in comparisons if c.modelled and c.row.system in SYSTEMS[family] and kind_of(c.row) == kind]
            within = [c for c in rows if c.modelled and 1 / factor <= c.modelled / c.row.value <= factor]
            assert len(within) >= 0.9 * len(rows), (family, kind)
            tighter = factor - 0.011
            assert sum(1 / tighter <= (c.modelled or 0) / c.row.value <= tighter for c in rows) < 0.9 * len(rows), (family, kind)


def test_every_system_that_speaks_for_a_family_was_published() -> None:
    assert {system for systems in SYSTEMS.values() for system in systems} <= {row.system for row in published_rows()}


def test_a_family_without_rows_claims_nothing() -> None:
    assert uncertainty("quantum") == {}
