"""NNI's half of `benchmarks.nni_pruners`; runs in an environment of its own, with this folder's parent on the path.

NNI 2.10.1 is older than numpy 1.24 and torch 2.6: `np.float` and unpickling are put back for it.

NNI cannot take a padded shortcut apart; a convolution that copies the channels stands in for it, whose MACs do not count.

Usage: ``python -m benchmarks.nni_side FOLDER annealing|amc TARGET PASSES EPOCHS IMAGES SEED``, images of an epoch of the final training or
0 for all; prints one line of JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from autocomp.distill import FineTuning, distill
from autocomp.models import build, load_checkpoint
from autocomp.models.resnet import PaddedShortcut

PARTS = 10  # that images are measured in, for want of memory
SPARSITIES = (0.7, 0.8, 0.9, 0.95)  # of weights, for the annealing pruner, which knows no MACs
MOST = 0.875  # removed of a layer by the AMC pruner
START, STOP = 100.0, 20.0  # temperatures; NNI's defaults


class Data:
    """Images and labels of a folder, and how many of them went through a network."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "data.npz") as file:
            self.parts = {name: torch.from_numpy(file[name]) for name in file.files}
        self.passes = 0.0

    def accuracy(self, network: nn.Module, part: str) -> float:
        """Share of a part's images that are classified rightly."""
        network.eval()
        with torch.inference_mode():
            answers = torch.cat([network(some).argmax(1) for some in self.parts[f"{part}_images"].chunk(PARTS)])
        return float((answers == self.parts[f"{part}_labels"]).double().mean())

    def score(self, network: nn.Module) -> float:
        """Accuracy on validation images, counted."""
        self.passes += len(self.parts["validation_images"])
        return self.accuracy(network, "validation")

    def train(self, network: nn.Module, epochs: int, drawn: int | None, seed: int) -> None:
        """Distil from the teacher as a polish does, counted."""
        images, labels, logits = (self.parts[f"train_{name}"] for name in ("images", "labels", "logits"))
        answered: set[int] = set()

        def lesson(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
            answered.update(numbers.tolist())
            return images[numbers], labels[numbers], logits[numbers]

        torch.manual_seed(seed)
        settings = FineTuning(images_per_epoch=drawn)
        generator = np.random.default_rng(seed)
        seen = sum(distill(network, lesson, images=len(images), epochs=epochs, settings=settings, generator=generator))
        self.passes += len(answered) + 3.0 * seen


def without_padding(network: nn.Module) -> nn.Module:
    """The same network with convolutions in place of padded shortcuts."""
    blocks: list[Any] = [module for module in network.modules() if isinstance(getattr(module, "shortcut", None), PaddedShortcut)]
    for block in blocks:
        before, inputs, outputs = block.shortcut.padding, block.conv1.in_channels, block.conv1.out_channels
        copying = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
        with torch.no_grad():
            copying.weight.copy_(torch.eye(outputs, inputs).roll(before, 0)[..., None, None])
        block.shortcut = copying
    return network.eval()


def macs_of(network: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image."""
    found: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight: Any = layer.weight
        found.append(weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1))

    layers = [m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and not name.endswith("shortcut")]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network.eval()(example)
    for hook in hooks:
        hook.remove()
    return sum(found)


def searched(kind: str, network: nn.Module, data: Data, target: float, evaluations: int) -> nn.Module:
    """The best network that a pruner finds with so many evaluations and a share of the MACs left; of annealing, at the first sparsity."""
    from nni.compression.pytorch.pruning import AMCPruner, SimulatedAnnealingPruner

    example = data.parts["train_images"][:1]
    allowed = target * macs_of(network, example)
    for sparsity in SPARSITIES if kind == "annealing" else (1 - target,):
        data.passes = 0.0
        rule: dict[str, Any] = {"op_types": ["Conv2d"], "total_sparsity": sparsity}
        settings: dict[str, Any] = {"dummy_input": example, "evaluator": data.score, "pruning_algorithm": "l1"}
        settings["log_dir"] = tempfile.mkdtemp()
        if kind == "annealing":
            rate = (STOP / START) ** (1 / evaluations)
            pruner = SimulatedAnnealingPruner(network, [rule], speedup=True, cool_down_rate=rate, **settings)
        else:
            pruner = AMCPruner(evaluations, network, [rule | {"max_sparsity_per_layer": MOST}], target="flops", **settings)
        pruner.compress()
        found: nn.Module = pruner.get_best_result()[1]
        if macs_of(found, example) <= allowed:
            break
    return found


def main(folder: Path, kind: str, target: float, passes: float, epochs: int, drawn: int, seed: int) -> dict[str, Any]:
    """Search, train and measure."""
    np.random.seed(seed)  # noqa: NPY002 what NNI draws from
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = Data(folder)
    with safe_open(folder / "teacher.safetensors", "pt") as file:
        name = file.metadata()["model"]
    images = data.parts["train_images"]
    network = build(name, classes=10, input_shape=(images.shape[1], images.shape[2], images.shape[3]))
    load_checkpoint(network, folder / "teacher.safetensors")
    network = without_padding(network)
    learnt = epochs * (drawn or len(images))
    evaluations = int((passes - 3 * learnt - min(learnt, len(images))) // len(data.parts["validation_images"]))
    whole = macs_of(network, images[:1])
    best = searched(kind, network, data, target, evaluations)
    before = data.accuracy(best, "validation")
    data.train(best, epochs, drawn or None, seed)
    return {
        "macs": round(macs_of(best, images[:1]) / whole, 4),
        "validation_before_training": before,
        "validation": data.accuracy(best, "validation"),
        "test": data.accuracy(best, "test"),
        "image_passes": data.passes,
    }


if __name__ == "__main__":
    setattr(np, "float", float)  # noqa: B010 for NNI
    torch.load = partial(torch.load, weights_only=False)
    logging.disable(logging.WARNING)
    where, pruner, *numbers = sys.argv[1:]
    left, most, *counts = map(float, numbers)
    print(json.dumps(main(Path(where), pruner, left, most, *map(int, counts))))  # noqa: T201
