"""GoogLeNet, or Inception v1 (Szegedy et al., CVPR 2015, table 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.models.parts import Chain, GlobalAverage, Shape, check_size, conv, is_small, scaled, unit

# filters of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5 and pool_proj
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Kernels of 1x1, 3x3 and 5x5 and a maximum side by side; their feature maps are concatenated.

    Args:
        inputs: channels in.
        filters: of ``1x1``, ``3x3_reduce``, ``3x3``, ``5x5_reduce``, ``5x5`` and ``pool_proj``.
        norm: whether batch norm follows each.
    """

    def __init__(self, inputs: int, filters: Sequence[int], *, norm: bool) -> None:
        super().__init__()
        one, three_reduce, three, five_reduce, five, projection = filters
        self.outputs = one + three + five + projection
        layers = {
            "1x1": conv(inputs, one, 1, bias=not norm),
            "3x3_reduce": conv(inputs, three_reduce, 1, bias=not norm),
            "3x3": conv(three_reduce, three, 3, bias=not norm),
            "5x5_reduce": conv(inputs, five_reduce, 1, bias=not norm),
            "5x5": conv(five_reduce, five, 5, bias=not norm),
            "pool_proj": conv(inputs, projection, 1, bias=not norm),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
            self.add_module(f"{name}_bn", nn.BatchNorm2d(layer.out_channels) if norm else nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The maps of all four branches."""
        return torch.cat(
            [
                self._rectified("1x1", x),
                self._rectified("3x3", self._rectified("3x3_reduce", x)),
                self._rectified("5x5", self._rectified("5x5_reduce", x)),
                self._rectified("pool_proj", F.max_pool2d(x, 3, 1, 1)),
            ],
            1,
        )

    def _rectified(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))


class GoogLeNet(Chain):
    """A stem, nine inception modules in three stages and one linear layer; ImageNet: 6 998 552 parameters.

    The side branches that helped to train the original, and its local response normalization, are left out. Small images
    (below 96 pixels) meet a 3x3 kernel without stride in ``conv1``, and no pooling before the first inception module.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        width: factor of all filters.
        batch_norm: behind every convolution (Ioffe and Szegedy, ICML 2015), without which it trains slowly.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, classes: int, input_shape: Shape, *, width: float = 1.0, batch_norm: bool = False) -> None:
        check_size("GoogLeNet", input_shape, 4)
        bias, small = not batch_norm, is_small(input_shape)
        narrow, inputs = scaled(64, width), scaled(192, width)
        kernel, stride, name = (3, 1, "3x3") if small else (7, 2, "7x7_s2")
        parts: dict[str, nn.Module] = {}
        parts["conv1"] = Chain(unit(name, conv(input_shape[0], narrow, kernel, stride, bias=bias), norm=batch_norm))
        parts["pool1"] = nn.Identity() if small else _halve()
        reduce, wide = conv(narrow, narrow, 1, bias=bias), conv(narrow, inputs, 3, bias=bias)
        parts["conv2"] = Chain(unit("3x3_reduce", reduce, norm=batch_norm) | unit("3x3", wide, norm=batch_norm))
        parts["pool2"] = nn.Identity() if small else _halve()
        for place, filters in INCEPTIONS.items():
            if place in {"4a", "5a"}:
                parts[f"pool{int(place[0]) - 1}"] = _halve()
            inception = Inception(inputs, [scaled(n, width) for n in filters], norm=batch_norm)
            parts[f"inception_{place}"] = inception
            inputs = inception.outputs
        parts |= {"average": GlobalAverage(), "drop": nn.Dropout(0.4)}
        super().__init__(parts | {"loss3": Chain({"classifier": nn.Linear(inputs, classes)})})


def _halve() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
