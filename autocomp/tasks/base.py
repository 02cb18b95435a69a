"""What a task is: labelled images, how a network takes them, and a trained teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from autocomp.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Labelled images; arrays may be read-only.

    Args:
        images: uint8, ``n x c x h x w``.
        labels: int64, ``n``.

    Raises:
        DataError: another type or shape, or no image at all.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise DataError(f"Images must be uint8, n x c x h x w, but are {self.images.dtype} of shape {self.images.shape}.")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} images need as many int64 labels, not {self.labels.dtype} of shape {self.labels.shape}.")
        if len(self) == 0:
            raise DataError("A set of images must hold at least one image, but it is empty.")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: NDArray[np.int64] | slice) -> ImageSet:
        """The images at ``indices``, in that order; a slice shares memory."""
        return ImageSet(self.images[indices], self.labels[indices])


class Task(Protocol):
    """A question that a network answers about images; a search sees train and validation only."""

    @property
    def name(self) -> str:
        """What the task is called."""

    @property
    def classes(self) -> int:
        """Labels are ``0 .. classes - 1``."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images scaled to [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of images scaled to [0, 1]."""

    def train(self) -> ImageSet:
        """For training, calibration and distillation."""

    def validation(self) -> ImageSet:
        """For choosing."""

    def test(self) -> ImageSet:
        """For reporting, once, at the end."""

    def teacher(self) -> nn.Module:
        """The trained network in eval mode: from its checkpoint, from the cache, or trained now; a new copy each time."""

    def describe(self) -> dict[str, Any]:
        """JSON data that rebuilds the task: ``_target_`` and the arguments."""


def split(images: ImageSet, size: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Part ``size`` images from the rest; every class gives its share, up to rounding.

    Returns:
        The rest and the part, each in the order of ``images``.

    Raises:
        DataError: nothing would be left, or nothing taken.
    """
    n = len(images)
    if not 0 < size < n:
        raise DataError(f"A part must leave and take at least one image, but {size} of {n} were asked for.")
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(images.labels[order], kind="stable")]
    # Systematic sampling: evenly spaced steps through the images sorted by class.
    is_part = np.zeros(n, dtype=bool)
    is_part[order[np.arange(size) * n // size]] = True
    return images.subset(np.flatnonzero(~is_part)), images.subset(np.flatnonzero(is_part))
