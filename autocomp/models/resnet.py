"""Residual networks for small images (He et al., CVPR 2016, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.errors import ConfigError
from autocomp.models.squeeze_excite import scaling


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, and the new channels are zeros, half of them on either side.

    Args:
        padding: zero channels on each side.
    """

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve the image and widen the channels, without weights."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


def _shortcut(kind: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if kind == "A":
        return PaddedShortcut((outputs - inputs) // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the first convolution.
        shortcut: "A" or "B", where the shape changes.
        reduction: of squeeze and excitation, 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str, reduction: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.scale = scaling(outputs, reduction)
        self.shortcut = _shortcut(shortcut, inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rectified sum of both ways."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(self.scale(y) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 stem, stages ``layer1``, ``layer2``, ... of basic blocks, average pooling and one linear layer.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image; only the channels matter.
        blocks: blocks per stage.
        widths: channels per stage; each stage but the first halves the image.
        shortcut: "A" (zero padding) or "B" (1x1 convolution and batch norm) where the shape changes.
        reduction: of squeeze and excitation (Hu et al., CVPR 2018), 0 for none.

    Raises:
        ConfigError: another shortcut.
    """

    def __init__(
        self,
        classes: int,
        input_shape: tuple[int, int, int],
        *,
        blocks: Sequence[int],
        widths: Sequence[int] = (16, 32, 64),
        shortcut: str = "A",
        reduction: int = 0,
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise ConfigError(f"A ResNet's shortcut is 'A' or 'B', not '{shortcut}'.")
        self.conv1 = nn.Conv2d(input_shape[0], widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        self.stages = [f"layer{stage}" for stage in range(1, len(blocks) + 1)]
        for name, outputs, count in zip(self.stages, widths, blocks, strict=True):
            first = BasicBlock(inputs, outputs, 1 if name == "layer1" else 2, shortcut, reduction)
            rest = (BasicBlock(outputs, outputs, 1, shortcut, reduction) for _ in range(count - 1))
            self.add_module(name, nn.Sequential(first, *rest))
            inputs = outputs
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
