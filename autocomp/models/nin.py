"""Network in network (Lin et al., ICLR 2014): convolutions, each followed by two of 1x1, and no fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from autocomp.models.parts import Chain, GlobalAverage, Shape, check_size, conv, scaled, unit

Stage = tuple[int, int, int, int]
CIFAR: tuple[Stage, ...] = ((5, 192, 160, 96), (5, 192, 192, 192), (3, 192, 192, 0))
IMAGENET: tuple[Stage, ...] = ((11, 96, 96, 96), (5, 256, 256, 256), (3, 384, 384, 384), (3, 1024, 1024, 0))


class NIN(Chain):
    """Stages of a spatial convolution ``conv1``, ... and two of 1x1, ``cccp1``, ...; the last gives one map per class.

    The names are those of the models that the authors published for Caffe. The first kernel has a stride of 4 if it is
    of 11x11 (the form for ImageNet, 7.6 million parameters; that for CIFAR-10 has 0.97 million).

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        stages: kernel and the filters of its three convolutions, for each stage; 0 stands for the classes.
        width: factor of all filters.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, classes: int, input_shape: Shape, *, stages: Sequence[Stage] = CIFAR, width: float = 1.0) -> None:
        strided = stages[0][0] == 11
        check_size("NIN", input_shape, 67 if strided else 8)
        parts: dict[str, nn.Module] = {}
        inputs = input_shape[0]
        for number, (kernel, *filters) in enumerate(stages, start=1):
            one, two, three = (scaled(n, width) if n else classes for n in filters)
            first = nn.Conv2d(inputs, one, kernel, 4) if kernel == 11 else conv(inputs, one, kernel)
            parts |= unit(f"conv{number}", first)
            parts |= unit(f"cccp{2 * number - 1}", conv(one, two, 1)) | unit(f"cccp{2 * number}", conv(two, three, 1))
            if number < len(stages):
                parts |= {f"pool{number}": nn.MaxPool2d(3, 2, ceil_mode=True), f"drop{number}": nn.Dropout()}
            inputs = three
        del parts[f"cccp{2 * len(stages)}_act"]  # so that logits may be negative
        super().__init__(parts | {"average": GlobalAverage()})
