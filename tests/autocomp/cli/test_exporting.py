from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autocomp.cli import main
from autocomp.export import write_model


@pytest.fixture
def pulled(tmp_path: Path) -> str:
    """A pulled model that was not compressed, of a task that is not known here."""
    told: dict[str, Any] = dict.fromkeys(("name", "version", "task", "hw"), "mine") | dict.fromkeys(("trial", "seed"), 0)
    told |= {"input_shape": [1, 4, 4], "mean": [0.3], "std": [0.4], "metrics": {}, "teacher": {}, "config": {}, "configuration": {}}
    write_model(tmp_path / "model", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), told | {"data": {}})
    return str(tmp_path / "model")


def test_export_prints_where_and_how_close(pulled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", pulled, "--format", "onnx"]) == 0
    out = capsys.readouterr().out
    assert f"File:       {pulled}/model.onnx" in out
    assert "Layers:     0 of 2 on integers" in out
    assert "Agreement:  100.0 %" in out


def test_export_can_print_json(pulled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", pulled, "--format", "packed", "--out", str(tmp_path / "small"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(tmp_path / "small")
    assert found["max_abs_difference"] == 0


def test_an_unknown_format_is_a_one_line_error(pulled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", pulled, "--format", "tflite"]) == 2
    assert capsys.readouterr().err == "autocomp: error: There is no export format 'tflite'. Known: onnx, packed, pt2, qonnx.\n"


def test_measure_prints_a_table_and_says_why_there_is_no_teacher(pulled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", pulled, "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "ONNX Runtime, 1 thread" in out
    assert "The teacher is not shown" in out
