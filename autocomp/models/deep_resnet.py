"""Residual networks of four stages for ImageNet, and ResNeXt (He et al., CVPR 2016, table 1; Xie et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.errors import ConfigError
from autocomp.models.parts import Shape, conv, is_small
from autocomp.models.squeeze_excite import scaling

FAN = 4
"""How many times more channels leave a bottleneck than its stage is wide."""


class Block(nn.Module):
    """Convolutions ``conv1``, ... with batch norm, and a way around them, a 1x1 convolution where the shape changes.

    Args:
        inputs: channels in.
        convolutions: one after the other.
        reduction: of squeeze and excitation, 0 for none.
    """

    def __init__(self, inputs: int, convolutions: Sequence[nn.Conv2d], reduction: int) -> None:
        super().__init__()
        self.depth, stride = len(convolutions), 1
        for number, convolution in enumerate(convolutions, start=1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
            stride *= int(convolution.stride[0])
        outputs = convolutions[-1].out_channels
        self.scale = scaling(outputs, reduction)
        changes = stride > 1 or inputs != outputs
        shortcut = (conv(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)) if changes else ()
        self.downsample = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rectified sum of both ways."""
        y = x
        for number in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            y = F.relu(y) if number < self.depth else y
        return F.relu(self.scale(y) + self.downsample(x))


class DeepResNet(nn.Module):
    """A stem, stages ``layer1``, ... of blocks, average pooling and one linear layer, with the names of torchvision.

    Small images (below 96 pixels) meet a 3x3 kernel in the stem, others one of 7x7 with stride, and pooling.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        blocks: per stage.
        bottleneck: whether blocks are 1x1, 3x3, 1x1 instead of twice 3x3.
        widths: channels per stage; each stage but the first halves the image.
        stem: filters of the first convolution.
        groups: of the 3x3 convolution of a bottleneck (ResNeXt's cardinality).
        group_width: channels of each group in a stage of width 64, the "4d" of "32x4d".
        early_stride: whether a bottleneck halves in its first 1x1 convolution, as in the paper, instead of the 3x3 one.
        reduction: of squeeze and excitation, 0 for none.

    Raises:
        ConfigError: the groups do not divide the channels, or blocks of two convolutions are to have groups.
    """

    def __init__(
        self,
        classes: int,
        input_shape: Shape,
        *,
        blocks: Sequence[int],
        bottleneck: bool = False,
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: int = 64,
        groups: int = 1,
        group_width: int = 64,
        early_stride: bool = False,
        reduction: int = 0,
    ) -> None:
        super().__init__()
        if groups > 1 and not bottleneck:
            raise ConfigError(f"Only the bottlenecks of a residual network have groups, but {groups} groups were asked for without them.")
        small, inputs = is_small(input_shape), stem
        self.conv1, self.bn1 = conv(input_shape[0], stem, *((3, 1) if small else (7, 2)), bias=False), nn.BatchNorm2d(stem)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = [f"layer{stage}" for stage in range(1, len(blocks) + 1)]
        for name, width, count in zip(self.stages, widths, blocks, strict=True):
            stage = nn.Sequential()
            for number in range(count):
                stride = 2 if number == 0 and name != "layer1" else 1
                layers = (
                    _bottleneck(inputs, width, stride, groups=groups, group_width=group_width, early=early_stride)
                    if bottleneck
                    else [conv(inputs, width, 3, stride, bias=False), conv(width, width, 3, bias=False)]
                )
                stage.append(Block(inputs, layers, reduction))
                inputs = layers[-1].out_channels
            self.add_module(name, stage)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _bottleneck(inputs: int, width: int, stride: int, *, groups: int, group_width: int, early: bool) -> list[nn.Conv2d]:
    inner, rest = divmod(width * group_width, 64)
    if rest or inner == 0:
        raise ConfigError(f"A stage's width times group_width must be a multiple of 64, but {width} x {group_width} is not.")
    inner *= groups
    first, second = (stride, 1) if early else (1, stride)
    return [
        conv(inputs, inner, 1, first, bias=False),
        conv(inner, inner, 3, second, groups=groups, bias=False),
        conv(inner, FAN * width, 1, bias=False),
    ]
