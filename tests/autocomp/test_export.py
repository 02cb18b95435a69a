"""Export, with real compressed networks and the real archive format."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from autocomp.card import model_card
from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.errors import AutocompError, UsageError
from autocomp.export import bake, load_network, read_record, write_model, write_record
from autocomp.models import build

SHAPE = (1, 8, 8)
CONFIGURATION = Configuration(
    {
        "layers.0.0.conv1": Choice(sparsity=0.5, pattern="filter", weight_bits=4, activation_bits=8),
        "layers.1.0.conv1": Choice(sparsity=0.5, pattern="fine", weight_bits=3, activation_bits=4),
        "layers.1.0.conv2": Choice(rank=0.5, factorization="svd_out", weight_bits=6),
    }
)


def record(**changes: object) -> dict[str, Any]:
    """What a run would tell."""
    told: dict[str, Any] = {
        "name": "digits-fpga",
        "version": "0.1.0",
        "task": "digits",
        "hw": "zcu102",
        "trial": 7,
        "seed": 3,
        "input_shape": list(SHAPE),
        "mean": [0.3],
        "std": [0.4],
        "metrics": {"accuracy": 0.99, "test_accuracy": 0.98, "latency_s": 5e-5},
        "teacher": {"accuracy": 0.99, "latency_s": 2e-4},
        "configuration": CONFIGURATION.flatten(),
        "config": {"seed": 0},
        "data": {},
    }
    return {**told, **changes}


@pytest.fixture(scope="module")
def compressed() -> nn.Module:
    """A residual network with pruned, factorized and quantized layers: parametrizations, input hooks, an fx graph."""
    torch.manual_seed(0)
    network = build("digits_resnet", classes=10, input_shape=SHAPE).eval()
    teacher = normalize(network, SHAPE)
    assert teacher is not None
    convolutions = [name for name, module in teacher.named_modules() if isinstance(module, nn.Conv2d)]
    choices = dict(zip(convolutions[1:4], CONFIGURATION.values(), strict=True))
    student = compress(teacher, Configuration(choices), default_methods(channel_map(teacher, SHAPE)))
    calibrate(student, torch.randn(64, *SHAPE))
    return student.eval()


@pytest.fixture(scope="module")
def folder(compressed: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compressed network's files."""
    path = tmp_path_factory.mktemp("export") / "model"
    write_model(path, compressed, record())
    return path


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_the_loaded_network_computes_bit_for_bit_what_was_exported(compressed: nn.Module, folder: Path, batch: int) -> None:
    images = torch.randn(batch, *SHAPE)
    with torch.inference_mode():
        assert torch.equal(load_network(folder)(images), compressed(images))


def test_a_training_network_is_exported_in_evaluation_mode_and_left_as_it_was(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3)).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    write_model(tmp_path / "model", network, record())
    assert network.training
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    images = torch.randn(4, *SHAPE)
    with torch.inference_mode():
        assert torch.equal(load_network(tmp_path / "model")(images), network.eval()(images))


def test_baking_does_not_take_the_parametrization_off_the_original(compressed: nn.Module) -> None:
    images = torch.randn(2, *SHAPE)
    with torch.inference_mode():
        before = compressed(images)
        baked = bake(compressed)
        assert torch.equal(baked(images), before)
        assert torch.equal(compressed(images), before)
    assert not [name for name in baked.state_dict() if "parametrizations" in name]


def test_the_weights_have_plain_names_and_the_values_that_the_network_uses(compressed: nn.Module, folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    layers = {name: module for name, module in compressed.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert layers
    for name, layer in layers.items():
        assert torch.equal(weights[f"{name}.weight"], layer.weight)


def test_every_weight_stands_once_in_the_archive_and_nothing_in_it_is_pickled(folder: Path) -> None:
    weights = sum(tensor.nbytes for tensor in load_file(folder / "weights.safetensors").values())
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        stored = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        config = json.loads(archive.read(next(entry for name, entry in stored.items() if name.endswith("model_weights_config.json"))))
        graph = archive.read(next(entry for name, entry in stored.items() if name.endswith("model.json"))).decode()
    payload = sum(entry.file_size for name, entry in stored.items() if name.startswith("data/weights/weight_"))
    assert payload <= weights
    assert not any(value["use_pickle"] for value in config["config"].values())
    assert stored["data/sample_inputs/model.pt"].file_size == 0
    assert "stack_trace" not in graph


def test_the_files_load_in_a_process_without_autocomp(compressed: nn.Module, folder: Path) -> None:
    program = (
        "import sys, torch; network = torch.export.load('model.pt2').module(); torch.manual_seed(1); x = torch.randn(3, 1, 8, 8);"
        "torch.save(network(x), sys.argv[1]); assert not [m for m in sys.modules if m.startswith('autocomp')]"
    )
    out = folder.parent / "scores.pt"
    subprocess.run([sys.executable, "-I", "-c", program, str(out)], cwd=folder, check=True, timeout=120)
    torch.manual_seed(1)
    with torch.inference_mode():
        assert torch.equal(torch.load(out), compressed(torch.randn(3, 1, 8, 8)))


def test_the_record_comes_back_as_it_was_told(folder: Path) -> None:
    assert read_record(folder) == record()


def test_a_record_is_replaced_together_with_its_card(tmp_path: Path) -> None:
    write_model(tmp_path / "model", nn.Flatten(), record())
    write_record(tmp_path / "model", record(metrics={"test_accuracy": 0.5}))
    assert read_record(tmp_path / "model")["metrics"] == {"test_accuracy": 0.5}
    assert "50.00 %" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "model").iterdir())) == 4


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="must be new or empty"):
        write_model(tmp_path / "model", nn.Flatten(), record())
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_model(tmp_path / "model", nn.Flatten(), record())
    assert {path.name for path in tmp_path.rglob("*.*")} == {"model.pt2", "weights.safetensors", "configuration.json", "README.md"}


class Undecided(nn.Module):
    """Takes another way for some images, which one graph cannot hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AutocompError, match="one graph for every batch size"):
        write_model(tmp_path / "model", Undecided(), record())
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*model\.pt2"):
        load_network(tmp_path)
    with pytest.raises(UsageError, match=r"there is no .*configuration\.json"):
        read_record(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"PK, but not for long")
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        load_network(tmp_path)
    with pytest.raises(UsageError, match="must be JSON"):
        read_record(tmp_path)


def test_the_card_states_metrics_preprocessing_and_use(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    _, front_matter, body = card.split("---\n", 2)
    assert yaml.safe_load(front_matter)["model-index"][0]["results"][0]["dataset"]["name"] == "digits"
    assert "| Accuracy, test | 98.00 % |" in body
    assert "| Latency | 50.0 µs | 200.0 µs | 0.250 |" in body  # 5e-5 / 2e-4
    assert 'torch.export.load("model.pt2").module()' in body
    assert "mean [0.3], std [0.4]" in body
    assert "| layers.1.0.conv1 | 0.5 | fine |" in body


def test_the_card_of_an_untouched_network_says_so() -> None:
    assert model_card(record(configuration={})).rstrip().endswith("Nothing.")
