"""Calibration: batch norm is re-estimated exactly, and activation steps are fitted in order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import Quantization, calibrate, compress, reestimate_batch_norm
from autocomp.compression.quantization import input_quantizers
from autocomp.compression.quantizers.inputs import UniformInput


def images(n: int) -> Tensor:
    return torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_statistics_are_the_means_of_the_batches_moments() -> None:
    norm = nn.BatchNorm2d(2)
    norm.running_mean = torch.tensor([7.0, 7.0])
    x = images(24)
    assert reestimate_batch_norm(nn.Sequential(norm), x, batch=8) == 24
    parts = x.split(8)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(norm.running_mean, torch.stack([p.mean((0, 2, 3)) for p in parts]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([p.var((0, 2, 3)) for p in parts]).mean(0))


def test_images_that_do_not_fill_the_last_batch_are_spread_over_all_batches() -> None:
    # 17 images in batches of at most 8 make three batches of 6, 6 and 5; none has a single image.
    sizes = []
    norm = nn.BatchNorm2d(2)
    norm.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    reestimate_batch_norm(nn.Sequential(norm), images(17), batch=8)
    assert sizes == [6, 6, 5]


def test_a_deeper_norm_sees_what_the_newly_estimated_ones_before_it_give() -> None:
    first, second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    reestimate_batch_norm(nn.Sequential(first, second), images(32), batch=32)
    # what comes out of the first norm has mean 0 and variance n/(n-1) by the unbiased count over n = 32*4*4
    torch.testing.assert_close(second.running_mean, torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(second.running_var, torch.full((2,), 512 / 511), rtol=1e-4, atol=0)


def test_momentum_modes_and_parameters_come_back() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2, momentum=0.3), nn.Dropout(), nn.BatchNorm2d(2)).train()
    network[0].eval()
    before = [p.detach().clone() for p in network.parameters()]
    reestimate_batch_norm(network, images(8))
    assert [network[0].momentum, network[2].momentum] == [0.3, 0.1]
    assert [m.training for m in network] == [False, True, True]
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))


def test_dropout_is_off_during_estimation() -> None:
    norm = nn.BatchNorm2d(2)
    reestimate_batch_norm(nn.Sequential(nn.Dropout(0.9), norm).train(), images(16))
    torch.testing.assert_close(norm.running_mean, images(16).mean((0, 2, 3)))


def test_a_network_without_batch_norm_is_not_run() -> None:
    assert reestimate_batch_norm(nn.Sequential(nn.Linear(99, 1)), images(8)) == 0


def quantized(*layers: nn.Module, **knobs: int) -> nn.Module:
    network = nn.Sequential(*layers)
    choices = {str(i): Choice(**knobs) for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d | nn.Linear)}  # type: ignore[arg-type]
    return compress(network, Configuration(choices), (Quantization(),))


def uniform_inputs(network: nn.Module) -> list[UniformInput]:
    return [q for q in input_quantizers(network) if isinstance(q, UniformInput)]


def test_every_activation_step_is_fitted_with_its_sign() -> None:
    network = quantized(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), activation_bits=4)
    assert calibrate(network, images(16)) == 16  # one pass for the steps, none for batch norm
    assert [(q.low, q.high) for q in uniform_inputs(network)] == [(-7, 7), (0, 15), (-7, 7)]
    assert all(q.is_on for q in input_quantizers(network))


def test_a_step_is_fitted_to_what_the_quantized_layers_before_it_give() -> None:
    # The same image is quantized twice at 2 bits, with a layer that changes nothing in between: the second quantizer
    # sees only -s, 0 and s, on which the step s is without error.
    same = [nn.Conv2d(2, 2, 1, bias=False) for _ in range(2)]
    for layer in same:
        nn.init.eye_(layer.weight.data.view(2, 2))
    network = quantized(*same, activation_bits=2)
    calibrate(network, images(16))
    first, second = uniform_inputs(network)
    assert second.log_step.item() == pytest.approx(first.log_step.item(), rel=1e-5)


def test_calibrating_counts_the_images_that_it_runs() -> None:
    # Batch norm on one batch of 128, the steps on the same, batch norm on all 300 images.
    network = quantized(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), activation_bits=4)
    assert calibrate(network, images(300)) == 300
    assert calibrate(nn.Sequential(nn.BatchNorm2d(2)), images(300)) == 300


def test_steps_that_were_fitted_stay_when_a_network_is_calibrated_again() -> None:
    network = quantized(nn.Conv2d(2, 4, 3), activation_bits=4)
    calibrate(network, images(16))
    step = uniform_inputs(network)[0].log_step.item()
    assert calibrate(network, images(16) * 10) == 0
    assert uniform_inputs(network)[0].log_step.item() == step
