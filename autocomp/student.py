"""A compact student: a smaller network that learns from the teacher once, and is then compressed in the teacher's place."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from autocomp import cache, distill, hints
from autocomp.distill import FineTuning
from autocomp.errors import ConfigError
from autocomp.evaluate import Evaluator
from autocomp.models import arrays, build, restored
from autocomp.progress import Progress
from autocomp.tasks.base import Task
from autocomp.tasks.images import evaluate

OF_TEACHING = (
    "temperature",
    "alpha",
    "batch_size",
    "images_per_epoch",
    "shift",
    "flip",
    "hint_weight",
    "attention_weight",
    "hint_layers",
    "gradient_bits",
)
"""Settings of fine-tuning by which a student is taught, too."""

OF_IMAGES = ("synthetic_images", "synthetic_steps")


@dataclass(frozen=True)
class StudentSettings:
    """Which network learns from the teacher, and for how long; what it learns from, and how, is said by `FineTuning`.

    Attributes:
        model: a network of `autocomp.models`; None compresses the teacher.
        options: what else the network takes.
        epochs: passes over the training images.
        learning_rate: of Adam, falling to zero along a cosine.
        seed: of the first weights and of the order of the images.

    Raises:
        ConfigError: if a value is out of range.
    """

    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 20
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"`student.{name}` must be at least {low}, but is {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ConfigError(f"`student.learning_rate` must be positive, but is {self.learning_rate}.")
        if self.model is None and self.options:
            raise ConfigError(f"`student.options` belong to a `student.model`, but that is null; the options are {self.options}.")


def untaught_student(settings: StudentSettings, task: Task) -> nn.Module | None:
    """The student with fresh weights, in evaluation mode; None where the teacher is to be compressed.

    Raises:
        UnknownNameError: if there is no such network.
        ConfigError: if the network does not take the options or the images.
    """
    if settings.model is None:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build(settings.model, classes=task.classes, input_shape=task.input_shape, **settings.options).eval()


def taught(student: nn.Module, settings: StudentSettings, lessons: Evaluator, progress: Progress) -> nn.Module:
    """The student in evaluation mode, trained in place by distillation, or with the weights from the cache.

    Args:
        student: with fresh weights.
        settings: for how long.
        lessons: teacher, images and way of distillation; its own problem is not asked.
        progress: is told what is going on.
    """
    path = cache.directory() / "students" / f"{_key(settings, student, lessons)}.safetensors"
    if not restored(student, path):
        progress.stage(f"teaching the student {settings.model}, {settings.epochs} epochs")
        lessons = replace(lessons, finetune=replace(lessons.finetune, learning_rate=settings.learning_rate))
        lessons.taught(student, epochs=settings.epochs, seed=settings.seed)
        cache.store(path, lambda new: save_file(student.state_dict(), new))
    accuracy, _ = evaluate(student, lessons.validation, mean=lessons.mean, std=lessons.std)
    progress.stage(f"the student {settings.model} is compressed in the teacher's place; its accuracy is {accuracy:.3f}")
    return student.eval()


def _key(settings: StudentSettings, student: nn.Module, lessons: Evaluator) -> str:
    """A name made from everything that shapes the weights."""
    code = [inspect.getsource(module) for module in (sys.modules[type(student).__module__], distill, hints)]
    teacher = arrays(lessons.network)
    about = [asdict(settings), str(student), list(teacher), lessons.mean, lessons.std, _teaching(lessons.finetune), code]
    images = (lessons.train.images, lessons.train.labels)
    return cache.digest(*images, about, *teacher.values())


def _teaching(finetune: FineTuning) -> dict[str, Any]:
    names = (*OF_TEACHING, *(OF_IMAGES if finetune.synthetic_images else ()))
    return {name: getattr(finetune, name) for name in names}
