"""One trial from start to end in one process: compress, calibrate, measure, distil, measure again."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choices, Configuration, designs_of
from autocomp.compression import Calibration, calibrate, compress
from autocomp.compression.devices import on_device
from autocomp.compression.equalization import equalize
from autocomp.compression.nonideal import Nonidealities, train_disturbed
from autocomp.compression.quantizers.gradients import low_bit_gradients
from autocomp.compression.repair import repair
from autocomp.distill import FineTuning, Lesson, distill
from autocomp.hints import InnerGuide
from autocomp.probing import Prober
from autocomp.problem import Problem
from autocomp.sensitivity import Sensitivity
from autocomp.storage import packed_size
from autocomp.synthesis import synthesize
from autocomp.tasks.base import ImageSet
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import Shape, blank, measuring
from autocomp.training import augment
from hwmodels.design import Adjustable


@dataclass(frozen=True)
class Measurement:
    """What is known of a trial at one fidelity.

    Attributes:
        fidelity: epochs of fine-tuning so far, to the nearest step; 0 is calibration alone.
        metrics: accuracy and loss on validation data, and every paper metric; at the end ``size_bytes`` is the length of the packed
            file. Where the device disturbs the numbers, accuracy and loss are means over several devices, and ``accuracy_std`` is
            the standard deviation of the accuracy from one to the next.
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
        student: what is compressed, if it is another network than the teacher; normalised, in evaluation mode, never changed.
    """

    problem: Problem
    network: nn.Module
    train: ImageSet
    validation: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    finetune: FineTuning
    student: nn.Module | None = None

    def run(
        self,
        configuration: Configuration,
        *,
        seed: int,
        epochs: int | None = None,
        levels: Sequence[float] = (),
        only_last: bool = False,
        other_devices: bool = False,
    ) -> Iterator[tuple[nn.Module, Measurement]]:
        """Measure a configuration after calibration and after each epoch; the same seed gives the same figures.

        Args:
            configuration: what to try.
            seed: of shuffling and of dropout.
            epochs: of fine-tuning; those of a trial by default.
            levels: further fidelities to measure at, parts of an epoch; what is trained does not depend on them.
            only_last: whether nothing is measured on the way.
            other_devices: whether it is measured on devices that trials are not measured on, where the hardware disturbs the numbers: what
                was chosen among trials was lucky with theirs.

        Yields:
            The network as it is, which the next step goes on training, and the measurement.
        """
        epochs = self.finetune.epochs if epochs is None else epochs
        start, generator = time.perf_counter(), np.random.default_rng(seed)
        paper, device = self.problem.metrics_of(configuration), self.nonidealities(configuration)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            student, passes = self._compressed(configuration, generator)
            if device and self.finetune.noise_aware:
                train_disturbed(student, device)
            on_the_way = () if only_last else (*range(epochs), *(level for level in levels if 0 < level < epochs))
            fidelities = sorted({*on_the_way, epochs})
            rounds = self._rounds(student, epochs, generator, [fidelity for fidelity in fidelities if fidelity])
            random_state = torch.get_rng_state()
        for fidelity in fidelities:
            if fidelity:  # torch's own generator is shared with whoever else runs in this process: take ours up again
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(random_state)
                    known = len(self._logits)
                    passes += self.finetune.passes_per_image * next(rounds)
                    passes += len(self._logits) - known  # the teacher's answers that were not kept yet
                    random_state = torch.get_rng_state()
            measured, images = self._measure(student, device, other=other_devices)
            passes += images
            if fidelity == epochs:
                measured["size_bytes"] = float(packed_size(student)[0])
            yield student, Measurement(fidelity, {**paper, **measured}, passes, time.perf_counter() - start, fidelity == epochs)

    def planned_passes(self, epochs: int, *, only_last: bool = False) -> float:
        """What a trial of so many epochs is about to cost, the teacher's answers that are kept not included."""
        drawn = min(self.finetune.images_per_epoch or self._count, self._count)
        draws = self.finetune.noise_draws if self.finetune.noise_draws and self.nonidealities(Configuration({})) else 1
        training = self.finetune.passes_per_image * epochs * drawn
        measured = 1 if only_last else epochs + 1
        return min(self.finetune.calibration_images, self._count) + training + measured * draws * len(self.validation)

    def prober(self, images: int, *, seed: int) -> Prober:
        """What measures configurations before any training, as a trial would compress them, on images that trials learn from, too.

        Args:
            images: how many, at most as many as there are.
            seed: draws them.
        """
        chosen = np.sort(np.random.default_rng(seed).permutation(self._count)[:images])
        given, labels = self._batch(chosen)
        macs = self.problem.workload.macs
        behind = np.cumsum(macs[::-1])[::-1] / max(macs.sum(), 1)
        return Prober(
            self._origin,
            self.problem.methods,
            given,
            labels if self.finetune.alpha < 1 else None,
            shares=dict(zip(self.problem.workload.names, behind.tolist(), strict=True)),
            reconstruct=self.finetune.reconstruct,
            correct_bias=self.finetune.correct_bias,
            frozen=self.problem.space.frozen,
        )

    def taught(self, student: nn.Module, *, epochs: int, seed: int) -> nn.Module:
        """A network trained in place by distillation from the teacher, in evaluation mode; the same seed gives the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = replace(self, student=student)
            for _ in learner._rounds(student, epochs, np.random.default_rng(seed), range(1, epochs + 1)):
                pass
        return student.eval()

    def untouched(self) -> Measurement | None:
        """What the network is worth on a disturbed device before anything is done to it, without training; None on other devices."""
        if self.nonidealities(Configuration({})) is None:
            return None
        ((_, measured),) = self.run(Configuration({}), seed=0, epochs=0)
        return measured

    def knowing(self, sensitivity: Sensitivity, untouched: Measurement | None = None) -> Evaluator:
        """The same with a problem that knows what was measured; what was computed already is kept."""
        knowing = copy.copy(self)
        known = (
            {}
            if untouched is None
            else {name: untouched.metrics[name] for name in ("accuracy", "loss") if np.isfinite(untouched.metrics[name])}
        )
        object.__setattr__(knowing, "problem", replace(self.problem, sensitivity=sensitivity, untouched=known))
        return knowing

    def nonidealities(self, configuration: Configuration) -> Nonidealities | None:
        """What the device of a configuration does to the numbers; None where it does nothing, or nothing of it is asked for."""
        if not (self.finetune.noise_draws or self.finetune.noise_aware):
            return None
        workload, hardware = self.problem.lower(Choices.of([configuration], self.problem.workload.names)), self.problem.hardware
        designs = designs_of([configuration])
        if designs and isinstance(hardware, Adjustable):
            return Nonidealities.of(hardware.disturb_designs(designs, workload))
        return Nonidealities.of(hardware.nonidealities(workload))

    def _compressed(self, configuration: Configuration, generator: np.random.Generator) -> tuple[nn.Module, float]:
        """The network to begin with, calibrated, and the images that went through a network for it."""
        is_made = "_synthetic" in self.__dict__
        chosen = generator.permutation(self._count)[: self.finetune.calibration_images]
        images, labels = self._batch(chosen)
        made = 0.0 if is_made else 3.0 * self.finetune.synthetic_images * self.finetune.synthetic_steps
        calibration = Calibration(images, labels if self.finetune.alpha < 1 else None)
        student = compress(self._origin, configuration, self.problem.methods, calibration)
        passes = calibrate(student, images) + sum(calibration.passes) + made
        fits, frozen = self.finetune, self.problem.space.frozen
        passes += repair(student, self._origin, images, layers=fits.reconstruct, biases=fits.correct_bias, frozen=frozen)
        for name in frozen:
            student.get_submodule(name).requires_grad_(False)
        return student, float(passes)

    def _measure(self, student: nn.Module, device: Nonidealities | None, *, other: bool) -> tuple[dict[str, float], int]:
        """Accuracy and loss on validation data, and how many images that took."""
        draws = self.finetune.noise_draws if device else 0
        if not device or not draws:
            accuracy, loss = evaluate(student, self.validation, mean=self.mean, std=self.std)
            return {"accuracy": accuracy, "loss": loss}, len(self.validation)
        settings = {"fit_adc": self.finetune.fit_adc, "remap": self.finetune.remap}
        built = (on_device(student, device, draw=draw + other * draws, **settings) for draw in range(draws))
        found = np.array([evaluate(network, self.validation, mean=self.mean, std=self.std) for network in built])
        accuracy, loss = found.mean(0).tolist()
        spread = float(found[:, 0].std(ddof=1)) if draws > 1 else 0.0
        return {"accuracy": accuracy, "loss": loss, "accuracy_std": spread}, draws * len(self.validation)

    def _rounds(self, student: nn.Module, epochs: int, generator: np.random.Generator, marks: Sequence[float]) -> Iterator[int]:
        settings = self.finetune
        guide = None
        if settings.guides and epochs:
            weights = {"hint_weight": settings.hint_weight, "attention_weight": settings.attention_weight}
            guide = InnerGuide(student, self.network, self._shape, **weights, layers=settings.hint_layers, origin=self.student)
        return distill(
            student,
            self._lesson,
            images=self._count,
            epochs=epochs,
            settings=settings,
            generator=generator,
            guide=guide,
            during=partial(low_bit_gradients, student, settings.gradient_bits),
            marks=marks,
        )

    @property
    def _shape(self) -> Shape:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @cached_property
    def _origin(self) -> nn.Module:
        """What is compressed: the student of its own or the teacher, or an equal network whose channels have even ranges."""
        whole = self.network if self.student is None else self.student
        return equalize(whole) if self.finetune.equalize else whole

    @cached_property
    def _synthetic(self) -> Tensor:
        """Images that take the place of the training images; every trial on this worker learns from the same."""
        with measuring(self.network):
            classes = self.network(blank(self.network, self._shape)).shape[1]
        count, steps = self.finetune.synthetic_images, self.finetune.synthetic_steps
        made = synthesize(self.network, self._shape, count=count, classes=classes, steps=steps)
        return made.contiguous(memory_format=torch.channels_last)

    @property
    def _count(self) -> int:
        """Images to learn from."""
        return self.finetune.synthetic_images or len(self.train)

    def _batch(self, numbers: NDArray[np.int64], *, shift: int = 0, flip: bool = False) -> tuple[Tensor, Tensor]:
        if self.finetune.synthetic_images:
            made = augment(self._synthetic[numbers], shift=shift, flip=flip)
            return made, torch.zeros(len(numbers), dtype=torch.int64)  # they have no labels
        images = augment(torch.from_numpy(self.train.images[numbers]), shift=shift, flip=flip)
        return to_input(images, self.mean, self.std), torch.from_numpy(self.train.labels[numbers])

    @cached_property
    def _logits(self) -> dict[int, Tensor]:
        """The teacher's answers, kept: every epoch and every trial on this worker asks for the same images."""
        return {}

    def _lesson(self, numbers: NDArray[np.int64]) -> Lesson:
        if not self.finetune.augments:
            return *self._batch(numbers), self._answers(numbers)
        images, labels = self._batch(numbers, shift=self.finetune.shift, flip=self.finetune.flip)
        with measuring(self.network):
            return images, labels, self.network(images)

    def _answers(self, numbers: NDArray[np.int64]) -> Tensor:
        missing = np.array([n for n in numbers.tolist() if n not in self._logits], np.int64)
        if len(missing):
            with measuring(self.network):
                self._logits.update(zip(missing.tolist(), self.network(self._batch(missing)[0]), strict=True))
        return torch.stack([self._logits[n] for n in numbers.tolist()])
