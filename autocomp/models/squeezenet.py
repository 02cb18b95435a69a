"""SqueezeNet (Iandola et al., arXiv:1602.07360)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.errors import ConfigError
from autocomp.models.parts import Chain, GlobalAverage, Shape, check_size, conv, is_small, scaled, unit

FIRES = (16, 16, 32, 32, 48, 48, 64, 64)  # filters of each squeeze layer, fire2 to fire9; each expands by 4 and 4
STEMS = {"1.0": (96, 7), "1.1": (64, 3)}  # filters and kernel of conv1
POOLED_AFTER = {"1.0": (1, 4, 8), "1.1": (1, 3, 5)}


class Fire(nn.Module):
    """A 1x1 convolution that squeezes, and one of 1x1 beside one of 3x3 that expand.

    Args:
        inputs: channels in.
        squeeze: filters of the first.
    """

    def __init__(self, inputs: int, squeeze: int) -> None:
        super().__init__()
        self.outputs = 8 * squeeze
        self.squeeze1x1 = conv(inputs, squeeze, 1)
        self.expand1x1, self.expand3x3 = conv(squeeze, 4 * squeeze, 1), conv(squeeze, 4 * squeeze, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The maps of both expanding layers."""
        x = F.relu(self.squeeze1x1(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(Chain):
    """``conv1``, eight fire modules and ``conv10``, which gives one map per class; 1.25 million parameters on ImageNet.

    Small images (below 96 pixels) meet no stride in ``conv1`` and no pooling behind it.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        version: "1.0", that of the paper, or "1.1", in which pooling comes earlier and which needs 2.4 times fewer operations.
        width: factor of all filters.

    Raises:
        ConfigError: another version, or the images are too small.
    """

    def __init__(self, classes: int, input_shape: Shape, *, version: str = "1.0", width: float = 1.0) -> None:
        if version not in STEMS:
            raise ConfigError(f"SqueezeNet's version is {' or '.join(map(repr, STEMS))}, not {version!r}.")
        check_size("SqueezeNet", input_shape, 8)
        small = is_small(input_shape)
        filters, kernel = STEMS[version]
        inputs = scaled(filters, width)
        first = conv(input_shape[0], inputs, kernel) if small else nn.Conv2d(input_shape[0], inputs, kernel, 2)
        parts = unit("conv1", first)
        for number, squeeze in enumerate(FIRES, start=1):
            if number in POOLED_AFTER[version] and not (small and number == 1):
                parts[f"pool{number}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            fire = Fire(inputs, scaled(squeeze, width))
            parts[f"fire{number + 1}"] = fire
            inputs = fire.outputs
        parts |= {"drop": nn.Dropout(), "conv10": conv(inputs, classes, 1)}
        super().__init__(parts | {"average": GlobalAverage()})
