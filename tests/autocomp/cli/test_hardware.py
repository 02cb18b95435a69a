from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocomp import models
from autocomp.cli import main
from hwmodels import device_names
from hwmodels.networks import load_network


def test_the_list_has_every_device_and_every_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "list", "--json"]) == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert names == {*device_names(), "fpga", "asic", "rram"}


def test_a_broken_file_is_named_and_the_rest_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "torn.yaml").write_text("device: [\n")
    assert main(["hw", "list", "--config-dir", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "hardware 'torn' is left out" in captured.err
    assert "zcu102" in captured.out
    assert "torn" not in captured.out


def test_show_prints_the_device_file_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "show", "fpga"]) == 0
    out = capsys.readouterr().out
    assert "device: zcu102" in out
    assert "clock_mhz: 200" in out
    assert "#" in out


def test_the_score_of_resnet20_is_its_published_size_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "score", "--hw", "fpga", "--model", "resnet20", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    # conv1 442 368, stage 1 six times 2 359 296, stages 2 and 3 each 1 179 648 and five times 2 359 296, linear 640
    assert score["macs"] == 442_368 + 6 * 2_359_296 + 2 * (1_179_648 + 5 * 2_359_296) + 640
    for metric in ("latency_s", "energy_j", "dram_bytes"):
        np.testing.assert_allclose(sum(layer[metric] for layer in score["layers"]), score[metric])
    assert [layer["name"] for layer in score["layers"]][:2] == ["conv1", "layer1.0.conv1"]


@pytest.mark.parametrize("hw", ["fpga", "asic", "rram"])
def test_fewer_bits_never_cost_more_energy(hw: str, capsys: pytest.CaptureFixture[str]) -> None:
    energies = []
    for bits in ("8", "4"):
        assert main(["hw", "score", "--hw", hw, "--model", "lenet5", "--weight-bits", bits, "--activation-bits", bits, "--json"]) == 0
        energies.append(json.loads(capsys.readouterr().out)["energy_j"])
    assert energies[1] <= energies[0]


def test_the_table_has_a_row_for_each_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "score", "--hw", "eyeriss", "--model", "lenet5"]) == 0
    out = capsys.readouterr().out
    assert "lenet5 on eyeriss" in out
    assert [line.split()[0] for line in out.splitlines() if "→" in line] == ["conv1", "conv2", "fc1", "fc2"]


def score(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["hw", "score", *arguments, "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["hw", "score", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_table_is_priced_without_torch() -> None:
    code = (
        "import sys; from autocomp.cli import main; code = main(['hw', 'score', '--model', 'vgg16']); print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "conv5_3" in done.stdout


def test_a_network_that_has_no_table_is_traced(capsys: pytest.CaptureFixture[str]) -> None:
    # stem 9x16x64 = 9 216, layer1 twice 147 456, layer2 73 728 + 3 x 147 456 + shortcut 8 192, linear 320
    found = score(capsys, "--model", "digits_resnet")
    assert found["macs"] == 9_216 + 2 * 147_456 + 73_728 + 3 * 147_456 + 8_192 + 320
    assert (found["weight_bits"], found["activation_bits"]) == (8, 8)


def test_a_table_of_ones_own_is_priced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("layer,op,in_channels,out_channels,weight_bits\nfc1,linear,64,32,4\nfc2,linear,32,10,2\n")
    found = score(capsys, "--model", str(path))
    assert found["macs"] == 64 * 32 + 32 * 10
    assert [(row["weight_bits"], row["activation_bits"]) for row in found["layers"]] == [(4, 8), (2, 8)]
    assert (found["weight_bits"], found["activation_bits"]) == (None, 8)
    assert score(capsys, "--model", str(path), "--weight-bits", "8")["weight_bits"] == 8


def test_a_bad_table_of_ones_own_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("layer,in_channels,out_channels\nfc1,64,x\n")
    assert "mine.csv, line 2: `out_channels` must be a whole number" in refusal(capsys, "--model", str(path))
    assert "none.csv cannot be read" in refusal(capsys, "--model", "none.csv")


def test_an_unknown_network_is_answered_with_tables_and_torch_networks(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "--model", "vgg16s")
    assert "There is no network 'vgg16s'. Did you mean 'vgg16'?" in message
    assert "googlenet" in message
    assert "digits_resnet" in message


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_where_both_exist_the_table_is_used(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(models.MODELS, name)
    assert [layer["name"] for layer in score(capsys, "--model", name)["layers"]] == list(load_network(name).names)


def test_a_batch_shares_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    one, four = (score(capsys, "--model", "alexnet", "--batch", batch) for batch in ("1", "4"))
    assert (one["batch"], four["batch"]) == (1, 4)
    assert four["macs"] == 4 * one["macs"]
    fc6 = {found["batch"]: found["layers"][5]["dram_bytes"] for found in (one, four)}
    assert fc6[4] < 1.1 * fc6[1]  # 37.7 MB of weights, 13 kB of activations


def test_the_parts_of_the_energy_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    for hw in ("fpga", "asic", "rram"):
        found = score(capsys, "--hw", hw, "--model", "lenet5")
        np.testing.assert_allclose(sum(found["energy_parts_j"].values()), found["energy_j"])
        for row in found["layers"]:
            np.testing.assert_allclose(sum(row["energy_parts_j"].values()), row["energy_j"])
            assert list(row["energy_parts_j"]) == list(found["energy_parts_j"])


def test_the_foot_of_the_table_splits_the_energy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "score", "--model", "vgg16", "--batch", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("vgg16 on zcu102, 8-bit weights, 8-bit activations, 2 images" in line for line in lines)
    foot = next(line for line in lines if line.startswith("Energy: "))
    shares = [int(part.split("(")[1].split("%")[0]) for part in foot.split("), ")]
    assert abs(sum(shares) - 100) <= len(shares)  # rounded to whole per cent


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--weight-bits", "0", "from 1 to 32"),
        ("--weight-bits", "33", "from 1 to 32"),
        ("--activation-bits", "-4", "from 1 to 32"),
        ("--activation-bits", "9" * 30, "from 1 to 32"),
        ("--batch", "0", "from 1 to 65536"),
        ("--batch", "9" * 30, "from 1 to 65536"),
    ],
)
def test_a_number_out_of_range_is_refused_with_rule_and_value(
    option: str, value: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "--model", "lenet5", option, value) == f"autocomp: error: `{option}` must be {rule}, but is {value}.\n"


def test_hardware_that_cannot_run_a_layer_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "--hw", "eie", "--model", "alexnet")  # EIE multiplies matrices with vectors
    assert "'eie'" in message
    assert "'conv1'" in message
    assert score(capsys, "--hw", "eie", "--model", "eie_fc")["weight_bits"] == 4
