"""Image classification on Parquet files in the layout of dataset hubs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autocomp import models
from autocomp.errors import ConfigError, DataError, UnknownNameError
from autocomp.tasks import decoding, shards
from autocomp.tasks.base import ImageSet, split
from autocomp.tasks.parquet import Columns
from autocomp.tasks.teacher import trained_teacher
from autocomp.training import Recipe

logger = logging.getLogger(__name__)

SPLIT_SEED = 0
"""Fixed, so that figures from different seeds are about the same images."""


class ClassificationTask:
    """Images and integer labels from Parquet, and a network of `autocomp.models`.

    Splits follow from file or folder names (``train-00000-of-00002.parquet``, ``test/0000.parquet``); a split that is
    missing is parted from the training images. Relative paths are taken from the current directory.

    Args:
        name: of the task.
        data: a file, a folder, a URL (``https://``, ``s3://``, ``gs://``, ``file://``), or a list of them.
        model: name of the network.
        model_options: what else the network takes, such as ``shortcut: B``.
        checkpoint: safetensors file of a trained network; without it the teacher is trained and cached.
        image_column: found out if not given.
        label_column: found out if not given.
        image_size: height and width to resize images to; without it all must have one size.
        classes: labels are ``0 .. classes - 1``; without it, one more than the largest training label.
        mean: per channel, of images scaled to [0, 1]; measured on the training images if not given.
        std: likewise.
        validation_fraction: of the training images, if there is no validation split, and likewise for test.
        limit: use at most so many images of each split, all classes in proportion.
        epochs: of the teacher's training.
        learning_rate: peak of the teacher's training.
        shift: pixels that training images are moved by at most.
        flip: whether training images are mirrored.
        seed: of the teacher's training.

    Raises:
        UnknownNameError: no such network.
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        *,
        name: str,
        data: str | Path | Sequence[str],
        model: str,
        model_options: dict[str, Any] | None = None,
        checkpoint: str | Path | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        image_size: int | None = None,
        classes: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        validation_fraction: float = 0.1,
        limit: int | None = None,
        epochs: int = 20,
        learning_rate: float = 0.05,
        shift: int = 0,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        if model not in models.MODELS:
            raise UnknownNameError("network", model, models.MODELS)
        if not 0 < validation_fraction < 1 or any(value is not None and value < 1 for value in (limit, image_size, classes)):
            raise ConfigError(
                "A task needs 0 < validation_fraction < 1, and limit, image_size and classes >= 1 where given, "
                f"but got {validation_fraction}, {limit}, {image_size} and {classes}."
            )
        self.name = name
        self.model = model
        self.model_options = dict(model_options or {})
        self.data = [_absolute(location) for location in ([data] if isinstance(data, str | Path) else data)]
        self.checkpoint = None if checkpoint is None else _absolute(checkpoint)
        self.columns = Columns(image_column, label_column)
        self.image_size = image_size
        self.validation_fraction = validation_fraction
        self.limit = limit
        self.recipe = Recipe(epochs=epochs, learning_rate=learning_rate, shift=shift, flip=flip)
        self.seed = seed
        self._classes, self._mean, self._std = classes, mean, std

    @cached_property
    def _decoded(self) -> dict[str, ImageSet]:
        """The splits as they lie in the files; all at once, so that a damaged test set shows before a search."""
        found = shards.find(self.data)
        decode = partial(decoding.images, columns=self.columns, image_size=self.image_size)
        train = decode(found["train"], shape=None)
        c, h, w = train.images.shape[1:]
        return {"train": train} | {name: decode(found[name], shape=(c, h, w)) for name in found if name != "train"}

    @cached_property
    def _sets(self) -> dict[str, ImageSet]:
        """Train, validation and test as the search uses them."""
        sets = dict(self._decoded)
        for name, images in sets.items():
            _check_labels(name, images.labels, self.classes)
        size = max(round(self.validation_fraction * len(sets["train"])), 1)
        for name in ("test", "validation"):
            if name not in sets:
                logger.info("The data has no %s split; %d training images are set apart for it", name, size)
                sets["train"], sets[name] = split(sets["train"], size, SPLIT_SEED)
        return {name: self._limited(images) for name, images in sets.items()}

    def _limited(self, images: ImageSet) -> ImageSet:
        return images if self.limit is None or self.limit >= len(images) else split(images, self.limit, SPLIT_SEED)[1]

    @property
    def classes(self) -> int:
        """Labels are ``0 .. classes - 1``."""
        return self._classes or int(self._decoded["train"].labels.max()) + 1

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        c, h, w = self._decoded["train"].images.shape[1:]
        return c, h, w

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images scaled to [0, 1]."""
        return self._scale[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of images scaled to [0, 1]."""
        return self._scale[1]

    @cached_property
    def _scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation, those that were not given measured on the training images."""
        measured = (None, None) if self._mean and self._std else channel_statistics(self._decoded["train"].images)
        mean, std = (tuple(map(float, given or found or ())) for given, found in zip((self._mean, self._std), measured, strict=True))
        if not len(mean) == len(std) == self.input_shape[0] or min(std) <= 0:
            raise ConfigError(f"mean and std need one value for each of {self.input_shape[0]} channels, std > 0, not {mean} and {std}.")
        return mean, std

    def train(self) -> ImageSet:
        """Images to learn from."""
        return self._sets["train"]

    def validation(self) -> ImageSet:
        """Images to choose by."""
        return self._sets["validation"]

    def test(self) -> ImageSet:
        """Images to report on."""
        return self._sets["test"]

    def teacher(self) -> nn.Module:
        """From the checkpoint, else trained on first use.

        Raises:
            CheckpointError: the checkpoint does not fit the network.
        """
        build = partial(models.build, self.model, classes=self.classes, input_shape=self.input_shape, **self.model_options)
        if self.checkpoint is None:
            return trained_teacher(build, self.train(), mean=self.mean, std=self.std, recipe=self.recipe, seed=self.seed)
        with torch.random.fork_rng(devices=[]):
            model = build()
        models.load_checkpoint(model, self.checkpoint)
        return model.eval()

    def describe(self) -> dict[str, Any]:
        """Target and arguments; what was found in the data is written out, so that other data is treated alike."""
        return {
            "_target_": "autocomp.tasks.ClassificationTask",
            "name": self.name,
            "data": self.data,
            "model": self.model,
            "model_options": self.model_options,
            "checkpoint": self.checkpoint,
            "image_column": self.columns.image,
            "label_column": self.columns.label,
            "image_size": self.image_size,
            "classes": self.classes,
            "mean": list(self.mean),
            "std": list(self.std),
            "validation_fraction": self.validation_fraction,
            "limit": self.limit,
            "epochs": self.recipe.epochs,
            "learning_rate": self.recipe.learning_rate,
            "shift": self.recipe.shift,
            "flip": self.recipe.flip,
            "seed": self.seed,
        }


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of images scaled to [0, 1]; a constant channel gets one grey level."""
    pixels = images[:, 0].size
    # einsum sums in small buffers; images.std() would need eight times the images' memory.
    squares = np.einsum("nchw,nchw->c", images, images, dtype=np.int64, casting="unsafe")
    mean = images.sum(axis=(0, 2, 3), dtype=np.int64) / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 1))
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _absolute(location: str | Path) -> str:
    """A local path as seen from everywhere: workers and later commands may run in other directories."""
    return str(location) if "://" in str(location) else str(Path(location).expanduser().absolute())


def _check_labels(name: str, labels: NDArray[np.int64], classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        row = int(wrong[0])
        raise DataError(f"Labels must lie in 0..{classes - 1} for {classes} classes, but row {row} of the {name} split has {labels[row]}.")
