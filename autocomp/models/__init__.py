"""Reference networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from autocomp.errors import ConfigError, UnknownNameError
from autocomp.models.checkpoint import load_checkpoint
from autocomp.models.lenet import LeNet5
from autocomp.models.resnet import ResNet

__all__ = ["MODELS", "LeNet5", "ResNet", "build", "load_checkpoint"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "digits_resnet": partial(ResNet, blocks=(1, 2), widths=(16, 32), shortcut="B"),
    "lenet5": LeNet5,
    "resnet20": partial(ResNet, blocks=(3, 3, 3)),
    "resnet32": partial(ResNet, blocks=(5, 5, 5)),
    "resnet56": partial(ResNet, blocks=(9, 9, 9)),
}
"""Constructors; each takes ``classes``, ``input_shape`` (channels, height, width) and its own options."""


def build(name: str, *, classes: int, input_shape: tuple[int, int, int], **options: Any) -> nn.Module:
    """A network with fresh weights, drawn from torch's global generator.

    Raises:
        UnknownNameError: no network has this name.
        ConfigError: the network has no such option.
    """
    if name not in MODELS:
        raise UnknownNameError("network", name, MODELS)
    try:
        inspect.signature(MODELS[name]).bind(classes=classes, input_shape=input_shape, **options)
    except TypeError as error:
        raise ConfigError(f"Network '{name}' cannot be built from these options: {error}.") from None
    return MODELS[name](classes=classes, input_shape=input_shape, **options)
