"""The task that needs no download: scikit-learn's handwritten digits, 8x8 pixels."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
from torch import nn

from autocomp import models
from autocomp.tasks.base import ImageSet, split
from autocomp.tasks.teacher import trained_teacher
from autocomp.training import Recipe

TEST, VALIDATION = 400, 397
"""Images of the 1797; the other 1000 are for training."""

SPLIT_SEED = 0
"""Fixed, so that figures from different seeds are about the same images."""


@cache
def _sets() -> tuple[ImageSet, ImageSet, ImageSet]:
    """Train, validation and test."""
    from sklearn.datasets import load_digits  # takes a second to import, which workers need not spend

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)  # grey levels are 0..16
    rest, test = split(ImageSet(images, labels.astype(np.int64)), TEST, SPLIT_SEED)
    train, validation = split(rest, VALIDATION, SPLIT_SEED)
    return train, validation, test


class DigitsTask:
    """Handwritten digits and a small residual network that learns them in seconds.

    Args:
        seed: of the teacher.
        epochs: of the teacher's training.
        model: a network of `autocomp.models`.

    Raises:
        ConfigError: fewer than one epoch.
    """

    name = "digits"
    classes = 10
    input_shape = (1, 8, 8)
    mean = (0.3051,)  # of the training images
    std = (0.3756,)

    def __init__(self, seed: int = 0, epochs: int = 40, model: str = "digits_resnet") -> None:
        self.seed = seed
        self.model = model
        self.recipe = Recipe(epochs=epochs, batch=64, learning_rate=0.1, shift=1, threads=1)

    def train(self) -> ImageSet:
        """1000 images."""
        return _sets()[0]

    def validation(self) -> ImageSet:
        """397 images."""
        return _sets()[1]

    def test(self) -> ImageSet:
        """400 images."""
        return _sets()[2]

    def teacher(self) -> nn.Module:
        """Trained on first use."""
        build = partial(models.build, self.model, classes=self.classes, input_shape=self.input_shape)
        return trained_teacher(build, self.train(), mean=self.mean, std=self.std, recipe=self.recipe, seed=self.seed)

    def describe(self) -> dict[str, Any]:
        """Target and arguments."""
        target = {"_target_": "autocomp.tasks.DigitsTask"}
        return target | {"seed": self.seed, "epochs": self.recipe.epochs, "model": self.model}
