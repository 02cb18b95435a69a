"""Deep Compression step by step (Han et al., ICLR 2016, tables 2 and 3): prune, share values, code; bytes of the written file.

Weights go gradually while the network is distilled, so that fewer can stay than in the paper. What stays, the bits and the training were
chosen by validation images; test images are only reported on.

Usage: ``python -m benchmarks.deep_compression DATA [MODEL ...]``: a folder of MNIST's Parquet files, and networks; all by default.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import PruningSettings, compress, default_methods
from autocomp.distill import FineTuning, distill
from autocomp.export import bake
from autocomp.storage import contents, pack, unpack
from autocomp.tasks import ClassificationTask
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import measuring
from benchmarks.record import record

PRUNING, SEED = PruningSettings(dynamics="gradual"), 0


@dataclass(frozen=True)
class Recipe:
    """How a network is made small.

    Attributes:
        layers: share of weights that is kept and bits of an index, by layer.
        teacher_epochs: that the network has been trained for before.
        pruning_epochs: over all training images, while weights go.
        codebook_epochs: likewise, while shared values are trained.
        pruning_rate: learning rate at the start of the former.
        codebook_rate: and of the latter.
    """

    layers: Mapping[str, tuple[float, int]]
    teacher_epochs: int
    pruning_epochs: int
    codebook_epochs: int
    pruning_rate: float = 1e-3
    codebook_rate: float = 3e-4


RECIPES = {
    "lenet5": Recipe({"conv1": (0.66, 8), "conv2": (0.12, 6), "fc1": (0.065, 4), "fc2": (0.19, 5)}, 3, 5, 2),
    "lenet300": Recipe({"fc1": (0.075, 5), "fc2": (0.1, 5), "fc3": (0.26, 5)}, 20, 20, 5),
}
PUBLISHED = {"lenet300": 40, "lenet5": 39}


@dataclass(frozen=True, eq=False)
class Bench:
    """A task's images and teacher, and a training run on them."""

    task: ClassificationTask
    teacher: nn.Module

    @cached_property
    def lessons(self) -> tuple[Tensor, Tensor, Tensor]:
        """Training images, their labels and the teacher's logits, computed once."""
        train = self.task.train()
        images = to_input(train.images, self.task.mean, self.task.std)
        with measuring(self.teacher):
            logits = torch.cat([self.teacher(part) for part in torch.split(images, 512)])
        return images, torch.from_numpy(train.labels.copy()), logits

    def train(self, network: nn.Module, epochs: int, rate: float) -> None:
        """Fine-tune in place."""
        images, labels, logits = self.lessons
        settings = FineTuning(learning_rate=rate, alpha=0.5)
        for _ in distill(
            network,
            lambda numbers: (images[numbers], labels[numbers], logits[numbers]),
            images=len(images),
            epochs=epochs,
            settings=settings,
            generator=np.random.default_rng(SEED),
        ):
            pass

    def accuracy(self, network: nn.Module) -> float:
        """On test images, in percent."""
        return round(100 * evaluate(network, self.task.test(), mean=self.task.mean, std=self.task.std)[0], 2)


def written(network: nn.Module, folder: Path, *, huffman: bool) -> tuple[int, nn.Module]:
    """Bytes of the file, and the network with the weights read back from it."""
    size = pack(network, folder / "network.packed", huffman=huffman)
    loaded = bake(network)
    loaded.load_state_dict(unpack(folder / "network.packed"))
    return size, loaded


def steps(recipe: Recipe, bench: Bench, folder: Path) -> dict[str, Any]:
    """Bytes, ratio and accuracy after each step."""
    whole = sum(p.nbytes for p in bench.teacher.parameters())
    figures: dict[str, Any] = {"teacher": {"bytes": whole, "test_accuracy": bench.accuracy(bench.teacher)}}

    def note(step: str, network: nn.Module, *, huffman: bool) -> None:
        size, loaded = written(network, folder, huffman=huffman)
        figures[step] = {"bytes": size, "ratio": round(whole / size, 1), "test_accuracy": bench.accuracy(loaded)}

    coded = {
        name: Choice(sparsity=1 - kept, pattern="fine", weight_bits=bits, weight_quantizer="kmeans")
        for name, (kept, bits) in recipe.layers.items()
    }
    pruned = {name: replace(choice, weight_bits=32) for name, choice in coded.items()}
    network = compress(bench.teacher, Configuration(pruned), default_methods(None, PRUNING))
    bench.train(network, recipe.pruning_epochs, recipe.pruning_rate)
    note("pruned", network, huffman=False)
    network = compress(bake(network).requires_grad_(True), Configuration(coded), default_methods(None))
    note("codebook, not trained", network, huffman=False)
    bench.train(network, recipe.codebook_epochs, recipe.codebook_rate)
    note("codebook", network, huffman=False)
    note("huffman", network, huffman=True)
    figures["formats"] = {t.name: f"{t.format}, {t.size_bytes} bytes" for t in contents(folder / "network.packed") if len(t.shape) > 1}
    return figures


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """What the work gives, and its seconds."""
    start = time.perf_counter()
    figures: dict[str, Any] = work()
    return figures | {"seconds": round(time.perf_counter() - start, 1)}


def main(data: str, *models: str) -> None:
    """Every network that is named, or all."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"published_ratio": PUBLISHED, "seed": SEED}
    for model in models or RECIPES:
        recipe = RECIPES[model]
        task = ClassificationTask(
            name="mnist", data=data, model=model, classes=10, mean=[0.1307], std=[0.3081], epochs=recipe.teacher_epochs
        )
        bench = Bench(task, task.teacher())
        with tempfile.TemporaryDirectory() as folder:
            figures[model] = asdict(recipe) | timed(partial(steps, recipe, bench, Path(folder)))
    record("deep_compression", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
