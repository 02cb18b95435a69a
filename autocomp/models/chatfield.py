"""VGG-S (Chatfield et al., BMVC 2014, table 1, "CNN-S"): the slow one of the three networks compared there."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from autocomp.models.parts import Chain, Shape, check_size, classifier, conv, pooled, scaled, unit


class VGGS(Chain):
    """Five convolutions and three fully connected layers, as Caffe's model zoo has it; ImageNet: 102.9 million parameters.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image; 224x224 in the paper.
        width: factor of all filters and neurons.
        hidden: neurons of ``fc6`` and ``fc7``.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, classes: int, input_shape: Shape, *, width: float = 1.0, hidden: Sequence[int] = (4096, 4096)) -> None:
        check_size("VGG-S", input_shape, LEAST)
        inputs, *sides = input_shape
        one, two, rest = (scaled(n, width) for n in (96, 256, 512))
        parts = unit("conv1", nn.Conv2d(inputs, one, 7, 2)) | {"pool1": nn.MaxPool2d(3, 3, ceil_mode=True)}
        parts |= unit("conv2", nn.Conv2d(one, two, 5)) | {"pool2": nn.MaxPool2d(2, 2, ceil_mode=True)}
        parts |= unit("conv3", conv(two, rest, 3)) | unit("conv4", conv(rest, rest, 3)) | unit("conv5", conv(rest, rest, 3))
        parts["pool5"] = nn.MaxPool2d(3, 3, ceil_mode=True)
        height, breadth = map(_left, sides)
        super().__init__(parts | classifier(rest * height * breadth, [scaled(n, width) for n in hidden], classes))


LEAST = 51  # pixels: 51 -> 23 -> 8 -> 4 -> 2 -> 1


def _left(side: int) -> int:
    side = pooled(pooled(side, 7, 2), 3, 3, ceil=True)
    side = pooled(side - 4, 2, 2, ceil=True)
    return pooled(side, 3, 3, ceil=True)
