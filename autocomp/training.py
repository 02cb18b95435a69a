"""Plain supervised training: how a teacher comes about when there is no checkpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from autocomp.errors import ConfigError

logger = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """SGD with a one-cycle learning rate and momentum (Smith and Topin, arXiv:1708.07120; the cycle is PyTorch's).

    Args:
        epochs: passes over the training images.
        batch: images per step.
        learning_rate: the peak of the cycle.
        weight_decay: of SGD.
        shift: images move by up to so many pixels each way, and black comes in.
        flip: half of the images are mirrored left to right.
        threads: processor threads; None leaves PyTorch's setting. Tiny images are fastest with one.

    Raises:
        ConfigError: a value is out of range.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    shift: int = 0
    flip: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.learning_rate <= 0 or self.shift < 0:
            raise ConfigError(f"Training needs epochs and batch >= 1, learning_rate > 0 and shift >= 0, but got {self}.")


def train(
    build: Callable[[], nn.Module],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    to_input: Callable[[torch.Tensor], torch.Tensor],
    recipe: Recipe,
    seed: int,
) -> nn.Module:
    """Build a network and train it; the same seed gives the same weights, and global generators stay as they were.

    Args:
        build: makes the network with fresh weights.
        images: ``n x c x h x w``.
        labels: ``n``.
        to_input: turns uint8 images into what the network takes.
        recipe: how to train.
        seed: of the first weights, the order of the images and their augmentation.

    Returns:
        The network in eval mode.

    Raises:
        ConfigError: the training diverged.
    """
    with torch.random.fork_rng(devices=[]), _threads(recipe.threads):
        torch.manual_seed(seed)
        model = build().train()
        steps = max(len(images) // recipe.batch, 1)
        decay = recipe.weight_decay
        optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=decay, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps)
        for epoch in range(1, recipe.epochs + 1):
            total = 0.0
            for batch, truth in _batches(images, labels, recipe, steps):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(to_input(batch)), truth)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += loss.item()
            logger.info("Teacher: epoch %d of %d, loss %.4f", epoch, recipe.epochs, total / steps)
            if not math.isfinite(total):
                raise ConfigError(f"The training diverged in epoch {epoch}; use a learning_rate below {recipe.learning_rate}.")
    return model.eval()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, steps: int) -> Iterator[Batch]:
    """Random batches of equal size; the few images left over sit this epoch out."""
    order = torch.randperm(len(images)).numpy()
    for rows in np.array_split(order[: steps * recipe.batch], steps):
        yield augment(torch.from_numpy(images[rows]), shift=recipe.shift, flip=recipe.flip), torch.from_numpy(labels[rows])


def augment(images: torch.Tensor, *, shift: int, flip: bool) -> torch.Tensor:
    """Move every image on its own by up to ``shift`` pixels, and mirror half of them if ``flip``."""
    n, c, h, w = images.shape
    if shift:
        padded = F.pad(images, (shift,) * 4)
        top, left = torch.randint(2 * shift + 1, (2, n, 1))
        rows = (top + torch.arange(h)).view(n, 1, h, 1)
        columns = (left + torch.arange(w)).view(n, 1, 1, w)
        images = padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(c).view(1, c, 1, 1), rows, columns]
    if flip:
        images = torch.where((torch.rand(n) < 0.5).view(n, 1, 1, 1), images.flip(3), images)
    return images
