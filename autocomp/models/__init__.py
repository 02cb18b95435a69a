"""Reference networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from autocomp.errors import ConfigError, UnknownNameError
from autocomp.models.alexnet import AlexNet
from autocomp.models.chatfield import VGGS
from autocomp.models.checkpoint import arrays, load_checkpoint, restored
from autocomp.models.deep_resnet import DeepResNet
from autocomp.models.densenet import DenseNet
from autocomp.models.googlenet import GoogLeNet
from autocomp.models.lenet import LeNet5, LeNet300
from autocomp.models.mobilenet import MobileNetV1, MobileNetV2
from autocomp.models.nin import IMAGENET as NIN_IMAGENET
from autocomp.models.nin import NIN
from autocomp.models.resnet import ResNet
from autocomp.models.shufflenet import ShuffleNet
from autocomp.models.squeezenet import SqueezeNet
from autocomp.models.vgg import VGG

__all__ = ["MODELS", "LeNet5", "ResNet", "arrays", "build", "load_checkpoint", "restored", "usual_images"]

_bottlenecks = partial(DeepResNet, bottleneck=True)

MODELS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": AlexNet,
    "alexnet_torch": partial(AlexNet, groups=1, filters=(64, 192, 384, 256, 256), padding=2),
    "alexnet_ungrouped": partial(AlexNet, groups=1),
    "densenet40": DenseNet,
    "densenet100_bc": partial(DenseNet, layers=(16, 16, 16), stem=24, bottleneck=True, compression=0.5),
    "densenet121": partial(DenseNet, layers=(6, 12, 24, 16), growth=32, stem=64, bottleneck=True, compression=0.5),
    "digits_resnet": partial(ResNet, blocks=(1, 2), widths=(16, 32), shortcut="B"),
    "googlenet": GoogLeNet,
    "lenet300": LeNet300,
    "lenet5": LeNet5,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "nin": NIN,
    "nin_imagenet": partial(NIN, stages=NIN_IMAGENET),
    "resnet18": partial(DeepResNet, blocks=(2, 2, 2, 2)),
    "resnet20": partial(ResNet, blocks=(3, 3, 3)),
    "resnet32": partial(ResNet, blocks=(5, 5, 5)),
    "resnet34": partial(DeepResNet, blocks=(3, 4, 6, 3)),
    "resnet44": partial(ResNet, blocks=(7, 7, 7)),
    "resnet50": partial(_bottlenecks, blocks=(3, 4, 6, 3), early_stride=True),
    "resnet50_v1_5": partial(_bottlenecks, blocks=(3, 4, 6, 3)),
    "resnet56": partial(ResNet, blocks=(9, 9, 9)),
    "resnet101": partial(_bottlenecks, blocks=(3, 4, 23, 3), early_stride=True),
    "resnet110": partial(ResNet, blocks=(18, 18, 18)),
    "resnext29": partial(_bottlenecks, blocks=(3, 3, 3), widths=(64, 128, 256), groups=8),
    "resnext50": partial(_bottlenecks, blocks=(3, 4, 6, 3), groups=32, group_width=4),
    "se_resnet20": partial(ResNet, blocks=(3, 3, 3), reduction=4),
    "se_resnet50": partial(_bottlenecks, blocks=(3, 4, 6, 3), early_stride=True, reduction=16),
    "shufflenet": ShuffleNet,
    "squeezenet": SqueezeNet,
    "squeezenet1_1": partial(SqueezeNet, version="1.1"),
    "vgg_s": VGGS,
    "vgg16": VGG,
    "vgg16_cifar": partial(VGG, batch_norm=True, hidden=(512,)),
    "vgg19": partial(VGG, convolutions=(2, 2, 4, 4, 4)),
}
"""Constructors; each takes ``classes``, ``input_shape`` (channels, height, width) and its own options."""

CIFAR, IMAGENET, CAFFE = ((3, 32, 32), 10), ((3, 224, 224), 1000), ((3, 227, 227), 1000)
_USUAL = {
    **dict.fromkeys(("lenet300", "lenet5"), ((1, 28, 28), 10)),
    **dict.fromkeys(("alexnet", "alexnet_ungrouped", "nin_imagenet"), CAFFE),
    **dict.fromkeys(("alexnet_torch", "densenet121", "googlenet", "mobilenet_v1", "mobilenet_v2", "vgg_s", "vgg16", "vgg19"), IMAGENET),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet50_v1_5", "resnet101", "resnext50", "se_resnet50"), IMAGENET),
    **dict.fromkeys(("shufflenet", "squeezenet", "squeezenet1_1"), IMAGENET),
    "digits_resnet": ((1, 8, 8), 10),
}


def usual_images(name: str) -> tuple[tuple[int, int, int], int]:
    """Channels, height and width of the images that a network is known for, and the number of their classes; CIFAR-10's if not said."""
    return _USUAL.get(name, CIFAR)


def build(name: str, *, classes: int, input_shape: tuple[int, int, int], **options: Any) -> nn.Module:
    """A network with fresh weights, drawn from torch's global generator.

    Raises:
        UnknownNameError: no network has this name.
        ConfigError: the network has no such option.
    """
    if name not in MODELS:
        raise UnknownNameError("network", name, MODELS)
    try:
        inspect.signature(MODELS[name]).bind(classes=classes, input_shape=input_shape, **options)
    except TypeError as error:
        raise ConfigError(f"Network '{name}' cannot be built from these options: {error}.") from None
    return MODELS[name](classes=classes, input_shape=input_shape, **options)
