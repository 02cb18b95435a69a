from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels.validation.asic import RECIPES
from hwmodels.validation.ranks import kendall_tau
from hwmodels.validation.rows import CannotExpress

from .recomputed import Recomputed

_RECOMPUTED = Recomputed("asic", RECIPES)
ROWS, modelled, row_of = _RECOMPUTED.rows, _RECOMPUTED.modelled, _RECOMPUTED.row_of


def pairs(system: str, metric: str = "") -> list[tuple[float, float]]:
    """Published and modelled figures."""
    rows = [row for row in ROWS if row.system == system and metric in row.metric]
    return [(row.value, value) for row in rows if (value := modelled(row)) is not None]


@pytest.mark.parametrize(
    ("system", "metric", "mean", "worst"),
    [
        ("EyerissV2-PE", "cycles", 0.02, 0.05),
        ("DSTC", "latency", 0.05, 0.11),
        ("EIE", "actual time", 0.1, 0.2),
        ("EIE", "theoretical time", 0.1, 0.2),
        ("EIE", "throughput", 0.1, 0.1),
        ("Eyeriss", "processing latency", 0.1, 0.1),
        ("Eyeriss", "total latency", 0.1, 0.2),
        ("Eyeriss", "frame rate", 0.1, 0.1),
        ("Eyeriss", "chip power", 0.05, 0.1),
        ("Eyeriss", "DRAM accesses", 0.1, 0.1),
        ("Eyeriss", "active PEs", 0.0, 0.0),
        ("Eyeriss-RS-model", "energy", 0.05, 0.2),
        ("Timeloop-Eyeriss", "cycles", 0.02, 0.05),
        ("SCNN", "speedup", 0.1, 0.1),
        ("Cnvlutin", "speedup", 0.1, 0.1),
        ("Timeloop-simba_like", "cycles", 0.0, 0.0),
    ],
)
def test_published_rows_are_met(system: str, metric: str, mean: float, worst: float) -> None:
    found = [abs(value / published - 1) for published, value in pairs(system, metric)]
    assert found
    assert np.mean(found) <= mean + 1e-9
    assert max(found) <= worst + 1e-9


@pytest.mark.parametrize("system", sorted({row.system for row in ROWS}))
def test_rows_are_ranked_as_published(system: str) -> None:
    tables = [pairs(system, metric) for metric in {row.metric for row in ROWS if row.system == system}]
    for table in tables:
        published, value = np.array(table).reshape(-1, 2).T
        tau = kendall_tau([(published, value)])
        assert tau is None or tau >= 0.9, (system, table)


@pytest.mark.parametrize(
    ("system", "layer", "metric", "unit", "published", "tolerance"),
    [
        # rows that are not in our file: Chen et al., JSSC 2017, table V; Han et al., ISCA 2016, table IV and abstract (recalled)
        ("Eyeriss", "conv1", "processing latency (4 images)", "ms", 16.5, 0.1),
        ("Eyeriss", "conv3", "processing latency (4 images)", "ms", 21.8, 0.1),
        ("Eyeriss", "conv5", "chip power", "mW", 236, 0.1),
        ("Eyeriss", "conv3", "total latency (4 images)", "ms", 23.6, 0.1),
        ("EIE", "NT-LSTM", "actual time", "us", 7.5, 0.15),
        ("EIE", "VGG-6", "actual time", "us", 34.4, 0.3),
        ("EIE", "AlexNet FC", "throughput", "frames/s", 1.88e4, 0.1),
        ("EIE", "whole", "power", "mW", 590, 0.2),
        ("Eyeriss-RS-model", "conv5", "ALU energy", "1e9 x MAC energy", 1.2, 0.01),
    ],
)
def test_layers_that_are_not_in_our_file_are_met_too(
    system: str, layer: str, metric: str, unit: str, published: float, tolerance: float
) -> None:
    row = row_of(system, network="AlexNet" if system.startswith("Eyeriss") else "FC", layer=layer, metric=metric, unit=unit)
    assert RECIPES[system](row) == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(("network", "published"), [("AlexNet", 2.37), ("GoogLeNet", 2.19), ("VGG16", 3.52)])
def test_scnn_gains_as_published_on_each_network(network: str, published: float) -> None:
    # Parashar et al., ISCA 2017, section 5 (recalled). Densities of the inputs are one mean for all layers: 20 %
    assert RECIPES["SCNN"](row_of("SCNN", network=network)) == pytest.approx(published, rel=0.2)


def test_every_layer_of_the_networks_has_a_figure() -> None:
    for index in range(1, 28):
        assert RECIPES["EyerissV2-PE"](row_of("EyerissV2-PE", layer=f"L{index:02d}", other={})) > 0
    for layer in ("conv1-1", "conv5-3", "all conv"):
        assert RECIPES["Eyeriss"](row_of("Eyeriss", network="VGG16", layer=layer, metric="total latency", unit="ms", batch=None)) > 0


def test_the_clock_and_batch_of_a_row_are_used() -> None:
    row = row_of("Eyeriss", layer="conv4", metric="processing latency (4 images)", unit="ms")
    assert RECIPES["Eyeriss"](dataclasses.replace(row, clock_mhz=100.0)) == pytest.approx(2 * RECIPES["Eyeriss"](row))
    assert RECIPES["Eyeriss"](dataclasses.replace(row, batch=8)) == pytest.approx(2 * RECIPES["Eyeriss"](row))


def test_a_recipe_never_reads_the_published_value() -> None:
    for row in ROWS:
        assert modelled(row) == modelled(dataclasses.replace(row, value=12345.0))


@pytest.mark.parametrize(
    ("system", "changes", "reason"),
    [
        ("EIE", {"metric": "speedup vs CPU"}, "a ratio to a processor that is not modelled"),
        ("SCNN", {"metric": "energy gain vs dense DCNN"}, "the memories of the dense reference are not published"),
        ("SCNN", {"metric": "area"}, "an input of the model"),
        ("Eyeriss", {"network": "ResNet-50"}, "the zeros of 'ResNet-50' are not published"),
        ("Eyeriss", {"layer": "fc6"}, "layer 'fc6' is none of conv1, conv2"),
        ("Eyeriss", {"metric": "total latency", "unit": "bananas"}, "unit 'bananas'"),
        ("DSTC", {"network": "ResNet-18"}, "is no square matrix product"),
        ("Eyeriss-RS-model", {"metric": "PE count"}, "is none of alu, rf"),
        ("Timeloop-simple_weight_stationary", {}, "no architecture of ours"),
    ],
)
def test_what_cannot_be_expressed_says_why(system: str, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CannotExpress, match=reason):
        RECIPES[system](row_of(system, **changes))
