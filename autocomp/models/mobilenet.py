"""MobileNets: depthwise separable convolutions (Howard et al., arXiv:1704.04861; Sandler et al., CVPR 2018)."""

from __future__ import annotations

import torch
from torch import nn

from autocomp.models.parts import Chain, GlobalAverage, Shape, conv, is_small, scaled, unit

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Filters of each pointwise convolution, stride of the depthwise one before it."""
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first: Sandler et al., table 2."""


class MobileNetV1(Chain):
    """``conv1``, then depthwise (``dw``) and pointwise (``pw``) convolutions in turn; ImageNet: 4.23 million parameters.

    Small images (below 96 pixels) meet no stride in ``conv1``.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        width: factor of all filters, the paper's alpha.
        multiple: of which all channels are one.
    """

    def __init__(self, classes: int, input_shape: Shape, *, width: float = 1.0, multiple: int = 8) -> None:
        inputs = scaled(32, width, multiple)
        first = conv(input_shape[0], inputs, 3, 1 if is_small(input_shape) else 2, bias=False)
        parts = unit("conv1", first, norm=True)
        for number, (channels, stride) in enumerate(V1, start=1):
            outputs = scaled(channels, width, multiple)
            parts |= unit(f"dw{number}", conv(inputs, inputs, 3, stride, groups=inputs, bias=False), norm=True)
            parts |= unit(f"pw{number}", conv(inputs, outputs, 1, bias=False), norm=True)
            inputs = outputs
        super().__init__(parts | {"average": GlobalAverage(), "fc": nn.Linear(inputs, classes)})


class InvertedResidual(nn.Module):
    """Channels are widened by a 1x1 convolution, filtered one by one, and narrowed without a non-linearity.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the depthwise convolution.
        expansion: how many times wider the block is inside.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        parts: dict[str, nn.Module] = {}
        if expansion > 1:
            parts |= unit("expand", conv(inputs, inner, 1, bias=False), norm=True, activation=nn.ReLU6)
        parts |= unit("depth", conv(inner, inner, 3, stride, groups=inner, bias=False), norm=True, activation=nn.ReLU6)
        self.body = Chain(parts | unit("project", conv(inner, outputs, 1, bias=False), norm=True, activation=None))
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways, where the shape is the same."""
        y: torch.Tensor = self.body(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(Chain):
    """``conv1``, inverted residual blocks, ``conv2`` and one linear layer; ImageNet: 3.50 million parameters.

    Small images (below 96 pixels) meet no stride in ``conv1`` and in the first block that has one.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        width: factor of all channels; ``conv2`` is not made narrower (Sandler et al., section 6.1).
        multiple: of which all channels are one.
        last: filters of ``conv2`` at width 1.
    """

    def __init__(self, classes: int, input_shape: Shape, *, width: float = 1.0, multiple: int = 8, last: int = 1280) -> None:
        small = is_small(input_shape)
        inputs = scaled(32, width, multiple)
        first = conv(input_shape[0], inputs, 3, 1 if small else 2, bias=False)
        parts = unit("conv1", first, norm=True, activation=nn.ReLU6)
        for stage, (expansion, channels, count, stride) in enumerate(V2, start=1):
            outputs = scaled(channels, width, multiple)
            for number in range(1, count + 1):
                step = stride if number == 1 and not (small and stage == 2) else 1
                parts[f"block{stage}_{number}"] = InvertedResidual(inputs, outputs, step, expansion)
                inputs = outputs
        outputs = scaled(last, max(width, 1.0), multiple)
        parts |= unit("conv2", conv(inputs, outputs, 1, bias=False), norm=True, activation=nn.ReLU6)
        super().__init__(parts | {"average": GlobalAverage(), "drop": nn.Dropout(0.2), "fc": nn.Linear(outputs, classes)})
