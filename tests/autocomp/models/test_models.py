from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from autocomp import models
from autocomp.errors import ConfigError, UnknownNameError

SHAPES = {"digits_resnet": (1, 8, 8), "lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "resnet32": (3, 32, 32), "resnet56": (3, 32, 32)}


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def build(name: str, **options: object) -> nn.Module:
    return models.build(name, classes=10, input_shape=SHAPES[name], **options).eval()


# He et al., CVPR 2016, table 6, in millions; Caffe's LeNet-5: Han et al., ICLR 2016, table 2 (431 K).
@pytest.mark.parametrize(("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet56", 0.85), ("lenet5", 0.43)])
def test_a_published_network_has_the_published_number_of_weights(name: str, millions: float) -> None:
    assert round(weights(build(name)) / 1e6, 2) == pytest.approx(millions, abs=0.011)


def test_lenet5_has_the_weights_counted_by_hand() -> None:
    # 20 x (25 + 1), 50 x (20 x 25 + 1), 500 x (50 x 4 x 4 + 1), 10 x (500 + 1)
    assert weights(build("lenet5")) == 520 + 25_050 + 400_500 + 5_010


def test_option_b_adds_a_convolution_and_a_batch_norm_at_each_change_of_shape() -> None:
    # 16 x 32 + 2 x 32 weights at the second stage, 32 x 64 + 2 x 64 at the third
    assert weights(build("resnet20", shortcut="B")) - weights(build("resnet20", shortcut="A")) == 576 + 2176


def test_option_a_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = models.resnet.PaddedShortcut(1)(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 1].tolist() == [[0, 2], [8, 10]]
    assert y[0, 2].tolist() == [[16, 18], [24, 26]]
    assert not y[0, [0, 3]].any()


@pytest.mark.parametrize("name", list(models.MODELS))
def test_every_network_can_be_traced_and_gives_the_same_logits(name: str) -> None:
    model = build(name)
    images = torch.rand(2, *SHAPES[name])
    with torch.inference_mode():
        assert torch.equal(fx.symbolic_trace(model)(images), model(images))


@pytest.mark.parametrize(("name", "options"), [("digits_resnet", {}), ("lenet5", {}), ("resnet20", {}), ("resnet20", {"shortcut": "B"})])
def test_a_network_can_be_exported_for_any_number_of_images(name: str, options: dict[str, str]) -> None:
    model = build(name, **options)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(model, (torch.rand(2, *SHAPES[name]),), dynamic_shapes=({0: batch},)).module()
    images = torch.rand(5, *SHAPES[name])
    torch.testing.assert_close(exported(images), model(images))


def test_the_first_convolution_takes_the_channels_of_the_images_and_the_last_layer_gives_the_classes() -> None:
    for name in ("digits_resnet", "lenet5", "resnet20"):
        assert models.build(name, classes=7, input_shape=(2, 32, 32)).eval()(torch.rand(1, 2, 32, 32)).shape == (1, 7)


def test_an_unknown_network_is_answered_with_what_was_probably_meant() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet20'"):
        models.build("resnet_20", classes=10, input_shape=(3, 32, 32))


def test_an_option_that_a_network_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lenet5.*shortcut"):
        build("lenet5", shortcut="A")
    with pytest.raises(ConfigError, match="'A' or 'B', not 'C'"):
        build("resnet20", shortcut="C")


def test_lenet5_refuses_images_that_its_kernels_do_not_fit_in() -> None:
    models.build("lenet5", classes=10, input_shape=(1, 16, 16))
    with pytest.raises(ConfigError, match="at least 16x16, but these are 16x15"):
        models.build("lenet5", classes=10, input_shape=(1, 16, 15))
