"""VGG networks (Simonyan and Zisserman, ICLR 2015, table 1) in the forms for ImageNet and for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from autocomp.models.parts import Chain, Shape, check_size, classifier, conv, scaled, unit

WIDTHS = (64, 128, 256, 512, 512)


class VGG(Chain):
    """Five stages of 3x3 convolutions, ``conv1_1`` to ``conv5_4``, each followed by pooling, and fully connected layers.

    The form for ImageNet has two hidden layers of 4096 neurons: 138 357 544 parameters for VGG-16. That for CIFAR (Li et
    al., ICLR 2017, table 1: 1.5e7 parameters, 3.13e8 multiply-accumulates) has one of 512, and batch norm everywhere.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        convolutions: per stage.
        width: factor of all filters and neurons.
        batch_norm: behind every layer but the last.
        hidden: neurons of the fully connected layers before the last.

    Raises:
        ConfigError: the images are too small to be halved five times.
    """

    def __init__(
        self,
        classes: int,
        input_shape: Shape,
        *,
        convolutions: Sequence[int] = (2, 2, 3, 3, 3),
        width: float = 1.0,
        batch_norm: bool = False,
        hidden: Sequence[int] = (4096, 4096),
    ) -> None:
        check_size("VGG", input_shape, 32)
        inputs, height, breadth = input_shape
        parts: dict[str, nn.Module] = {}
        for stage, (channels, count) in enumerate(zip(WIDTHS, convolutions, strict=True), start=1):
            outputs = scaled(channels, width)
            for number in range(1, count + 1):
                parts |= unit(f"conv{stage}_{number}", conv(inputs, outputs, 3, bias=not batch_norm), norm=batch_norm)
                inputs = outputs
            parts[f"pool{stage}"] = nn.MaxPool2d(2)
        features = inputs * (height // 32) * (breadth // 32)
        super().__init__(parts | classifier(features, [scaled(n, width) for n in hidden], classes, norm=batch_norm))
