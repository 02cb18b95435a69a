"""What several families of networks are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from autocomp.errors import ConfigError

Shape = tuple[int, int, int]
LARGE = 96
"""Pixels from which on an image gets the stem of the ImageNet papers (large strided kernel, early pooling)."""


class Chain(nn.Sequential):
    """Modules with names of their own, one after the other."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__(OrderedDict(parts))


class GlobalAverage(nn.Module):
    """The mean of each feature map: ``b x c x h x w`` to ``b x c``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average over all pixels, however many there are."""
        return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)


def is_small(input_shape: Shape) -> bool:
    """Whether images are so small that a network must not begin by shrinking them."""
    return min(input_shape[1:]) < LARGE


def check_size(network: str, input_shape: Shape, least: int) -> None:
    """Refuse images of which nothing would be left.

    Raises:
        ConfigError: if a side is shorter than ``least`` pixels.
    """
    _, height, width = input_shape
    if min(height, width) < least:
        raise ConfigError(f"{network} needs images of at least {least}x{least}, but these are {height}x{width}; set task.image_size.")


def scaled(channels: float, width: float, multiple: int = 1) -> int:
    """A number of channels, ``width`` times as large, as the nearest multiple of a number; at least that."""
    return max(round(channels * width / multiple), 1) * multiple


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size of a feature map but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


def unit(
    name: str, layer: nn.Conv2d | nn.Linear, *, norm: bool = False, activation: type[nn.Module] | None = nn.ReLU
) -> dict[str, nn.Module]:
    """A layer called ``name`` with what follows it: ``name_bn`` and ``name_act``, where it has them."""
    parts: dict[str, nn.Module] = {name: layer}
    if norm:
        parts[f"{name}_bn"] = nn.BatchNorm2d(layer.out_channels) if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d(layer.out_features)
    if activation:
        parts[f"{name}_act"] = activation()
    return parts


def classifier(inputs: int, hidden: Sequence[int], classes: int, *, norm: bool = False) -> dict[str, nn.Module]:
    """Fully connected layers behind five stages of convolutions, ``fc6``, ``fc7``, ...; neurons drop out while training."""
    parts: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number, outputs in enumerate(hidden, start=6):
        parts |= unit(f"fc{number}", nn.Linear(inputs, outputs, bias=not norm), norm=norm)
        parts[f"fc{number}_drop"] = nn.Dropout()
        inputs = outputs
    return parts | {f"fc{6 + len(hidden)}": nn.Linear(inputs, classes)}


def pooled(side: int, kernel: int, stride: int, padding: int = 0, *, ceil: bool = False) -> int:
    """Pixels of a side after a window has slid over it; ``ceil`` lets the last window hang over (Caffe's pooling)."""
    return (side + 2 * padding - kernel + (stride - 1 if ceil else 0)) // stride + 1
