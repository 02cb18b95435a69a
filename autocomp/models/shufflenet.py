"""ShuffleNet (Zhang et al., CVPR 2018): grouped 1x1 convolutions, and a shuffle through which the groups meet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.errors import ConfigError
from autocomp.models.parts import Chain, GlobalAverage, Shape, conv, is_small, scaled, unit

STEM = 24
BLOCKS = (4, 8, 4)
WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Channels of the first stage for each number of groups: table 1."""


class ShuffleUnit(nn.Module):
    """Two grouped 1x1 convolutions, between them a shuffle and a depthwise one, and a way around them.

    Args:
        inputs: channels in.
        outputs: channels out; where there are more than ``inputs``, the block halves the image and concatenates both ways.
        groups: of the 1x1 convolutions.
        first_groups: of the first of them; in the first unit of a network it has too few channels for groups.
    """

    def __init__(self, inputs: int, outputs: int, groups: int, first_groups: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.strided = inputs != outputs
        made, stride = (outputs - inputs, 2) if self.strided else (outputs, 1)
        parts = unit("compress", conv(inputs, inner, 1, groups=first_groups, bias=False), norm=True)
        parts["shuffle"] = nn.ChannelShuffle(groups)
        parts |= unit("depth", conv(inner, inner, 3, stride, groups=inner, bias=False), norm=True, activation=None)
        self.body = Chain(parts | unit("expand", conv(inner, made, 1, groups=groups, bias=False), norm=True, activation=None))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both ways, side by side or added."""
        y: torch.Tensor = self.body(x)
        return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), y], 1)) if self.strided else F.relu(x + y)


class ShuffleNet(Chain):
    """A stem of 24 filters, three stages of units and one linear layer; ImageNet with 3 groups: 1.87 million parameters.

    Small images (below 96 pixels) meet neither stride nor pooling in the stem.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        groups: of the 1x1 convolutions; 1, 2, 3, 4 or 8.
        width: factor of all channels but those of the stem; as ``2`` in "ShuffleNet 2x".
        blocks: units per stage.

    Raises:
        ConfigError: another number of groups.
    """

    def __init__(self, classes: int, input_shape: Shape, *, groups: int = 3, width: float = 1.0, blocks: tuple[int, ...] = BLOCKS) -> None:
        if groups not in WIDTHS:
            raise ConfigError(f"ShuffleNet has {', '.join(map(str, WIDTHS))} groups, not {groups}.")
        small = is_small(input_shape)
        parts = unit("conv1", conv(input_shape[0], STEM, 3, 1 if small else 2, bias=False), norm=True)
        parts["pool1"] = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs, outputs = STEM, max(scaled(WIDTHS[groups], width, 4 * groups), scaled(STEM + 1, 1, 4 * groups))
        for stage, count in enumerate(blocks, start=2):
            for number in range(count):
                first_groups = 1 if stage == 2 and number == 0 else groups
                parts[f"stage{stage}_{number + 1}"] = ShuffleUnit(inputs, outputs, groups, first_groups)
                inputs = outputs
            outputs *= 2
        super().__init__(parts | {"average": GlobalAverage(), "fc": nn.Linear(inputs, classes)})
