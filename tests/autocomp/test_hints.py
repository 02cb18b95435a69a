"""Hints and attention: both losses by hand, layers by depth, and networks that are left as they were."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.distill import FineTuning, distill
from autocomp.errors import ConfigError
from autocomp.hints import InnerGuide, attention_loss, attention_map, hint_loss, spread

SHAPE = (3, 8, 8)


def network() -> fx.GraphModule:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten())
    made = normalize(nn.Sequential(*layers, nn.Linear(216, 4)).eval(), SHAPE)
    assert made is not None
    return made


def small(knobs: dict[str, Any], layers: tuple[str, ...] = ("0", "2")) -> nn.Module:
    teacher = network()
    return compress(teacher, Configuration(dict.fromkeys(layers, Choice(**knobs))), default_methods(channel_map(teacher, SHAPE)))


def guide(student: nn.Module, teacher: nn.Module, *, hint: float = 0.0, attention: float = 0.0, layers: int = 3) -> InnerGuide:
    return InnerGuide(student, teacher, SHAPE, hint_weight=hint, attention_weight=attention, layers=layers)


def inner_loss(found: InnerGuide, x: Tensor) -> float:
    with found.watching():
        found.student(x)
        return found.loss(x).item()


def test_attention_is_the_map_and_distance_worked_by_hand() -> None:
    # Two channels on two pixels: (1, 2) and (2, 1): squares add up to 5 and 5; as a unit vector 1/sqrt(2) each.
    # The other network looks at the first pixel alone: (1, 0). Distance sqrt((1 - r)^2 + r^2) = sqrt(2 - 2 r), r = 1/sqrt(2).
    ours = torch.tensor([[[[1.0, 2.0]], [[2.0, 1.0]]]])
    theirs = torch.tensor([[[[3.0, 0.0]]]])
    torch.testing.assert_close(attention_map(ours), torch.full((1, 2), 1 / math.sqrt(2)))
    assert attention_loss(ours, theirs).item() == pytest.approx(math.sqrt(2 - math.sqrt(2)))


def test_attention_does_not_see_how_strong_features_are_or_how_many() -> None:
    x = torch.rand(4, 3, 5, 5)
    assert attention_loss(7 * torch.cat([x, x], 1), x).item() == pytest.approx(0, abs=1e-6)


def test_hints_are_half_the_mean_square() -> None:
    assert hint_loss(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 2.0]]]])).item() == pytest.approx(0.5 * (4 + 0) / 2)


def test_points_are_spread_evenly_and_end_with_the_last_convolution() -> None:
    assert spread(network(), SHAPE, 1) == ["4"]
    assert spread(network(), SHAPE, 2) == ["0", "4"]
    assert spread(network(), SHAPE, 9) == ["0", "2", "4"]
    with pytest.raises(ConfigError, match="need a convolution, but Sequential has none"):
        spread(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), SHAPE, 1)


def test_a_student_that_is_the_teacher_has_no_loss() -> None:
    teacher = network()
    assert inner_loss(guide(copy.deepcopy(teacher), teacher, hint=1.0, attention=1.0), torch.randn(4, *SHAPE)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("knobs", [{"sparsity": 0.5, "pattern": "filter"}, {"rank": 0.4, "factorization": "svd_out"}, {"weight_bits": 3}])
def test_every_compressed_layer_can_be_guided(knobs: dict[str, Any]) -> None:
    teacher, student = network(), small(knobs)
    found = guide(student, teacher, hint=1.0, attention=1.0)
    assert inner_loss(found, torch.randn(4, *SHAPE)) > 0
    # regressors only where filters are gone: 8 became 4 in two layers, each with a 1 x 1 kernel and a bias
    assert [p.shape for p in found.parameters()] == ([(8, 4, 1, 1), (8,)] * 2 if "sparsity" in knobs else [])


def test_attention_alone_needs_no_regressor() -> None:
    found = guide(small({"sparsity": 0.5, "pattern": "filter"}), network(), attention=1.0)
    assert list(found.parameters()) == []


def test_nothing_is_left_on_the_networks() -> None:
    teacher, student = network(), small({"weight_bits": 3})
    found = guide(student, teacher, hint=1.0)
    inner_loss(found, torch.randn(2, *SHAPE))
    assert not any(module._forward_hooks for net in (teacher, student) for module in net.modules())
    assert not found._seen
    assert all(p.grad is None for p in teacher.parameters())


def test_training_with_hints_brings_the_features_together() -> None:
    teacher, student = network(), small({"sparsity": 0.5, "pattern": "filter"})
    x = torch.randn(64, *SHAPE)
    torch.manual_seed(0)
    found = guide(student, teacher, hint=1.0, attention=1.0)
    before = inner_loss(found, x)
    settings = FineTuning(alpha=1.0, batch_size=16, learning_rate=0.01)
    with torch.no_grad():
        answers = teacher(x)
    rounds = distill(
        student,
        lambda numbers: (x[numbers], torch.zeros(len(numbers), dtype=torch.int64), answers[numbers]),
        images=64,
        epochs=15,
        settings=settings,
        generator=np.random.default_rng(0),
        guide=found,
    )
    assert sum(rounds) == 15 * 64
    assert inner_loss(found, x) < 0.75 * before
