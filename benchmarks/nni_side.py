"""NNI's half of `benchmarks.nni_pruners`; runs in an environment of its own, with this folder's parent on the path.

NNI 2.10.1 is older than numpy 1.24 and torch 2.6: `np.float` and unpickling are put back for it.

Usage: ``python -m benchmarks.nni_side FOLDER annealing|amc TARGET PASSES SEED``; prints one line of JSON.
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
from torch import Tensor, nn

from autocomp.distill import FineTuning, distill
from autocomp.models import build, load_checkpoint

EPOCHS = 8  # of the final training, as many as a polish has
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
        with torch.inference_mode():
            answers = network.eval()(self.parts[f"{part}_images"]).argmax(1)
        return float((answers == self.parts[f"{part}_labels"]).double().mean())

    def score(self, network: nn.Module) -> float:
        """Accuracy on validation images, counted."""
        self.passes += len(self.parts["validation_images"])
        return self.accuracy(network, "validation")

    def train(self, network: nn.Module, seed: int) -> None:
        """Distil from the teacher as a polish does, counted."""
        images, labels, logits = (self.parts[f"train_{name}"] for name in ("images", "labels", "logits"))
        torch.manual_seed(seed)
        settings = FineTuning()
        generator = np.random.default_rng(seed)
        steps = distill(
            network,
            lambda n: (images[n], labels[n], logits[n]),
            images=len(images),
            epochs=EPOCHS,
            settings=settings,
            generator=generator,
        )
        self.passes += len(images) + 3.0 * sum(steps)


def macs_of(network: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image."""
    found: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight: Any = layer.weight
        found.append(weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1))

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
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


def main(folder: Path, kind: str, target: float, passes: float, seed: int) -> dict[str, Any]:
    """Search, train and measure."""
    np.random.seed(seed)  # noqa: NPY002 what NNI draws from
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = Data(folder)
    network = build("digits_resnet", classes=10, input_shape=(1, 8, 8))
    load_checkpoint(network, folder / "teacher.safetensors")
    final = len(data.parts["train_images"]) * (1 + 3 * EPOCHS)
    evaluations = int((passes - final) // len(data.parts["validation_images"]))
    whole = macs_of(network, data.parts["train_images"][:1])
    best = searched(kind, network.eval(), data, target, evaluations)
    before = data.accuracy(best, "validation")
    data.train(best, seed)
    return {
        "macs": round(macs_of(best, data.parts["train_images"][:1]) / whole, 4),
        "validation_before_training": before,
        "validation": data.accuracy(best, "validation"),
        "test": data.accuracy(best, "test"),
        "image_passes": data.passes,
    }


if __name__ == "__main__":
    setattr(np, "float", float)  # noqa: B010 for NNI
    torch.load = partial(torch.load, weights_only=False)
    logging.disable(logging.WARNING)
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))))  # noqa: T201
