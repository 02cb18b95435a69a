"""One trial from start to end in one process: compress, calibrate, measure, distil, measure again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Configuration
from autocomp.compression import calibrate, compress
from autocomp.distill import FineTuning, distill
from autocomp.problem import Problem
from autocomp.tasks.base import ImageSet
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import measuring


@dataclass(frozen=True)
class Measurement:
    """What is known of a trial at one fidelity.

    Attributes:
        fidelity: epochs of fine-tuning so far; 0 is calibration alone.
        metrics: accuracy and loss on validation data, and every paper metric.
        image_passes: compute spent so far, one per image forward and three per image trained.
        duration_s: seconds so far.
        is_last: whether the planned fidelity is reached.
    """

    fidelity: float
    metrics: Mapping[str, float]
    image_passes: float
    duration_s: float
    is_last: bool


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Everything that a worker needs; sent there once. Arrays may be read-only.

    Attributes:
        problem: prices.
        network: the teacher, normalised, in evaluation mode; never changed.
        train, validation: images to fine-tune on and to choose by.
        mean, std: per channel, of images scaled to [0, 1].
        finetune: how long to train.
    """

    problem: Problem
    network: nn.Module
    train: ImageSet
    validation: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    finetune: FineTuning

    def run(self, configuration: Configuration, *, seed: int, epochs: int | None = None) -> Iterator[tuple[nn.Module, Measurement]]:
        """Measure a configuration after calibration and after each epoch; the same seed gives the same figures.

        Args:
            configuration: what to try.
            seed: of shuffling and of dropout.
            epochs: of fine-tuning; those of a trial by default.

        Yields:
            The network as it is, which the next step goes on training, and the measurement.
        """
        epochs = self.finetune.epochs if epochs is None else epochs
        start, generator = time.perf_counter(), np.random.default_rng(seed)
        paper = self.problem.metrics_of(configuration)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            student = compress(self.network, configuration, self.problem.methods)
            chosen = generator.permutation(len(self.train))[: self.finetune.calibration_images]
            passes = float(calibrate(student, self._batch(chosen)[0]))
            random_state = torch.get_rng_state()
        rounds = self._rounds(student, epochs, generator)
        for epoch in range(epochs + 1):
            if epoch:  # torch's own generator is shared with whoever else runs in this process: take ours up again
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(random_state)
                    known = len(self._logits)
                    passes += 3.0 * next(rounds)
                    passes += len(self._logits) - known  # the teacher's answers that were not kept yet
                    random_state = torch.get_rng_state()
            accuracy, loss = evaluate(student, self.validation, mean=self.mean, std=self.std)
            passes += len(self.validation)
            metrics = {"accuracy": accuracy, "loss": loss, **paper}
            yield student, Measurement(epoch, metrics, passes, time.perf_counter() - start, epoch == epochs)

    def _rounds(self, student: nn.Module, epochs: int, generator: np.random.Generator) -> Iterator[int]:
        return distill(
            student, self._teach, self._batch, images=len(self.train), epochs=epochs, settings=self.finetune, generator=generator
        )

    def _batch(self, numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return to_input(self.train.images[numbers], self.mean, self.std), torch.from_numpy(self.train.labels[numbers])

    @cached_property
    def _logits(self) -> dict[int, Tensor]:
        """The teacher's answers, kept: every epoch and every trial on this worker asks for the same images."""
        return {}

    def _teach(self, numbers: NDArray[np.int64]) -> Tensor:
        missing = np.array([n for n in numbers.tolist() if n not in self._logits], np.int64)
        if len(missing):
            with measuring(self.network):
                self._logits.update(zip(missing.tolist(), self.network(self._batch(missing)[0]), strict=True))
        return torch.stack([self._logits[n] for n in numbers.tolist()])
