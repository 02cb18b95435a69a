"""Least squares and bias correction: what is lost comes back as far as the layers allow."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.compression.bias_correction import correct_biases
from autocomp.compression.reconstruction import masked_solve, reconstruct


def images(n: int = 256, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, 6, 6, generator=torch.Generator().manual_seed(0)) + 0.5


def network() -> nn.Module:
    torch.manual_seed(1)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    return nn.Sequential(*layers).eval()


def every(net: nn.Module, **knobs: object) -> Configuration:
    names = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return Configuration({name: Choice(**knobs) for name in names})  # type: ignore[arg-type]


def error(student: nn.Module, teacher: nn.Module) -> float:
    with torch.no_grad():
        return F.mse_loss(student(images()), teacher(images())).item()


def test_the_solution_is_that_of_each_filters_free_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 6, generator=generator), torch.randn(50, 3, generator=generator)
    free = (torch.rand(6, 3, generator=generator) < 0.6).float()
    found = masked_solve(x.T @ x, x.T @ y, free)
    for j in range(3):
        kept = free[:, j].bool()
        wanted = torch.linalg.lstsq(x[:, kept], y[:, j]).solution
        torch.testing.assert_close(found[kept, j], wanted, rtol=1e-3, atol=1e-4)
        assert not found[~kept, j].any()


def test_a_weight_that_was_disturbed_comes_back() -> None:
    teacher, student = network(), network()
    with torch.no_grad():
        student[2].weight += 0.3 * torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(2))  # type: ignore[index]
        student[2].bias += 1  # type: ignore[index]
    before = error(student, teacher)
    assert reconstruct(student, teacher, images()) == 3 * 2 * 256
    assert error(student, teacher) < before / 1000


def test_what_is_pruned_stays_pruned_and_the_others_make_up_for_it() -> None:
    teacher = network()
    student = compress(teacher, every(teacher, sparsity=0.5, pattern="fine"), default_methods(None))
    zeros = [(m.weight == 0) for m in student.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    before = error(student, teacher)
    reconstruct(student, teacher, images())
    assert error(student, teacher) < before / 2
    assert all(
        torch.equal(m.weight == 0, z)
        for m, z in zip((m for m in student.modules() if isinstance(m, nn.Conv2d | nn.Linear)), zeros, strict=True)
    )


def test_the_layer_behind_pruned_filters_is_fitted_to_what_is_left() -> None:
    teacher = normalize(network(), (3, 6, 6))
    assert teacher is not None
    configuration = Configuration({"0": Choice(sparsity=0.5, pattern="filter")})
    student = compress(teacher, configuration, default_methods(channel_map(teacher, (3, 6, 6))))
    assert student.get_submodule("2").weight.shape == (8, 4, 3, 3)
    before = error(student, teacher)
    reconstruct(student, teacher, images())
    assert error(student, teacher) < before / 2


def test_quantized_grouped_and_factorized_layers_stay() -> None:
    teacher = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)).eval()
    chosen = Configuration({"1": Choice(weight_bits=3), "2": Choice(rank=0.5, factorization="svd_out")})
    student = compress(teacher, chosen, default_methods(None))
    before = [p.clone() for p in student.parameters()]
    assert reconstruct(student, teacher, images(channels=4)) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))


def test_means_of_outputs_are_the_teachers_after_bias_correction() -> None:
    teacher = network()
    student = compress(teacher, every(teacher, weight_bits=2), default_methods(None))
    last: list[Tensor] = []
    for net in (teacher, student):
        net[5].register_forward_hook(lambda module, inputs, output: last.append(output.mean(0)))  # type: ignore[index]
    student(images())
    teacher(images())
    assert (last[0] - last[1]).abs().max() > 1e-2
    # one pass of the teacher, and one of the student for each of three layers
    assert correct_biases(student, teacher, images()) == 4 * 256
    last.clear()
    student(images())
    teacher(images())
    torch.testing.assert_close(last[0], last[1], rtol=0, atol=1e-4)


def test_bias_correction_is_the_shift_worked_by_hand() -> None:
    # Inputs of mean 2; the weight 1.0 became 0.75: the output is 0.5 too low on average.
    teacher, student = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, weight in ((teacher, 1.0), (student, 0.75)):
        nn.init.constant_(layer.weight, weight)
        nn.init.constant_(layer.bias, 0.25)
    networks = [nn.Sequential(nn.Flatten(), layer) for layer in (student, teacher)]
    correct_biases(networks[0], networks[1], torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
    assert student.bias.item() == pytest.approx(0.75)


def test_layers_without_a_bias_or_with_fewer_filters_are_left_out() -> None:
    teacher = normalize(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1)).eval(), (3, 6, 6))
    assert teacher is not None
    configuration = Configuration({"2": Choice(sparsity=0.5, pattern="filter")})
    student = compress(teacher, configuration, default_methods(channel_map(teacher, (3, 6, 6))))
    assert not parametrize.is_parametrized(student)
    narrow = copy.deepcopy(student.get_submodule("2").bias)
    assert correct_biases(student, teacher, images()) == 2 * 256
    assert torch.equal(student.get_submodule("2").bias, narrow)  # type: ignore[arg-type]
    assert np.isfinite(error(student, teacher))
