"""Bytes, parameters, multiply-accumulates and times of an exported network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autocomp.errors import UsageError
from autocomp.export import trace_program, write_model
from autocomp.measure import count_macs, measure_folder, timed
from autocomp.models import build


def told(**data: Any) -> dict[str, Any]:
    names: dict[str, Any] = dict.fromkeys(("name", "version", "task", "hw"), "digits") | dict.fromkeys(("trial", "seed"), 0)
    told = {"input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4], "metrics": {}, "teacher": {}, "config": {}, "configuration": {}}
    return names | told | {"data": data}


def test_multiply_accumulates_are_those_of_a_hand_count() -> None:
    network = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)).eval()
    # 6 filters of 1 x 3 x 3 on 4 x 4 pixels are 864; 96 x 5 are 480
    assert count_macs(trace_program(network, (2, 4, 4))) == 864 + 480


def test_a_network_is_measured_beside_its_teacher(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_model(tmp_path / "model", build("digits_resnet", classes=10, input_shape=(1, 8, 8)), told(model="digits_resnet"))
    found = measure_folder(tmp_path / "model", threads=[1], batch=3, seconds=0.1)
    assert (found["batch"], found["threads"]) == (3, [1])
    for side in ("network", "teacher"):
        for engine in ("onnxruntime", "torch"):
            (row,) = found[side][engine]
            assert row["median_ms"] > 0
            assert row["iqr_ms"] >= 0
            assert row["runs"] >= 5
    assert found["network"]["parameters"] == sum(p.numel() for p in build("digits_resnet", classes=10, input_shape=(1, 8, 8)).parameters())
    assert found["network"]["macs"] == found["teacher"]["macs"]
    assert found["ratio"]["parameters"] == found["ratio"]["macs"] == 1  # nothing was compressed
    assert found["ratio"]["bytes"]["onnx"] == pytest.approx(1, abs=0.01)
    (time_ratio,) = found["ratio"]["onnxruntime"]
    assert time_ratio == found["teacher"]["onnxruntime"][0]["median_ms"] / found["network"]["onnxruntime"][0]["median_ms"]


def test_a_teacher_that_cannot_be_rebuilt_is_left_out(tmp_path: Path) -> None:
    write_model(tmp_path / "model", nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), told())
    found = measure_folder(tmp_path / "model", threads=[1], seconds=0.05)
    assert found["teacher"] is None
    assert found["ratio"] is None
    assert found["network"]["macs"] == 192


def test_times_are_taken_in_turns_and_summarised() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.004)

    found = timed({"slow": slow, "quick": lambda: order.append("quick")}, 1, 0.05)
    assert order[:4] == ["slow", "quick", "slow", "quick"]
    assert found["slow"]["median_ms"] >= 4
    assert found["quick"]["median_ms"] < found["slow"]["median_ms"]


def test_threads_and_batch_must_be_positive(tmp_path: Path) -> None:
    for wrong in ({"threads": [0]}, {"batch": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            measure_folder(tmp_path, **wrong)
