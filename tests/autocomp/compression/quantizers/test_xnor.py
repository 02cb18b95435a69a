"""XNOR-Net's scales of the inputs (Rastegari 2016, equations 10 and 11)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.compression.block_convolution import BlockConvolution
from autocomp.compression.quantizers.xnor import input_scales
from autocomp.export import bake
from autocomp.export.qonnx import run_qonnx, write_qonnx
from autocomp.export.reading import read_program
from autocomp.tracing import trace

XNOR = Choice(weight_bits=1, weight_quantizer="binary", activation_bits=1, activation_quantizer="xnor")


def binary(layer: nn.Module, x: Tensor, choice: Choice = XNOR) -> nn.Module:
    """A calibrated network of one layer."""
    network = compress(nn.Sequential(layer).eval(), Configuration({"0": choice}), default_methods(None))
    calibrate(network, x)
    return network.eval()


def test_scales_are_those_worked_by_hand() -> None:
    # |I| of two channels: (1 2 / 3 4) and (3 2 / 1 0): A = (2 2 / 2 2), but with (3 2 / 1 8) it is (2 2 / 2 6).
    # A 2 x 2 box over all four places: (2 + 2 + 2 + 6) / 4 = 3; a 1 x 2 box row by row: 2 and 4.
    x = torch.tensor([[[[-1.0, 2], [3, -4]], [[3, -2], [-1, 8]]]])
    torch.testing.assert_close(input_scales(nn.Conv2d(2, 3, 2), x), torch.tensor([[[[3.0]]]]))
    torch.testing.assert_close(input_scales(nn.Conv2d(2, 3, (1, 2)), x), torch.tensor([[[[2.0], [4.0]]]]))
    torch.testing.assert_close(input_scales(nn.Linear(4, 1), torch.tensor([[-1.0, 2, 3, -4]])), torch.tensor([[2.5]]))


def test_a_layer_is_the_product_of_signs_scaled_at_each_place_before_its_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 3, padding=1, stride=2), torch.randn(2, 3, 8, 8, generator=generator)
    weight, bias = layer.weight.detach(), layer.bias
    assert bias is not None
    box = torch.full((1, 1, 3, 3), 1 / 9)
    scale = F.conv2d(x.abs().mean(1, keepdim=True), box, stride=2, padding=1)
    alpha = weight.abs().mean((1, 2, 3))[:, None, None]
    wanted = F.conv2d(x.sign(), weight.sign(), stride=2, padding=1) * scale * alpha + bias.detach()[:, None, None]
    torch.testing.assert_close(binary(layer, x)(x), wanted)


def test_scales_come_nearer_to_the_layer_than_one_scale_for_all_places() -> None:
    generator = torch.Generator().manual_seed(0)
    strength = torch.linspace(0.1, 3, 16)[:, None]  # an image that is bright at the bottom
    layer, x = nn.Conv2d(8, 16, 3, bias=False), torch.randn(4, 8, 16, 16, generator=generator) * strength
    wanted = layer(x).detach()
    one = binary(layer, x, Choice(weight_bits=1, weight_quantizer="binary", activation_bits=1, activation_quantizer="sign"))
    assert (binary(layer, x)(x) - wanted).norm() < (one(x) - wanted).norm()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ],
)
def test_boxes_step_and_pad_as_the_layer_does(layer: nn.Conv2d) -> None:
    x = torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    groups = layer.groups
    magnitudes = x.abs().unflatten(1, (groups, -1)).mean(2)  # type: ignore[no-untyped-call]
    box = torch.full((groups, 1, *layer.kernel_size), 1 / 9)
    torch.testing.assert_close(input_scales(layer, x), layer._conv_forward(magnitudes, box, None))


def test_each_group_of_filters_is_scaled_by_what_it_sees() -> None:
    layer, x = nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    weight, bias = layer.weight.detach(), layer.bias
    assert bias is not None
    found = binary(layer, x)(x)
    for group in (0, 1):
        part, filters = x[:, 2 * group : 2 * group + 2], slice(3 * group, 3 * group + 3)
        one = nn.Conv2d(2, 3, 3)
        one.weight.data, one.bias.data = weight[filters].clone(), bias.detach()[filters].clone()  # type: ignore[union-attr]
        torch.testing.assert_close(found[:, filters], binary(one, part)(part))


def test_exports_for_onnx_compute_the_same() -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    x = torch.randn(16, 4, 8, 8)
    network = compress(nn.Sequential(*layers).eval(), Configuration(dict.fromkeys("03", XNOR)), default_methods(None))
    calibrate(network, x)
    wanted = network.eval()(x).detach()
    model, _ = write_qonnx(read_program(torch.export.export(bake(network), (x,))))
    torch.testing.assert_close(torch.from_numpy(run_qonnx(model, x.numpy())), wanted, rtol=1e-4, atol=1e-4)


def test_boxes_end_where_blocks_do() -> None:
    # of a constant map the mean under the kernel shows the borders at which zeros come in: all round each 4 x 4 block
    layer = nn.Conv2d(1, 1, 3, padding=1)
    BlockConvolution.of(nn.Sequential(layer), 4).apply(nn.Sequential(layer), Configuration({}))
    scale = input_scales(layer, torch.ones(1, 1, 8, 8))[0, 0]
    assert scale[:4, :4].equal(scale[4:, 4:])
    assert scale[3, 3].item() == pytest.approx(4 / 9)


def test_gradients_reach_what_lies_before_and_the_weights() -> None:
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    network = binary(nn.Conv2d(3, 4, 3), x.detach())
    network(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_what_is_baked_and_exported_computes_the_same() -> None:
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    network = binary(nn.Conv2d(3, 4, 3, padding=1), x)
    wanted = network(x).detach()
    torch.testing.assert_close(bake(network)(x), wanted)
    program = torch.export.export(bake(network), (x,))
    torch.testing.assert_close(program.module()(x), wanted)


def test_a_price_sees_one_bit() -> None:
    network = binary(nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6))
    workload = trace(network, (3, 6, 6))
    assert np_list(workload.activation_bits) == np_list(workload.weight_bits) == [1]


def np_list(values: object) -> list[int]:
    return [int(v) for v in torch.as_tensor(values).reshape(-1).tolist()]
