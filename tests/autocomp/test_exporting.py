"""Exports of a model folder: written whole, loaded back, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocomp import exporting
from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.errors import AutocompError, UnknownNameError, UsageError
from autocomp.export import bake, load_network, trace_program, write_model
from autocomp.exporting import FORMATS, _Holder, export_folder, model_folder
from autocomp.models import build
from autocomp.storage import pack, packed_size

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pulled model with a pruned and several quantized layers."""
    torch.manual_seed(0)
    graph = normalize(build("digits_resnet", classes=10, input_shape=SHAPE).eval(), SHAPE)
    assert graph is not None
    layers = [name for name, module in graph.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    choices = {name: Choice(weight_bits=8, activation_bits=8) for name in layers}
    choices[layers[1]] = Choice(sparsity=0.5, pattern="filter", weight_bits=4, activation_bits=4)
    student = compress(graph, Configuration(choices), default_methods(channel_map(graph, SHAPE)))
    calibrate(student, torch.randn(64, *SHAPE))
    folder = tmp_path_factory.mktemp("pulled") / "model"
    told: dict[str, Any] = dict.fromkeys(("name", "version", "task", "hw"), "digits") | dict.fromkeys(("trial", "seed"), 0)
    told |= {"input_shape": list(SHAPE), "mean": [0.3051], "std": [0.3756], "teacher": {}, "config": {}, "configuration": {}}
    told["metrics"] = {"size_bytes": packed_size(student)[0]}
    write_model(folder, student, told | {"data": {"_target_": "autocomp.tasks.DigitsTask"}})
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_loaded_back_and_compared_on_test_images(pulled: Path, tmp_path: Path, format: str) -> None:
    found = export_folder(pulled, format, tmp_path / f"out-{format}")
    assert found.inputs == "test images"
    assert found.max_abs_difference <= found.tolerance
    assert found.bytes == (tmp_path / f"out-{format}").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [f"out-{format}"]
    if format in ("pt2", "packed"):
        assert found.max_abs_difference == 0
    else:
        assert (found.integer_layers, found.float_layers) == (9, 0)


def test_the_size_that_a_trial_reports_is_that_of_the_packed_file(pulled: Path, tmp_path: Path) -> None:
    reported = json.loads((pulled / "configuration.json").read_text())["metrics"]["size_bytes"]
    assert export_folder(pulled, "packed", tmp_path / "out").bytes == reported


KINDS: list[dict[str, Any]] = [
    *({"activation_bits": b, "activation_quantizer": q} for q, b in (("dorefa", 4), ("half_wave", 4), ("sign", 1), ("xnor", 1))),
    *({"weight_bits": b, "weight_quantizer": q} for q, b in (("trained_ternary", 2), ("power_of_two", 4), ("kmeans", 4), ("product", 2))),
    {"rank": 0.5, "factorization": "svd_out", "weight_bits": 2, "weight_quantizer": "fixed_point_factorized"},
    {"sparsity": 0.5, "pattern": "fine"},
]


@pytest.mark.parametrize("choice", KINDS, ids=str)
def test_the_size_is_that_of_the_exported_program_whatever_was_done(choice: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = normalize(build("digits_resnet", classes=10, input_shape=SHAPE).eval(), SHAPE)
    assert graph is not None
    configuration = Configuration(dict.fromkeys(("layer1.0.conv1", "layer2.0.conv2"), Choice(**choice)))
    student = compress(graph, configuration, default_methods(channel_map(graph, SHAPE)))
    calibrate(student, torch.randn(64, *SHAPE))
    program = trace_program(bake(student), SHAPE)
    assert packed_size(student)[0] == pack(_Holder(program.state_dict), tmp_path / "packed")


def test_without_its_data_a_model_is_compared_on_random_images(pulled: Path, tmp_path: Path) -> None:
    record = json.loads((pulled / "configuration.json").read_text())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.pt2").write_bytes((pulled / "model.pt2").read_bytes())
    (folder / "configuration.json").write_text(json.dumps(record | {"data": {"_target_": "somebody.Task"}}))
    assert export_folder(folder, "onnx").inputs == "random"
    assert (folder / "model.onnx").is_file()


def test_an_export_that_computes_something_else_is_not_kept(pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.onnx").write_text("an earlier one")
    monkeypatch.setattr("autocomp.export.running.run_onnx", lambda path, images: np.full((len(images), 10), 1e3, np.float32))
    with pytest.raises(AutocompError, match=r"differs from its network by .* more than .* none was written") as caught:
        export_folder(pulled, "onnx", tmp_path / "mine.onnx")
    assert caught.value.exit_code == 1
    assert (tmp_path / "mine.onnx").read_text() == "an earlier one"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_number_fails_the_comparison(pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocomp.export.running.run_onnx", lambda path, images: np.full((len(images), 10), np.nan, np.float32))
    with pytest.raises(AutocompError, match="differs"):
        export_folder(pulled, "onnx", tmp_path / "mine.onnx")
    assert not list(tmp_path.iterdir())


def test_checking_leaves_the_network_as_it_was(pulled: Path, tmp_path: Path) -> None:
    images = torch.randn(4, *SHAPE)
    with torch.inference_mode():
        before = load_network(pulled)(images)
        export_folder(pulled, "onnx", tmp_path / "model.onnx")
        assert torch.equal(load_network(pulled)(images), before)


def test_a_run_is_exported_by_its_best_member(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"best": {"trial_id": 7}}))
    assert model_folder(tmp_path) == tmp_path / "models" / "trial-0007"


def test_a_run_without_a_best_member_says_so(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"best": None}))
    with pytest.raises(UsageError, match="has none"):
        model_folder(tmp_path)


def test_wrong_requests_are_told_what_there_is(pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'onnx'"):
        export_folder(pulled, "onxn")
    with pytest.raises(UsageError, match="--out"):
        export_folder(pulled, "pt2")
    with pytest.raises(UsageError, match=r"there is no .*configuration\.json"):
        export_folder(tmp_path, "onnx")
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"pip install autocomp\[export\]"):
        export_folder(pulled, "onnx")
