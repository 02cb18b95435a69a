"""The layer tables of hwmodels against networks in torch, written down from the papers and traced without computing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from autocomp import models
from autocomp.tracing import trace
from hwmodels import Workload
from hwmodels.networks import load_network, network_names

SHAPES = ("op", "in_channels", "out_channels", "groups", "kernel_h", "kernel_w", "stride", "in_h", "in_w", "out_h", "out_w", "repeats")
USUAL_INPUT = {"lenet5": (1, 28, 28)}


class Residual(nn.Module):
    """Convolutions with batch norm and a way around them, a 1x1 convolution where the shape changes (He 2016)."""

    def __init__(self, inputs: int, convolutions: list[nn.Conv2d], stride: int) -> None:
        super().__init__()
        outputs = convolutions[-1].out_channels
        for i, convolution in enumerate(convolutions, start=1):
            self.add_module(f"conv{i}", convolution)
        changes = stride != 1 or inputs != outputs
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False)) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name, convolution in self.named_children():
            y = convolution(y) if name != "downsample" else y
        return y + (self.downsample(x) if self.downsample else x)


def basic(inputs: int, width: int, stride: int) -> nn.Module:
    return Residual(inputs, [nn.Conv2d(inputs, width, 3, stride, 1), nn.Conv2d(width, width, 3, 1, 1)], stride)


def bottleneck(inputs: int, width: int, stride: int, *, late: bool = False) -> nn.Module:
    first, second = (1, stride) if late else (stride, 1)
    inner = [nn.Conv2d(inputs, width, 1, first), nn.Conv2d(width, width, 3, second, 1), nn.Conv2d(width, 4 * width, 1)]
    return Residual(inputs, inner, stride)


def late_bottleneck(inputs: int, width: int, stride: int) -> nn.Module:
    return bottleneck(inputs, width, stride, late=True)


def resnet(block: Callable[[int, int, int], nn.Module], counts: tuple[int, ...], expansion: int) -> nn.Module:
    """He 2016, table 1."""
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, 64, 7, 2, 3))
    network.add_module("pool", nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True), start=1):
        blocks = nn.Sequential()
        for i in range(count):
            blocks.append(block(inputs, width, 2 if stage > 1 and i == 0 else 1))
            inputs = width * expansion
        network.add_module(f"layer{stage}", blocks)
    network.add_module("average", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network.add_module("fc", nn.Linear(inputs, 1000))
    return network


def classifier(inputs: int) -> Iterator[tuple[str, nn.Module]]:
    yield "flatten", nn.Flatten()
    for name, (wide, narrow) in {"fc6": (inputs, 4096), "fc7": (4096, 4096), "fc8": (4096, 1000)}.items():
        yield name, nn.Linear(wide, narrow)


def alexnet(groups: int) -> nn.Module:
    """Krizhevsky 2012, as in Caffe."""
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, 96, 11, 4))
    network.add_module("pool1", nn.MaxPool2d(3, 2))
    network.add_module("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=groups))
    network.add_module("pool2", nn.MaxPool2d(3, 2))
    network.add_module("conv3", nn.Conv2d(256, 384, 3, padding=1))
    network.add_module("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=groups))
    network.add_module("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=groups))
    network.add_module("pool5", nn.MaxPool2d(3, 2))
    for name, module in classifier(256 * 6 * 6):
        network.add_module(name, module)
    return network


def alexnet_torch() -> nn.Module:
    """Krizhevsky 2014, as in torchvision."""
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, 64, 11, 4, 2))
    network.add_module("pool1", nn.MaxPool2d(3, 2))
    network.add_module("conv2", nn.Conv2d(64, 192, 5, padding=2))
    network.add_module("pool2", nn.MaxPool2d(3, 2))
    network.add_module("conv3", nn.Conv2d(192, 384, 3, padding=1))
    network.add_module("conv4", nn.Conv2d(384, 256, 3, padding=1))
    network.add_module("conv5", nn.Conv2d(256, 256, 3, padding=1))
    network.add_module("pool5", nn.MaxPool2d(3, 2))
    for name, module in classifier(256 * 6 * 6):
        network.add_module(name, module)
    return network


def vgg(counts: tuple[int, ...]) -> nn.Module:
    """Simonyan 2015, table 1."""
    network, inputs = nn.Sequential(), 3
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512, 512), counts, strict=True), start=1):
        for i in range(1, count + 1):
            network.add_module(f"conv{stage}_{i}", nn.Conv2d(inputs, width, 3, padding=1))
            inputs = width
        network.add_module(f"pool{stage}", nn.MaxPool2d(2))
    for name, module in classifier(512 * 7 * 7):
        network.add_module(name, module)
    return network


def mobilenet() -> nn.Module:
    """Howard 2017, table 1."""
    network, inputs = nn.Sequential(), 32
    network.add_module("conv1", nn.Conv2d(3, 32, 3, 2, 1))
    strided = {128: 2, 256: 2, 512: 2, 1024: 2}  # the first layer of each width but the narrowest
    for i, width in enumerate((64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024), start=1):
        network.add_module(f"dw{i}", nn.Conv2d(inputs, inputs, 3, strided.pop(width, 1), 1, groups=inputs))
        network.add_module(f"pw{i}", nn.Conv2d(inputs, width, 1))
        inputs = width
    network.add_module("average", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network.add_module("fc", nn.Linear(inputs, 1000))
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "alexnet": (lambda: alexnet(2), 227),
    "alexnet_ungrouped": (lambda: alexnet(1), 227),
    "alexnet_torch": (alexnet_torch, 224),
    "vgg16": (lambda: vgg((2, 2, 3, 3, 3)), 224),
    "vgg19": (lambda: vgg((2, 2, 4, 4, 4)), 224),
    "resnet18": (lambda: resnet(basic, (2, 2, 2, 2), 1), 224),
    "resnet34": (lambda: resnet(basic, (3, 4, 6, 3), 1), 224),
    "resnet50": (lambda: resnet(bottleneck, (3, 4, 6, 3), 4), 224),
    "resnet50_v1_5": (lambda: resnet(late_bottleneck, (3, 4, 6, 3), 4), 224),
    "mobilenet_v1": (mobilenet, 224),
}


def agree(table: Workload, traced: Workload) -> None:
    assert table.names == traced.names
    for field in SHAPES:
        expected, found = (np.broadcast_to(getattr(workload, field), workload.shape) for workload in (traced, table))
        np.testing.assert_array_equal(found, expected, err_msg=field)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_table_is_what_the_network_of_the_paper_does(name: str) -> None:
    make, size = NETWORKS[name]
    with torch.device("meta"):  # shapes without numbers: VGG-19 in milliseconds
        network = make()
    agree(load_network(name), trace(network, (3, size, size)))


@pytest.mark.parametrize("name", sorted({*models.MODELS} & {*network_names()}))
def test_where_a_table_and_a_network_of_autocomp_share_a_name_they_agree(name: str) -> None:
    shape = USUAL_INPUT.get(name, (3, 32, 32))
    with torch.device("meta"):
        network = models.build(name, classes=10, input_shape=shape)
    agree(load_network(name), trace(network, shape))


def test_the_cifar_networks_and_lenet_are_among_them() -> None:
    assert {*models.MODELS} & {*network_names()} == {"lenet5", "resnet20", "resnet32", "resnet56"}
