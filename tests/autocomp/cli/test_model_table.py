from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

import pytest

from autocomp import models
from autocomp.cli import main
from autocomp.models.published import published

FIGURES = ("parameters", "parameters_conv", "parameters_fc", "flops", "flops_conv", "flops_fc")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["models", "table", "--json"]) == 0
    found = json.loads(printed.getvalue())
    return {row["network"]: row for row in found["rows"]}


def last_digit(value: float) -> float:
    """One unit of the last digit that is printed."""
    return float(10 ** -len(f"{value:g}".partition(".")[2]))


def test_every_figure_of_a_row_without_a_note_is_the_printed_one(rows: dict[str, dict[str, Any]]) -> None:
    without = [row for row in rows.values() if not row["note"]]
    assert {row["network"] for row in without} == {"AlexNet", "VGG-S", "VGG16", "NIN"}
    for row in without:
        for figure in FIGURES:
            printed = row["printed"][figure]
            assert row["counted"][figure] == pytest.approx(printed, abs=0.51 * last_digit(printed)), (row["network"], figure)


def test_the_operations_of_every_network_are_the_printed_ones(rows: dict[str, dict[str, Any]]) -> None:
    for row in rows.values():
        assert row["counted"]["flops"] == pytest.approx(row["printed"]["flops"], abs=last_digit(row["printed"]["flops"]))


def test_the_figures_in_the_notes_are_those_counted(rows: dict[str, dict[str, Any]]) -> None:
    def share(network: str, figure: str) -> float:
        counted = rows[network]["counted"]
        return float(counted["parameters"] * counted[f"parameters_{figure}"] / 100)

    for network, conv, fc in (("ResNet-18", 11.17, 0.51), ("ResNet-50", 23.45, 2.05), ("ResNet-101", 42.39, 2.05)):
        assert (round(share(network, "conv"), 2), round(share(network, "fc"), 2)) == (conv, fc)
        assert f"{conv} million" in rows[network]["note"]
        assert f"({conv / 2:.3g}" in rows[network]["note"] or f"({conv / 2:.2f}" in rows[network]["note"]
        assert f"({fc} million)" in rows[network]["note"]
    assert f"{rows['GoogLeNet']['counted']['parameters']:.3f} million" in rows["GoogLeNet"]["note"]
    assert round(100 * share("GoogLeNet", "fc") / 6.9, 1) == rows["GoogLeNet"]["printed"]["parameters_fc"]


def test_every_row_names_a_network_that_exists() -> None:
    assert {row.model for row in published()} <= models.MODELS.keys()


def test_the_table_shows_both_figures_and_says_why_they_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "table"]) == 0
    shown = capsys.readouterr().out
    assert "12.2 -> 25.56" in shown
    assert "0.72 -> 0.72" in shown
    assert "ResNet-101: half of the convolutions'" in shown
    assert "recalled" in shown
