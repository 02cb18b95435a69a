from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autocomp import models
from autocomp.errors import CheckpointError

CHECKPOINTS = Path(__file__).parents[3] / ".." / "shared" / "data" / "checkpoints"


def lenet(classes: int = 10) -> torch.nn.Module:
    return models.build("lenet5", classes=classes, input_shape=(1, 28, 28))


def message(path: Path, model: torch.nn.Module) -> str:
    with pytest.raises(CheckpointError) as error:
        models.load_checkpoint(model, path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved, loaded = lenet(), lenet()
    save_file(saved.state_dict(), tmp_path / "lenet.safetensors")
    models.load_checkpoint(loaded, tmp_path / "lenet.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nothing.safetensors" in message(tmp_path / "nothing.safetensors", lenet())


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"pickle, perhaps")
    assert "must be a readable safetensors file" in message(tmp_path / "weights.pt", lenet())
    assert "must be a readable safetensors file" in message(tmp_path, lenet())


def test_missing_unexpected_and_misshapen_weights_are_listed(tmp_path: Path) -> None:
    state = lenet(classes=3).state_dict()
    state["extra"] = state.pop("conv1.bias")
    save_file(state, tmp_path / "other.safetensors")
    text = message(tmp_path / "other.safetensors", lenet())
    assert "missing: conv1.bias" in text
    assert "unexpected: extra" in text
    assert "fc2.weight (3x500, not 10x500)" in text


def test_a_long_list_is_cut_after_three_names(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "missing: conv1.weight, conv1.bias, conv2.weight and 5 more" in message(tmp_path / "other.safetensors", lenet())


@pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason="the trained CIFAR networks are not there")
@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_the_trained_cifar_networks_fit(name: str) -> None:
    model = models.build(name, classes=10, input_shape=(3, 32, 32))
    models.load_checkpoint(model, CHECKPOINTS / f"{name}_cifar10.safetensors")


class _Trap:
    """What creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_foreign_pickle_is_named_as_such_and_never_opened(tmp_path: Path) -> None:
    torch.save({"weight": _Trap(tmp_path / "sprung")}, tmp_path / "foreign.pt")
    (tmp_path / "foreign.pkl").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    for name in ("foreign.pt", "foreign.pkl"):
        assert "write its state dictionary with `safetensors.torch.save_file`" in message(tmp_path / name, lenet())
    assert not (tmp_path / "sprung").exists()
