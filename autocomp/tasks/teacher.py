"""A teacher that is trained once and then comes from the cache."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
from safetensors.torch import save_file
from torch import nn

from autocomp import cache, training
from autocomp.models import restored
from autocomp.tasks.base import ImageSet
from autocomp.tasks.images import to_input

logger = logging.getLogger(__name__)


def trained_teacher(
    build: Callable[[], nn.Module],
    images: ImageSet,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    recipe: training.Recipe,
    seed: int,
) -> nn.Module:
    """The trained network in eval mode, from the cache if the same one was trained before.

    The entry's name is made from everything that shapes the weights: images, labels and their scaling, the network, the
    recipe, the seed, and the source code of both the network and the training.
    """
    with torch.random.fork_rng(devices=[]):
        model = build()
    code = [inspect.getsource(module) for module in (sys.modules[type(model).__module__], training)]
    key = cache.digest(images.images, images.labels, [mean, std], str(model), asdict(recipe), seed, code)
    path = cache.directory() / "teachers" / f"{key}.safetensors"
    if restored(model, path):
        return model.eval()
    logger.info("Training a %s on %d images, %d epochs", type(model).__name__, len(images), recipe.epochs)
    scale = partial(to_input, mean=mean, std=std)
    model = training.train(build, images.images, images.labels, to_input=scale, recipe=recipe, seed=seed)
    cache.store(path, lambda new: save_file(model.state_dict(), new))
    return model
