from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocomp.cli import main
from hwmodels.validation import published_rows

ROW_KEYS = {"id", "family", "system", "metric", "measured", "modelled", "relative_error", "skipped_reason"}
FAMILY_KEYS = {"rows", "mean_abs_error", "worst", "kendall_tau"}
HEADER = "id,family,system,network,layer,metric,unit,value,precision_bits,batch,clock_MHz,other_params"
MINE = '"{""device"": ""zcu102"", ""model"": ""lenet5""}"'


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["hw", "validate", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(
        f"{HEADER}\n"
        f"a,fpga,our board,lenet,conv1,latency,us,40,8,1,,{MINE}\n"
        f"b,fpga,our board,lenet,conv2,latency,us,50,8,1,,{MINE}\n"
        f"c,fpga,our board,lenet,whole,speed-up,x,2,8,1,,{MINE}\n"
        "d,asic,nobody's chip,lenet,whole,latency,us,9,8,1,,\n",
        encoding="utf-8",
    )
    return path


def test_every_published_row_has_a_figure_or_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys)
    assert [row["id"] for row in found["rows"]] == [row.id for row in published_rows()]
    for row in found["rows"]:
        assert set(row) >= ROW_KEYS
        assert (row["modelled"] is None) == (row["relative_error"] is None) == bool(row["skipped_reason"])
        assert not (row["skipped_reason"] or "").startswith("failed"), row


def test_the_families_are_summaries_of_their_confirmed_rows(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys)
    assert set(found["families"]) == {"fpga", "asic", "rram"}
    for name, family in found["families"].items():
        assert set(family) >= FAMILY_KEYS
        members = [row for row in found["rows"] if row["family"] == name]
        errors = [abs(row["relative_error"]) for row in members if row["confirmed"] and row["modelled"] is not None]
        assert family["rows"] == len(errors)
        assert family["expressed"] + family["skipped"] == len(members)
        np.testing.assert_allclose([family["mean_abs_error"], family["worst"]], [np.mean(errors), np.max(errors)])
        assert -1 <= family["kendall_tau"] <= 1


def test_a_table_is_one_metric_of_one_system(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--family", "fpga")
    keys = [(t["system"], t["metric"], t["unit"]) for t in found["tables"]]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {(row["system"], row["metric"], row["unit"]) for row in found["rows"]}
    assert sum(t["expressed"] + t["skipped"] for t in found["tables"]) == len(found["rows"])


def test_one_family_is_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--family", "rram")
    assert {row["family"] for row in found["rows"]} == set(found["families"]) == {"rram"}


def test_a_file_of_ones_own_replaces_the_published_rows(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--csv", str(mine))
    rows = {row["id"]: row for row in found["rows"]}
    assert list(rows) == ["a", "b", "c", "d"]
    assert rows["a"]["relative_error"] == pytest.approx(rows["a"]["modelled"] / 40 - 1)
    assert "unit 'x' is unknown" in rows["c"]["skipped_reason"]
    assert "no recipe for system 'nobody's chip'" in rows["d"]["skipped_reason"]
    assert found["families"]["asic"] == {
        "rows": 0,
        "mean_abs_error": None,
        "worst": None,
        "worst_id": None,
        "kendall_tau": None,
        "expressed": 0,
        "skipped": 1,
    }
    assert list(answer(capsys, "--csv", str(mine), "--family", "fpga")["families"]) == ["fpga"]


def test_the_tables_show_rows_reasons_and_families(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "validate", "--csv", str(mine)]) == 0
    out = capsys.readouterr().out
    assert "lenet conv1 latency" in out
    assert "40 us" in out
    assert "our board: unit 'x' is unknown (c)" in out
    assert [line.split()[0] for line in out.splitlines() if line.strip().startswith(("fpga", "asic"))] == ["fpga", "asic"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,fpga,s,n,,latency,ms,two,,,,", "mine.csv, line 2: `value` must be a number, but is 'two'."),
        ("a,fpga,s,n,,latency,ms,2", "mine.csv, line 2: a row must have 12 cells, but has 8."),
    ],
)
def test_a_malformed_file_ends_with_exit_code_2_and_one_line(
    line: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(f"{HEADER}\n{line}\n", encoding="utf-8")
    assert main(["hw", "validate", "--csv", str(tmp_path / "mine.csv")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert expected in captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--family", "fgpa"], "There is no hardware family 'fgpa'. Did you mean 'fpga'? Known: asic, fpga, rram."),
        (["--csv", "nowhere.csv"], "nowhere.csv cannot be read"),
    ],
)
def test_a_bad_request_ends_with_exit_code_2_and_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "validate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected in captured.err
