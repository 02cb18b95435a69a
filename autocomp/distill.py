"""Short fine-tuning of a compressed network against its teacher (knowledge distillation, Hinton 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.errors import ConfigError


@dataclass(frozen=True)
class FineTuning:
    """How much fine-tuning a trial gets.

    Attributes:
        epochs: passes over the training images (or over ``images_per_epoch`` of them) per trial; 0 only calibrates.
        polish_epochs: the same for the finalists.
        polish_members: finalists at least: the front and, where it is small, the ranks behind it.
        learning_rate: of Adam, falling to zero along a cosine.
        batch_size: images per step.
        images_per_epoch: images drawn for one epoch; None for all.
        temperature: softens the logits of teacher and student.
        alpha: weight of the teacher's answer against the labels', in [0, 1].
        calibration_images: training images for batch-norm re-estimation and activation steps.

    Raises:
        ConfigError: if a value is out of range.
    """

    epochs: int = 3
    polish_epochs: int = 8
    polish_members: int = 20
    learning_rate: float = 2e-3
    batch_size: int = 64
    images_per_epoch: int | None = None
    temperature: float = 4.0
    alpha: float = 0.7
    calibration_images: int = 512

    def __post_init__(self) -> None:
        lowest = {"epochs": 0, "polish_epochs": 0, "polish_members": 1, "batch_size": 2, "calibration_images": 2}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ConfigError(f"`finetune.{name}` must be at least {low}, but is {getattr(self, name)}.")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"`finetune.{name}` must be positive, but is {getattr(self, name)}.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"`finetune.alpha` must lie in [0, 1], but is {self.alpha}.")
        if self.images_per_epoch is not None and self.images_per_epoch < self.batch_size:
            raise ConfigError(f"`finetune.images_per_epoch` must be at least a batch of {self.batch_size}, but is {self.images_per_epoch}.")


def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float) -> Tensor:
    """``alpha T^2 KL(teacher/T || student/T) + (1 - alpha) cross entropy`` [Hinton 2015, section 2], logits ``n x classes``."""
    given, wanted = (F.log_softmax(logits / temperature, 1) for logits in (student, teacher))
    soft = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)


def distill(
    student: nn.Module,
    teacher: Callable[[NDArray[np.int64]], Tensor],
    batch: Callable[[NDArray[np.int64]], tuple[Tensor, Tensor]],
    *,
    images: int,
    epochs: int,
    settings: FineTuning,
    generator: np.random.Generator,
) -> Iterator[int]:
    """Fine-tune in place; yields the number of images seen after each epoch, with the student in evaluation mode.

    Args:
        student: the compressed network.
        teacher: logits of the training images with the given numbers.
        batch: images and labels with the given numbers.
        images: training images there are.
        epochs: passes.
        settings: the rest.
        generator: shuffles.
    """
    drawn = min(settings.images_per_epoch or images, images)
    steps = max(drawn // settings.batch_size, 1)
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs * steps, 1))
    for _ in range(epochs):
        student.train()
        order = generator.permutation(images)[:drawn]
        for chunk in np.array_split(order, steps):
            x, labels = batch(chunk)
            loss = distillation_loss(student(x), teacher(chunk), labels, temperature=settings.temperature, alpha=settings.alpha)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        student.eval()
        yield drawn
