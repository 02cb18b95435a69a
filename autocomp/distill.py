"""Short fine-tuning of a compressed network against its teacher (knowledge distillation, Hinton 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.errors import ConfigError

_LOWEST = {
    "epochs": 0,
    "polish_epochs": 0,
    "polish_members": 1,
    "batch_size": 2,
    "calibration_images": 2,
    "hint_weight": 0,
    "attention_weight": 0,
    "hint_layers": 1,
    "synthetic_images": 0,
    "synthetic_steps": 1,
    "noise_draws": 0,
    "shift": 0,
}


@dataclass(frozen=True)
class FineTuning:
    """How much fine-tuning a trial gets.

    Attributes:
        epochs: passes over the training images (or over ``images_per_epoch`` of them) per trial; 0 only calibrates.
        polish_epochs: the same for the finalists.
        polish_members: finalists at least: the front and, where it is small, the ranks behind it.
        polish_share: of a budget, kept for the finalists at most, in [0, 1).
        learning_rate: of Adam, falling to zero along a cosine.
        batch_size: images per step.
        images_per_epoch: images drawn for one epoch; None for all.
        shift: pixels that images are moved by at most, anew in each step; the teacher answers what the student sees (Beyer 2022).
        flip: whether half of them are mirrored, likewise.
        temperature: softens the logits of teacher and student.
        alpha: weight of the teacher's answer against the labels', in [0, 1].
        calibration_images: training images for batch-norm re-estimation and activation steps.
        equalize: whether the teacher's channels are scaled to even ranges before it is compressed (Nagel 2019).
        reconstruct: whether layers that are not quantized are fitted to the teacher's outputs by least squares (He 2017).
        correct_bias: whether biases take up the shift of a layer's mean output (Nagel 2019).
        hint_weight: of FitNets' hints (Romero 2015).
        attention_weight: of attention transfer (Zagoruyko 2017).
        hint_layers: convolutions, evenly spread over the depth, that hints and attention are about.
        synthetic_images: images made from the teacher's batch-norm statistics that take the place of all training images; 0 for none.
        synthetic_steps: of gradient descent that they are made in.
        gradient_bits: of gradients in fine-tuning (DoReFa-Net, Zhou 2016), 1 to 16; None for floating point.
        noise_draws: devices with numbers of their own on which a network is measured, where the hardware disturbs them; 0 for none.
        noise_aware: whether fine-tuning disturbs weights as the hardware does, anew in every step (Chen 2017a).
        fit_adc: whether a device's converters span the sums that each layer has, instead of the largest possible.
        remap: whether rows of weights are placed so that a device's stuck cells hurt least.

    Raises:
        ConfigError: if a value is out of range.
    """

    epochs: int = 3
    polish_epochs: int = 8
    polish_members: int = 20
    polish_share: float = field(default=0.5, repr=False)  # no trial depends on it
    learning_rate: float = 2e-3
    batch_size: int = 64
    images_per_epoch: int | None = None
    shift: int = 0
    flip: bool = False
    temperature: float = 4.0
    alpha: float = 0.7
    calibration_images: int = 512
    equalize: bool = False
    reconstruct: bool = False
    correct_bias: bool = False
    hint_weight: float = 0.0
    attention_weight: float = 0.0
    hint_layers: int = 3
    synthetic_images: int = 0
    synthetic_steps: int = 100
    gradient_bits: int | None = None
    noise_draws: int = 3
    noise_aware: bool = False
    fit_adc: bool = True
    remap: bool = False

    def __post_init__(self) -> None:
        for name, low in _LOWEST.items():
            if not getattr(self, name) >= low:
                raise ConfigError(f"`finetune.{name}` must be at least {low}, but is {getattr(self, name)}.")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"`finetune.{name}` must be positive, but is {getattr(self, name)}.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"`finetune.alpha` must lie in [0, 1], but is {self.alpha}.")
        if not 0 <= self.polish_share < 1:
            raise ConfigError(f"`finetune.polish_share` must lie in [0, 1), but is {self.polish_share}.")
        if self.images_per_epoch is not None and self.images_per_epoch < self.batch_size:
            raise ConfigError(f"`finetune.images_per_epoch` must be at least a batch of {self.batch_size}, but is {self.images_per_epoch}.")
        if self.gradient_bits is not None and self.gradient_bits not in range(1, 17):
            raise ConfigError(f"`finetune.gradient_bits` must be 1 to 16, or null for floating point, but is {self.gradient_bits}.")
        if self.synthetic_images and self.alpha < 1:
            raise ConfigError(f"`finetune.alpha` must be 1 with synthetic images, which have no labels, but is {self.alpha}.")

    @property
    def guides(self) -> bool:
        """Whether the student learns from the teacher's inner layers, too."""
        return self.hint_weight > 0 or self.attention_weight > 0

    @property
    def augments(self) -> bool:
        """Whether images are changed before they are learnt from, so that the teacher has to answer anew each time."""
        return self.shift > 0 or self.flip

    @property
    def passes_per_image(self) -> float:
        """Image passes that an image costs in one epoch: three for training, one each where the teacher runs beside it."""
        return 3.0 + self.guides + self.augments


def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float) -> Tensor:
    """``alpha T^2 KL(teacher/T || student/T) + (1 - alpha) cross entropy`` [Hinton 2015, section 2], logits ``n x classes``."""
    given, wanted = (F.log_softmax(logits / temperature, 1) for logits in (student, teacher))
    soft = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)


class Guide(Protocol):
    """A further loss, from what happens inside teacher and student; see `autocomp.hints`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained along with the student."""

    def watching(self) -> AbstractContextManager[Any]:
        """Watches both networks while it is entered."""

    def loss(self, images: Tensor) -> Tensor:
        """The loss of the student's last pass, which was on these images."""


Lesson = tuple[Tensor, Tensor, Tensor]  # images, their labels, and the teacher's logits for them


def distill(
    student: nn.Module,
    lesson: Callable[[NDArray[np.int64]], Lesson],
    *,
    images: int,
    epochs: int,
    settings: FineTuning,
    generator: np.random.Generator,
    guide: Guide | None = None,
    during: Callable[[], AbstractContextManager[Any]] = nullcontext,
    marks: Sequence[float] | None = None,
) -> Iterator[int]:
    """Fine-tune in place; yields the number of images seen since the last mark at each, with the student in evaluation mode.

    Where the marks are changes nothing of what is trained: the order of images and the schedule are those of the whole plan.
    Every module with a method ``advance`` is told after each step how much of the training is over, in (0, 1].

    Args:
        student: the compressed network.
        lesson: what there is to learn of the training images with the given numbers.
        images: training images there are.
        epochs: passes.
        settings: the rest.
        generator: shuffles.
        guide: a further loss.
        during: makes what is entered around each stretch of training.
        marks: epochs, increasing up to ``epochs``, to pause at, to the nearest step; None for the end of each epoch.
    """
    drawn = min(settings.images_per_epoch or images, images)
    steps = max(drawn // settings.batch_size, 1)
    trained = [*student.parameters(), *(guide.parameters() if guide else ())]
    optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs * steps, 1))
    advancing: list[Any] = [module for module in student.modules() if hasattr(module, "advance")]
    order: list[NDArray[np.int64]] = []  # of the epoch under way, cut into batches
    done = 0
    for mark in marks if marks is not None else range(1, epochs + 1):
        student.train()
        seen, goal = 0, round(mark * steps)
        with during(), guide.watching() if guide else nullcontext():
            for step in range(done, goal):
                if step % steps == 0:
                    order = np.array_split(generator.permutation(images)[:drawn], steps)
                chunk = order[step % steps]
                x, labels, logits = lesson(chunk)
                loss = distillation_loss(student(x), logits, labels, temperature=settings.temperature, alpha=settings.alpha)
                if guide:
                    loss = loss + guide.loss(x)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                seen += len(chunk)
                for module in advancing:
                    module.advance((step + 1) / (epochs * steps))
        done = goal
        student.eval()
        yield seen
