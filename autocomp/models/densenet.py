"""DenseNets: each layer sees the feature maps of all layers before it (Huang et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.models.parts import Chain, GlobalAverage, Shape, conv, is_small


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, whose maps join those that came in; optionally 1x1 before it ("B").

    Args:
        inputs: channels in.
        growth: channels that join them.
        bottleneck: whether a 1x1 convolution to four times ``growth`` channels comes first.
    """

    def __init__(self, inputs: int, growth: int, *, bottleneck: bool) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {}
        if bottleneck:
            parts |= {"bn1": nn.BatchNorm2d(inputs), "act1": nn.ReLU(), "conv1": conv(inputs, 4 * growth, 1, bias=False)}
            inputs = 4 * growth
        parts |= {"bn2": nn.BatchNorm2d(inputs), "act2": nn.ReLU(), "conv2": conv(inputs, growth, 3, bias=False)}
        self.body = Chain(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What came in, and the new maps behind it."""
        return torch.cat([x, self.body(x)], 1)


class Transition(nn.Module):
    """A 1x1 convolution that narrows, and pooling that halves, between two dense blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(inputs), conv(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fewer and smaller maps."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2, ceil_mode=True)


class DenseNet(Chain):
    """A stem, dense blocks with transitions between them, and one linear layer.

    Small images (below 96 pixels) meet a 3x3 kernel in the stem, others one of 7x7 with stride, and pooling.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        layers: per dense block.
        growth: channels that each layer adds, the paper's k.
        stem: filters of the first convolution; the paper has 16, and twice the growth for DenseNet-BC.
        bottleneck: whether a 1x1 convolution comes before each of 3x3 ("B").
        compression: fraction of the channels that a transition keeps ("C").
    """

    def __init__(
        self,
        classes: int,
        input_shape: Shape,
        *,
        layers: Sequence[int] = (12, 12, 12),
        growth: int = 12,
        stem: int = 16,
        bottleneck: bool = False,
        compression: float = 1.0,
    ) -> None:
        small, inputs = is_small(input_shape), stem
        parts: dict[str, nn.Module] = {"conv1": conv(input_shape[0], stem, *((3, 1) if small else (7, 2)), bias=False)}
        if not small:
            parts |= {"bn1": nn.BatchNorm2d(stem), "act1": nn.ReLU(), "pool1": nn.MaxPool2d(3, 2, 1)}
        for block, count in enumerate(layers, start=1):
            for number in range(1, count + 1):
                parts[f"dense{block}_{number}"] = DenseLayer(inputs, growth, bottleneck=bottleneck)
                inputs += growth
            if block < len(layers):
                outputs = int(inputs * compression)
                parts[f"transition{block}"] = Transition(inputs, outputs)
                inputs = outputs
        parts |= {"bn": nn.BatchNorm2d(inputs), "act": nn.ReLU(), "average": GlobalAverage(), "fc": nn.Linear(inputs, classes)}
        super().__init__(parts)
