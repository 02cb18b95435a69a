"""Every network of autocomp.models, narrow and for small images, so that a test of all of them takes seconds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autocomp import models

Shape = tuple[int, int, int]
CLASSES = 7
TINY: dict[str, Any] = {"width": 1 / 16}
SHORT: dict[str, Any] = {"blocks": (2, 1, 1), "widths": (8, 12, 16)}
BASIC: dict[str, Any] = {"blocks": (1, 2, 1, 1), "widths": (8, 8, 12, 16), "stem": 8}
BOTTLENECK: dict[str, Any] = BASIC | {"group_width": 16}  # 2, 2, 3 and 4 channels in each group
SMALL: dict[str, tuple[Shape, dict[str, Any]]] = {
    "alexnet": ((3, 32, 32), TINY),
    "alexnet_torch": ((3, 96, 96), TINY),
    "alexnet_ungrouped": ((3, 32, 32), TINY),
    "densenet40": ((3, 8, 8), {"layers": (3, 2, 2), "growth": 4, "stem": 6}),
    "densenet100_bc": ((3, 8, 8), {"layers": (2, 3, 2), "growth": 4, "stem": 8}),
    "densenet121": ((3, 96, 96), {"layers": (2, 2, 1, 1), "growth": 4, "stem": 6}),
    "digits_resnet": ((1, 8, 8), {}),
    "googlenet": ((3, 16, 16), TINY | {"batch_norm": True}),
    "lenet300": ((1, 8, 8), {"hidden": (20, 12)}),
    "lenet5": ((1, 28, 28), {}),
    "mobilenet_v1": ((3, 16, 16), TINY | {"multiple": 1}),
    "mobilenet_v2": ((3, 16, 16), {"width": 1 / 8, "multiple": 2, "last": 32}),
    "nin": ((3, 16, 16), TINY),
    "nin_imagenet": ((3, 67, 67), TINY),
    "resnet18": ((3, 16, 16), BASIC),
    "resnet20": ((3, 16, 16), SHORT),
    "resnet32": ((3, 16, 16), SHORT | {"blocks": (1, 2, 1)}),
    "resnet34": ((3, 96, 96), BASIC),
    "resnet44": ((3, 16, 16), SHORT | {"shortcut": "B"}),
    "resnet50": ((3, 16, 16), BASIC),
    "resnet50_v1_5": ((3, 16, 16), BASIC),
    "resnet56": ((3, 16, 16), SHORT | {"widths": (6, 8, 10)}),
    "resnet101": ((3, 96, 96), BASIC),
    "resnet110": ((3, 16, 16), SHORT | {"blocks": (1, 1, 2)}),
    "resnext29": ((3, 16, 16), BOTTLENECK | {"groups": 4}),
    "resnext50": ((3, 16, 16), BOTTLENECK | {"groups": 3}),
    "se_resnet20": ((3, 16, 16), SHORT),
    "se_resnet50": ((3, 16, 16), BASIC | {"reduction": 4}),
    "shufflenet": ((3, 16, 16), {"width": 1 / 4, "blocks": (2, 2, 1)}),
    "squeezenet": ((3, 16, 16), {"width": 1 / 8}),
    "squeezenet1_1": ((3, 96, 96), {"width": 1 / 8}),
    "vgg_s": ((3, 51, 51), TINY),
    "vgg16": ((3, 32, 32), TINY),
    "vgg16_cifar": ((3, 32, 32), TINY),
    "vgg19": ((3, 32, 64), TINY),
}


def small(name: str, seed: int = 0) -> nn.Module:
    """A network with random weights and batch-norm statistics, in evaluation mode."""
    shape, options = SMALL[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = models.build(name, classes=CLASSES, input_shape=shape, **options)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert values is not None
                    values.data.uniform_(0.5, 1.5)
    return network.eval()
