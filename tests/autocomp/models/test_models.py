from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from autocomp import models
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.models.densenet import DenseLayer
from autocomp.models.mobilenet import InvertedResidual
from autocomp.models.squeeze_excite import SqueezeExcite
from autocomp.tracing import trace

from .small import CLASSES, SMALL, Shape, small

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def usual(name: str) -> nn.Module:
    """A network for the images that it is known for."""
    shape, classes = models.usual_images(name)
    return build(name, shape, classes)


def build(name: str, shape: Shape, classes: int = 10, **options: Any) -> nn.Module:
    """A network without numbers: VGG-19 in milliseconds."""
    with torch.device("meta"):
        return models.build(name, classes=classes, input_shape=shape, **options).eval()


# Parameters in millions. CIFAR's ResNets: He et al., CVPR 2016, table 6. LeNets: Han et al., ICLR 2016, tables 2 and 3 (266 K,
# 431 K). DenseNets: Huang et al., CVPR 2017, table 2 (1.0 M, 0.8 M). ResNeXt-29, 8x64d: Xie et al., CVPR 2017, table 7 (34.4 M).
# VGG-16 for CIFAR-10: Li et al., ICLR 2017, table 1 (1.5e7).
@pytest.mark.parametrize(
    ("name", "millions", "within"),
    [
        ("resnet20", 0.27, 0.005),
        ("resnet32", 0.46, 0.005),
        ("resnet44", 0.66, 0.005),
        ("resnet56", 0.85, 0.005),
        ("resnet110", 1.7, 0.05),
        ("densenet40", 1.0, 0.05),
        ("densenet100_bc", 0.8, 0.05),
        ("resnext29", 34.4, 0.05),
        ("vgg16_cifar", 15, 0.5),
    ],
)
def test_a_network_for_cifar_has_the_published_number_of_parameters(name: str, millions: float, within: float) -> None:
    assert weights(usual(name)) / 1e6 == pytest.approx(millions, abs=within)


# Parameters that the papers' networks have on ImageNet, exactly: published with the weights (torchvision's documentation, which
# counts batch norm's scale and shift too); recalled.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("alexnet_torch", 61_100_840),
        ("densenet121", 7_978_856),
        ("mobilenet_v2", 3_504_872),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet50_v1_5", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnext50", 25_028_904),
        ("squeezenet", 1_248_424),
        ("squeezenet1_1", 1_235_496),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_a_network_for_imagenet_has_exactly_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert weights(usual(name)) == parameters


# Multiply-accumulates in millions: MobileNets and ShuffleNet (3 groups) in their papers' tables (569, 300, 137); VGG-16 for
# CIFAR-10 in Li et al. (313); ResNets in He et al., table 1 (1.8e9, 3.6e9, 3.8e9, 7.6e9); ResNeXt-50 in Xie et al., table 1 (4.2e9).
@pytest.mark.parametrize(
    ("name", "millions", "within"),
    [
        ("mobilenet_v1", 569, 0.5),
        ("mobilenet_v2", 300, 1),
        ("shufflenet", 137, 1),
        ("vgg16_cifar", 313, 1),
        ("resnet18", 1800, 50),
        ("resnet34", 3600, 100),
        ("resnet50", 3800, 100),
        ("resnet101", 7600, 50),
        ("resnext50", 4200, 50),
    ],
)
def test_a_network_has_the_published_number_of_operations(name: str, millions: float, within: float) -> None:
    shape, _ = models.usual_images(name)
    assert trace(usual(name), shape).macs.sum() / 1e6 == pytest.approx(millions, abs=within)


def test_the_lenets_have_the_weights_counted_by_hand() -> None:
    # 300 x (784 + 1), 100 x (300 + 1), 10 x (100 + 1); 20 x (25 + 1), 50 x (20 x 25 + 1), 500 x (50 x 4 x 4 + 1), 10 x (500 + 1)
    assert weights(usual("lenet300")) == 235_500 + 30_100 + 1_010
    assert weights(usual("lenet5")) == 520 + 25_050 + 400_500 + 5_010


def test_the_alexnet_of_caffe_has_the_weights_counted_by_hand() -> None:
    # 96 x (363 + 1), 256 x (48 x 25 + 1), 384 x (256 x 9 + 1), 384 x (192 x 9 + 1), 256 x (192 x 9 + 1), then 9216, 4096, 4096
    convolutions = 34_944 + 307_456 + 885_120 + 663_936 + 442_624
    assert weights(usual("alexnet")) == convolutions + 4096 * 9217 + 4096 * 4097 + 1000 * 4097


def test_squeeze_and_excitation_adds_two_small_layers_to_each_block() -> None:
    # ResNet-20: three blocks each of 16, 32 and 64 channels, a quarter of them inside: c x c/4 weights and biases, twice
    added = sum(3 * (2 * c * c // 4 + c // 4 + c) for c in (16, 32, 64))
    assert weights(usual("se_resnet20")) - weights(usual("resnet20")) == added
    # Hu et al., CVPR 2018, section 3.4: 2.5 million more than ResNet-50's 25.6, 2 x 16 / 16 x the sum of N_s C_s^2
    added = sum(n * (2 * c * c // 16 + c // 16 + c) for n, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    assert weights(usual("se_resnet50")) - weights(usual("resnet50")) == added
    assert added / 1e6 == pytest.approx(2.5, abs=0.05)


def test_squeeze_and_excitation_scales_every_channel_by_a_sigmoid_of_all_means() -> None:
    gate, x = SqueezeExcite(2, 1), torch.tensor([[[[1.0, 3.0]], [[2.0, -6.0]]]])
    with torch.no_grad():
        for layer, weight in ((gate.squeeze, [[1.0, 0.0], [0.0, 1.0]]), (gate.excite, [[0.0, 5.0], [1.0, 0.0]])):
            layer.weight.copy_(torch.tensor(weight)[:, :, None, None])
            layer.bias.zero_()  # type: ignore[union-attr]
        # The means 2 and -2 are rectified to 2 and 0; the gates are sigmoid(5 x 0) = 1/2 and sigmoid(2).
        factor = torch.tensor([0.5, torch.sigmoid(torch.tensor(2.0)).item()])
        torch.testing.assert_close(gate(x), x * factor[None, :, None, None])


def test_option_b_adds_a_convolution_and_a_batch_norm_at_each_change_of_shape() -> None:
    # 16 x 32 + 2 x 32 weights at the second stage, 32 x 64 + 2 x 64 at the third
    assert weights(build("resnet20", CIFAR, shortcut="B")) - weights(build("resnet20", CIFAR, shortcut="A")) == 576 + 2176


def test_option_a_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = models.resnet.PaddedShortcut(1)(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 1].tolist() == [[0, 2], [8, 10]]
    assert y[0, 2].tolist() == [[16, 18], [24, 26]]
    assert not y[0, [0, 3]].any()


def test_a_dense_layer_passes_on_what_came_in_and_puts_its_own_maps_behind() -> None:
    x = torch.randn(1, 5, 4, 4)
    y = DenseLayer(5, 3, bottleneck=True).eval()(x)
    assert y.shape == (1, 8, 4, 4)
    assert torch.equal(y[:, :5], x)


def test_an_inverted_residual_ends_without_a_non_linearity_and_has_a_shortcut_only_where_the_shape_stays() -> None:
    x = torch.randn(2, 4, 6, 6)
    block = InvertedResidual(4, 4, 1, 6).eval()
    with torch.no_grad():
        assert torch.equal(block(x), x + block.body(x))
        assert (block.body(x) < 0).any()
    assert not InvertedResidual(4, 4, 2, 6).has_shortcut
    assert not InvertedResidual(4, 6, 1, 6).has_shortcut


def test_the_logits_of_a_network_that_ends_in_a_convolution_are_its_maps_averaged_and_may_be_negative() -> None:
    network = small("nin")
    x = torch.randn(8, *SMALL["nin"][0])
    with torch.no_grad():
        maps = nn.Sequential(*list(network.children())[:-1])(x)
        torch.testing.assert_close(network(x), maps.mean((2, 3)))
    assert (maps < 0).any()


def test_small_images_meet_no_strided_stem() -> None:
    # Of 32 pixels a stem for ImageNet would leave 8; here the first stage still sees all of them.
    for name, first in {"resnet18": "layer1.0.conv1", "googlenet": "inception_3a.1x1", "shufflenet": "stage2_1.body.compress"}.items():
        for shape, side in ((CIFAR, 32), (IMAGENET, {"googlenet": 28}.get(name, 56))):
            workload = trace(build(name, shape), shape)
            assert workload.in_h[workload.names.index(first)] == side


def test_there_is_a_small_form_of_every_network_for_these_tests() -> None:
    assert SMALL.keys() == models.MODELS.keys()


@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_can_be_built_for_cifar_and_for_imagenet(name: str) -> None:
    least = {"nin_imagenet": 67, "vgg_s": 51}.get(name, 32)
    for side, channels, classes in ((least, 3, 10), (224, 1, 7)):
        with torch.inference_mode():
            logits = build(name, (channels, side, side), classes)(torch.empty(2, channels, side, side, device="meta"))
        assert logits.shape == (2, classes)


@pytest.mark.parametrize("name", SMALL)
def test_every_network_can_be_traced_and_gives_the_same_logits(name: str) -> None:
    model = small(name)
    images = torch.rand(2, *SMALL[name][0])
    with torch.inference_mode():
        logits = model(images)
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()
        assert torch.equal(fx.symbolic_trace(model)(images), logits)


@pytest.mark.parametrize(
    "name", ["alexnet", "densenet100_bc", "googlenet", "lenet5", "mobilenet_v2", "resnet44", "resnext29", "shufflenet"]
)
def test_a_network_can_be_exported_for_any_number_of_images(name: str) -> None:
    model, (shape, _) = small(name), SMALL[name]
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(model, (torch.rand(2, *shape),), dynamic_shapes=({0: batch},)).module()
    images = torch.rand(5, *shape)
    torch.testing.assert_close(exported(images), model(images))


@pytest.mark.parametrize("name", ["se_resnet20", "shufflenet", "densenet40", "googlenet", "squeezenet"])
def test_every_weight_of_a_network_learns(name: str) -> None:
    model, (shape, _) = small(name).train(), SMALL[name]
    torch.autograd.backward(F.cross_entropy(model(torch.randn(4, *shape)), torch.arange(4)))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_an_unknown_network_is_answered_with_what_was_probably_meant() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet20'"):
        models.build("resnet_20", classes=10, input_shape=(3, 32, 32))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("lenet5", {"shortcut": "A"}, r"lenet5.*shortcut"),
    ("resnet20", {"shortcut": "C"}, "'A' or 'B', not 'C'"),
    ("squeezenet", {"version": "2"}, "'1.0' or '1.1', not '2'"),
    ("shufflenet", {"groups": 5}, "1, 2, 3, 4, 8 groups, not 5"),
    ("resnet18", {"groups": 2}, "Only the bottlenecks .* have groups, but 2"),
    ("resnext29", {"group_width": 3, "widths": (7, 7, 7)}, "a multiple of 64, but 7 x 3 is not"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_an_option_that_a_network_does_not_have_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, CIFAR, **options)


@pytest.mark.parametrize(
    ("name", "least"),
    [("alexnet", 15), ("googlenet", 4), ("lenet5", 16), ("nin", 8), ("nin_imagenet", 67), ("squeezenet", 8), ("vgg16", 32), ("vgg_s", 51)],
)
def test_a_network_refuses_images_of_which_nothing_would_be_left_and_takes_those_just_large_enough(name: str, least: int) -> None:
    assert build(name, (1, least, least))(torch.empty(1, 1, least, least, device="meta")).shape == (1, 10)
    with pytest.raises(ConfigError, match=f"at least {least}x{least}, but these are {least}x{least - 1}"):
        build(name, (1, least, least - 1))
