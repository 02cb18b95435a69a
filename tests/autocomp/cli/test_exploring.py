"""`autocomp hw explore` from the command line to the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from autocomp.cli import main
from autocomp.cli.exploring import parsed_axis, parsed_limit
from autocomp.errors import ConfigError
from hwmodels import load_device
from hwmodels.networks import load_network


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What `hw explore --json` prints."""
    assert main(["hw", "explore", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line of an error."""
    code = main(["hw", "explore", *arguments])
    (line,) = capsys.readouterr().err.strip().splitlines()
    return code, line


def test_the_front_of_vgg16_on_the_fpga_is_feasible_and_what_each_design_costs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--hw", "fpga", "--model", "vgg16")
    assert found["designs"] >= 1000
    assert 0 < found["feasible"] < found["designs"]
    assert found["objectives"] == ["latency_s", "energy_j"]
    assert found["front"]
    workload = load_network("vgg16").replace(weight_bits=8, activation_bits=8)
    for design in found["front"]:
        alone = load_device("zcu102", design["parameters"]).estimate(workload)
        assert alone.feasible
        np.testing.assert_allclose([design["latency_s"], design["energy_j"]], [alone.total_latency_s, alone.total_energy_j])
        assert design["resources"]["DSP"] == {"used": alone.resources["DSP"], "limit": alone.limits["DSP"]}
    latencies, energies = ([design[name] for design in found["front"]] for name in ("latency_s", "energy_j"))
    assert latencies == sorted(latencies)
    assert energies == sorted(energies, reverse=True)
    # the device as it is is one of the designs, so something on the front is as good
    assert latencies[0] <= found["as_it_is"]["latency_s"]


@pytest.mark.parametrize("hw", ["asic", "rram"])
def test_chips_are_compared_by_area_too(hw: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--hw", hw, "--model", "resnet18")
    assert found["objectives"] == ["latency_s", "energy_j", "area_mm2"]
    areas = [design["area_mm2"] for design in found["front"]]
    assert len(set(areas)) > 1
    assert min(areas) < found["as_it_is"]["area_mm2"]


def test_no_design_rounds_its_sums_more_coarsely_unless_it_may(capsys: pytest.CaptureFixture[str]) -> None:
    axis = ("--axis", "adc_bits=5,6,7,8")
    # 128 rows of two-bit cells need 9 bits, less the one that the encoding saves
    kept = answer(capsys, "--hw", "isaac", "--model", "lenet5", *axis)["front"]
    assert [design["parameters"]["adc_bits"] for design in kept] == [8]
    free = answer(capsys, "--hw", "isaac", "--model", "lenet5", *axis, "--limit", "adc_step=100")["front"]
    assert [design["parameters"]["adc_bits"] for design in free] == [5]


def test_only_the_axes_that_are_named_vary(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--hw", "zc706", "--axis", "rows=8,16", "--axis", "dataflow=ws,os", "--model", "lenet5")
    assert found["axes"] == {"rows": [8, 16], "dataflow": ["ws", "os"]}
    assert found["designs"] == 4


def test_bits_and_batch_are_those_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--axis", "rows=16", "--model", "resnet20")
    eight, four = (answer(capsys, *arguments, "--weight-bits", bits, "--activation-bits", bits)["front"][0] for bits in ("8", "4"))
    assert four["energy_j"] < eight["energy_j"]
    many = answer(capsys, *arguments, "--batch", "4")
    assert many["batch"] == 4
    assert many["front"][0]["latency_s"] > 2 * eight["latency_s"]
    assert many["weight_bits"] == [8]


def test_limits_and_objectives_are_those_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--model", "lenet5", "--limit", "DSP=700", "--objectives", "latency_s,DSP")
    slices = [design["resources"]["DSP"]["used"] for design in found["front"]]
    assert max(slices) <= 700
    assert len(set(slices)) == len(slices) > 1  # fewer slices, more time


def test_a_configuration_of_ones_own_keeps_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hw").mkdir()
    text = "_target_: hwmodels.load_device\ndevice: zcu102\nparameters: {rows: 8, clock_mhz: 100}\n"
    (tmp_path / "hw" / "ours.yaml").write_text(text)
    arguments = ("--hw", "ours", "--config-dir", str(tmp_path), "--model", "lenet5")
    found = answer(capsys, *arguments)
    assert "rows" not in found["axes"]
    workload = load_network("lenet5").replace(weight_bits=8, activation_bits=8)
    for design in found["front"]:
        alone = load_device("zcu102", {"rows": 8, "clock_mhz": 100, **design["parameters"]}).estimate(workload)
        np.testing.assert_allclose(design["latency_s"], alone.total_latency_s)
    code, line = complaint(capsys, *arguments, "--axis", "rows=8,16")
    assert code == 2
    assert "`rows` is given one value and is an axis, too" in line


def test_a_configuration_may_bring_its_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "ours.yaml").write_text("defaults: [device]\ndevice: zc706\naxes: {arrays: [1, 2]}\n")
    found = answer(capsys, "--hw", "ours", "--config-dir", str(tmp_path), "--model", "lenet5")
    assert found["axes"] == {"arrays": [1, 2]}


def test_the_folder_holds_tables_and_a_plot_that_opens_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--model", "lenet5", "--axis", "rows=8,16,32", "--axis", "arrays=1,4", "--out", str(tmp_path / "new"))
    rows = pq.read_table(tmp_path / "new" / "designs.parquet").to_pylist()
    assert len(rows) == 6
    assert sum(row["on_front"] for row in rows) == len(found["front"])
    assert {row["design/rows"] for row in rows} == {8, 16, 32}
    assert json.loads((tmp_path / "new" / "front.json").read_text()) == found
    page = (tmp_path / "new" / "designs.html").read_text(encoding="utf-8")
    assert "lenet5 on zcu102" in page
    assert len(page) > 3_000_000  # plotly itself
    assert 'src="http' not in page


def test_the_table_names_parameters_prices_and_resources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "explore", "--hw", "zcu102", "--model", "lenet5", "--axis", "rows=8,16", "--axis", "dataflow=os,ws"]) == 0
    out = capsys.readouterr().out
    assert "Designs of zcu102 for lenet5" in out
    head = next(line.split() for line in out.splitlines() if "latency" in line and "rows" in line)
    assert head[:5] == ["rows", "dataflow", "latency", "energy", "DSP"]
    assert "BRAM18" in head
    assert "4 designs, 4 within the limits" in out
    assert "As it is: " in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--hw", "zcu103"), 2, "There is no hardware 'zcu103'. Did you mean 'zcu102'?"),
        (("--model", "vgg17"), 2, "'vgg17'"),
        (("--axis", "rowz=8,16"), 2, "unknown key `rowz`"),
        (("--axis", "rows=8,0"), 2, "`rows` must be at least 1, but is 0"),
        (("--axis", "rows=8,8"), 2, "`rows` must be a list of values that differ, but is [8, 8]"),
        (("--axis", "dataflow=os,up"), 2, "`dataflow` must be one of ws, os, is, but is 'up'"),
        (("--axis", "rows"), 2, "An axis is written KEY=V1,V2,..., but is 'rows'."),
        (("--limit", "DSP"), 2, "A limit is written NAME=VALUE with a positive number, but is 'DSP'."),
        (("--limit", "DPS=3"), 2, "There is no price, resource or disturbance 'DPS'. Did you mean 'DSP'?"),
        (("--objectives", "latency_s,speed"), 2, "There is no price, resource or disturbance 'speed'."),
        (("--limit", "DSP=10"), 1, "the closest (rows 8, cols 8, arrays 1, dataflow ws) has 64 DSP, where 10 is the limit."),
        (("--weight-bits", "64"), 2, "`--weight-bits` must be from 1 to 32, but is 64."),
        (("--hw", "eie", "--model", "resnet18"), 2, "layer 'conv1' is a convolution"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, line = complaint(capsys, *arguments)
    assert said in line
    assert found == code


def test_the_folder_must_not_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    code, line = complaint(capsys, "--out", str(tmp_path / "file"))
    assert code == 2
    assert "--out must be a folder" in line


@pytest.mark.parametrize(("axis", "said"), [(("--axis", "rows=8"), "'closed' has no axes"), ((), "name those of 'closed'")])
def test_a_plug_in_without_axes_is_said_to_have_none(
    axis: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "closed.yaml").write_text("_target_: types.SimpleNamespace\nname: closed\n")
    code, line = complaint(capsys, "--hw", "closed", "--config-dir", str(tmp_path), *axis)
    assert code == 2
    assert said in line


def test_values_of_an_axis_are_what_they_look_like() -> None:
    assert parsed_axis("rows=8, 16") == ("rows", [8, 16])
    assert parsed_axis("clock_mhz=100,1.5e2") == ("clock_mhz", [100, 150.0])
    assert parsed_axis("weight_double_buffer=true,false") == ("weight_double_buffer", [True, False])
    assert parsed_axis("dataflow=os,is") == ("dataflow", ["os", "is"])
    for text in ("rows", "=8", "rows=", "rows=8,,16"):
        with pytest.raises(ConfigError, match="An axis is written"):
            parsed_axis(text)


def test_a_limit_is_a_positive_number_and_its_name_may_have_blanks() -> None:
    assert parsed_limit("KiB of weight memory=64") == ("KiB of weight memory", 64.0)
    for text in ("DSP", "DSP=", "DSP=many", "DSP=0", "DSP=nan", "DSP=inf", "=3"):
        with pytest.raises(ConfigError, match="A limit is written"):
            parsed_limit(text)
