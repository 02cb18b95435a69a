"""Deep Compression step by step (Han et al., ICLR 2016, tables 2 and 3): prune, share values, code; bytes of the written file."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import compress, default_methods
from autocomp.distill import FineTuning, distill
from autocomp.export import bake
from autocomp.problem import Problem
from autocomp.space import SearchSpace
from autocomp.storage import contents, pack, unpack
from autocomp.tasks import ClassificationTask
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import measuring, trace
from benchmarks.record import record

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
FINETUNING = FineTuning(learning_rate=1e-3, images_per_epoch=15_000, alpha=0.5)
PRUNING_EPOCHS, CODEBOOK_EPOCHS = 5, 2
RECIPES: Mapping[str, Mapping[str, tuple[float, int]]] = {
    "lenet300": {"fc1": (0.08, 6), "fc2": (0.09, 6), "fc3": (0.26, 6)},
    "lenet5": {"conv1": (0.66, 8), "conv2": (0.12, 8), "fc1": (0.08, 5), "fc2": (0.19, 5)},
}
"""Share of weights that is kept and bits of an index, as in the paper's tables 2 and 3."""

PUBLISHED = {"lenet300": 40, "lenet5": 39}


@dataclass(frozen=True, eq=False)
class Bench:
    """A task's images and teacher, and a training run on them."""

    task: ClassificationTask
    teacher: nn.Module

    def batch(self, numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Training images and labels."""
        images = self.task.train().subset(numbers)
        return to_input(images.images, self.task.mean, self.task.std), torch.from_numpy(images.labels.copy())

    def answers(self, numbers: NDArray[np.int64]) -> Tensor:
        """What the teacher says of training images."""
        with measuring(self.teacher):
            logits: Tensor = self.teacher(self.batch(numbers)[0])
        return logits

    def train(self, network: nn.Module, epochs: int) -> None:
        """Fine-tune in place."""
        generator = np.random.default_rng(0)
        images = len(self.task.train())
        for _ in distill(network, self.answers, self.batch, images=images, epochs=epochs, settings=FINETUNING, generator=generator):
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


def paper_bytes(network: nn.Module, configuration: Configuration, shape: tuple[int, int, int]) -> int:
    """What a search counts for the configuration."""
    workload = trace(network, shape)
    space = SearchSpace(workload.names, ())
    problem = Problem(workload, space, default_methods(None), None, (), {})  # type: ignore[arg-type]  # nothing is priced here
    return int(problem.lower(Choices.of([configuration], workload.names)).weight_storage_bits.sum()) // 8


def steps(model: str, bench: Bench, folder: Path) -> dict[str, Any]:
    """Bytes, ratio and accuracy after each step."""
    whole = sum(p.nbytes for p in bench.teacher.parameters())
    figures: dict[str, Any] = {"teacher": {"bytes": whole, "test_accuracy": bench.accuracy(bench.teacher)}}

    def note(step: str, network: nn.Module, *, huffman: bool) -> None:
        size, loaded = written(network, folder, huffman=huffman)
        figures[step] = {"bytes": size, "ratio": round(whole / size, 1), "test_accuracy": bench.accuracy(loaded)}

    recipe = RECIPES[model]
    coded = {
        name: Choice(sparsity=1 - kept, pattern="fine", weight_bits=bits, weight_quantizer="kmeans")
        for name, (kept, bits) in recipe.items()
    }
    pruned = {name: replace(choice, weight_bits=32) for name, choice in coded.items()}
    network = compress(bench.teacher, Configuration(pruned), default_methods(None))
    bench.train(network, PRUNING_EPOCHS)
    note("pruned", network, huffman=False)
    network = compress(bake(network).requires_grad_(True), Configuration(coded), default_methods(None))
    note("codebook, not trained", network, huffman=False)
    bench.train(network, CODEBOOK_EPOCHS)
    note("codebook", network, huffman=False)
    note("huffman", network, huffman=True)
    figures["on paper"] = {"bytes": paper_bytes(bench.teacher, Configuration(coded), bench.task.input_shape)}
    figures["formats"] = {t.name: f"{t.format}, {t.size_bytes} bytes" for t in contents(folder / "network.packed") if len(t.shape) > 1}
    return figures


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """What the work gives, and its seconds."""
    start = time.perf_counter()
    figures: dict[str, Any] = work()
    return figures | {"seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Every network that is named, or both."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {
        "images_per_epoch": FINETUNING.images_per_epoch,
        "pruning_epochs": PRUNING_EPOCHS,
        "codebook_epochs": CODEBOOK_EPOCHS,
        "published_ratio": PUBLISHED,
    }
    for model in sys.argv[1:] or RECIPES:
        task = ClassificationTask(name="mnist", data=MNIST, model=model, classes=10, mean=[0.1307], std=[0.3081], epochs=3)
        bench = Bench(task, task.teacher())
        with tempfile.TemporaryDirectory() as folder:
            figures[model] = timed(lambda model=model, bench=bench, folder=folder: steps(model, bench, Path(folder)))  # type: ignore[misc]
    record("deep_compression", figures)


if __name__ == "__main__":
    main()
