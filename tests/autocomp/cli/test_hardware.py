from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autocomp.cli import main
from hwmodels import device_names


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
