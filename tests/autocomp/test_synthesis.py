"""Synthetic images: they meet the statistics, the teacher takes them for the wanted classes, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from autocomp.errors import ConfigError
from autocomp.synthesis import _answers, statistics_loss, synthesize
from autocomp.tasks import DigitsTask

SHAPE = (1, 8, 8)


def test_the_loss_is_the_one_worked_by_hand() -> None:
    # One channel with values 1 and 3: mean 2, variance 2 (unbiased). Running mean 0 and variance 8: 2^2 + (sqrt 8 - sqrt 2)^2 = 4 + 2.
    norm = nn.BatchNorm2d(1, eps=0)
    norm.running_mean, norm.running_var = torch.zeros(1), torch.full((1,), 8.0)
    assert statistics_loss(norm, torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)).item() == pytest.approx(4 + (math.sqrt(8) - math.sqrt(2)) ** 2)


def test_images_meet_the_statistics_and_the_classes(digits: DigitsTask) -> None:
    teacher = digits.teacher()
    teacher.zero_grad()
    weights = {name: value.clone() for name, value in teacher.state_dict().items()}
    made = synthesize(teacher, SHAPE, count=20, classes=10, steps=40)
    assert made.shape == (20, *SHAPE)
    assert not made.requires_grad
    norms = [m for m in teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    noise = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (_, before), (answers, after) = _answers(teacher, norms, noise), _answers(teacher, norms, made)
    assert after < before / 4
    assert (answers.argmax(1) == torch.arange(20) % 10).float().mean() > 0.9
    assert all(torch.equal(weights[name], value) for name, value in teacher.state_dict().items())
    assert not any(module.training or module._forward_pre_hooks for module in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())


def test_the_same_seed_gives_the_same_images(digits: DigitsTask) -> None:
    first, again, other = (synthesize(digits.teacher(), SHAPE, count=4, classes=10, steps=2, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_network_without_batch_norm_is_one_clear_line() -> None:
    with pytest.raises(ConfigError) as error:
        synthesize(nn.Sequential(nn.Conv2d(1, 2, 3)), SHAPE, count=4, classes=2, steps=1)
    assert str(error.value) == "Synthetic images need a teacher with batch norm, but Sequential has none; use finetune=unlabelled."
