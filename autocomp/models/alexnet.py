"""AlexNet (Krizhevsky et al., NIPS 2012)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from autocomp.models.parts import Chain, Shape, check_size, classifier, conv, is_small, pooled, scaled, unit


class AlexNet(Chain):
    """Five convolutions and three fully connected layers, with the names of Caffe; ImageNet: 60 965 224 parameters in two groups.

    Local response normalization, which later work left out, is left out here too. Small images (below 96 pixels) meet a
    5x5 kernel without stride in ``conv1`` instead of one of 11x11 with stride 4.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image; 227x227 in Caffe.
        groups: of ``conv2``, ``conv4`` and ``conv5``; the paper has 2, one for each GPU.
        filters: of the five convolutions.
        padding: of ``conv1`` on large images.
        width: factor of all filters and neurons.
        hidden: neurons of ``fc6`` and ``fc7``.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(
        self,
        classes: int,
        input_shape: Shape,
        *,
        groups: int = 2,
        filters: Sequence[int] = (96, 256, 384, 384, 256),
        padding: int = 0,
        width: float = 1.0,
        hidden: Sequence[int] = (4096, 4096),
    ) -> None:
        check_size("AlexNet", input_shape, 15)
        inputs, *sides = input_shape
        one, two, three, four, five = (scaled(n, width, groups) for n in filters)
        small = is_small(input_shape)
        first = conv(inputs, one, 5) if small else nn.Conv2d(inputs, one, 11, 4, padding)
        parts = unit("conv1", first) | {"pool1": nn.MaxPool2d(3, 2)}
        parts |= unit("conv2", conv(one, two, 5, groups=groups)) | {"pool2": nn.MaxPool2d(3, 2)}
        parts |= unit("conv3", conv(two, three, 3)) | unit("conv4", conv(three, four, 3, groups=groups))
        parts |= unit("conv5", conv(four, five, 3, groups=groups)) | {"pool5": nn.MaxPool2d(3, 2)}
        height, breadth = (_left(side if small else pooled(side, 11, 4, padding)) for side in sides)
        super().__init__(parts | classifier(five * height * breadth, [scaled(n, width) for n in hidden], classes))


def _left(side: int) -> int:
    for _ in range(3):
        side = pooled(side, 3, 2)
    return side
