"""Distillation: the loss by hand, settings that make sense, and a student that learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.distill import FineTuning, Lesson, distill, distillation_loss
from autocomp.errors import ConfigError


def test_the_loss_is_the_one_worked_by_hand() -> None:
    # T = 2, alpha = 0.75, one image, label 0.
    # Teacher logits (2 ln 3, 0): softened ln 3 and 0, so 3/4 and 1/4. Student logits (0, 0): 1/2 and 1/2.
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2); times T^2 = 4 and alpha. Cross entropy of the student: ln 2, times 1/4.
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    loss = distillation_loss(torch.zeros(1, 2), teacher, torch.tensor([0]), temperature=2, alpha=0.75)
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert loss.item() == pytest.approx(0.75 * 4 * kl + 0.25 * math.log(2), rel=1e-5)


def test_the_loss_is_a_mean_over_images() -> None:
    logits, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6) % 4
    whole = distillation_loss(logits, teacher, labels, temperature=4, alpha=0.7)
    single = [distillation_loss(logits[i : i + 1], teacher[i : i + 1], labels[i : i + 1], temperature=4, alpha=0.7) for i in range(6)]
    torch.testing.assert_close(whole, torch.stack(single).mean())


def test_without_the_teacher_the_loss_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    loss = distillation_loss(logits, torch.randn(5, 3), labels, temperature=4, alpha=0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_without_labels_a_student_that_answers_like_the_teacher_has_no_loss() -> None:
    logits = torch.randn(5, 3)
    shifted = logits + 7  # the same answers
    loss = distillation_loss(shifted, logits, torch.zeros(5, dtype=torch.int64), temperature=4, alpha=1)
    assert loss.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "`finetune.epochs` must be at least 0, but is -1."),
        ({"polish_epochs": -1}, "`finetune.polish_epochs` must be at least 0, but is -1."),
        ({"batch_size": 1}, "`finetune.batch_size` must be at least 2, but is 1."),
        ({"calibration_images": 1}, "`finetune.calibration_images` must be at least 2, but is 1."),
        ({"learning_rate": 0}, "`finetune.learning_rate` must be positive, but is 0."),
        ({"learning_rate": float("nan")}, "`finetune.learning_rate` must be positive, but is nan."),
        ({"temperature": -4.0}, "`finetune.temperature` must be positive, but is -4.0."),
        ({"alpha": 1.5}, "`finetune.alpha` must lie in [0, 1], but is 1.5."),
        ({"images_per_epoch": 10}, "`finetune.images_per_epoch` must be at least a batch of 64, but is 10."),
        ({"hint_weight": -1.0}, "`finetune.hint_weight` must be at least 0, but is -1.0."),
        ({"attention_weight": float("nan")}, "`finetune.attention_weight` must be at least 0, but is nan."),
        ({"shift": -1}, "`finetune.shift` must be at least 0, but is -1."),
        ({"hint_layers": 0}, "`finetune.hint_layers` must be at least 1, but is 0."),
        ({"synthetic_images": -1}, "`finetune.synthetic_images` must be at least 0, but is -1."),
        ({"synthetic_steps": 0}, "`finetune.synthetic_steps` must be at least 1, but is 0."),
        ({"noise_draws": -1}, "`finetune.noise_draws` must be at least 0, but is -1."),
        ({"gradient_bits": 32}, "`finetune.gradient_bits` must be 1 to 16, or null for floating point, but is 32."),
        ({"synthetic_images": 64}, "`finetune.alpha` must be 1 with synthetic images, which have no labels, but is 0.7."),
    ],
)
def test_a_setting_out_of_range_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        FineTuning(**change)
    assert str(error.value) == message


class Toy:
    """Points on a plane, and a teacher that tells the quadrant."""

    def __init__(self, n: int = 256) -> None:
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(n, 2, generator=generator)
        self.labels = (self.points[:, 0] > 0).long() + 2 * (self.points[:, 1] > 0).long()
        self.asked: list[NDArray[np.int64]] = []

    def lesson(self, numbers: NDArray[np.int64]) -> Lesson:
        self.asked.append(numbers)
        return self.points[numbers], self.labels[numbers], F.one_hot(self.labels[numbers], 4) * 8.0

    def loss(self, student: nn.Module) -> float:
        with torch.no_grad():
            return F.cross_entropy(student(self.points), self.labels).item()

    def distill(self, student: nn.Module, *, epochs: int, seed: int = 0, **settings: Any) -> list[int]:
        finetune = FineTuning(**settings)
        generator = np.random.default_rng(seed)
        n = len(self.points)
        return list(distill(student, self.lesson, images=n, epochs=epochs, settings=finetune, generator=generator))


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_a_student_learns_from_labels_and_from_the_teacher(alpha: float) -> None:
    toy, net = Toy(), student()
    before = toy.loss(net)
    toy.distill(net, epochs=10, alpha=alpha, learning_rate=0.02)
    assert toy.loss(net) < before / 3
    assert not net.training


def test_an_epoch_sees_every_image_once_in_batches_of_at_least_the_given_size() -> None:
    toy = Toy(200)
    assert toy.distill(student(), epochs=2) == [200, 200]
    assert [len(numbers) for numbers in toy.asked] == [67, 67, 66] * 2  # 200 = 3 * 64 + 8
    for epoch in (toy.asked[:3], toy.asked[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(200))
    assert not np.array_equal(np.concatenate(toy.asked[:3]), np.concatenate(toy.asked[3:]))


def test_fewer_images_per_epoch_are_drawn_anew_for_each() -> None:
    toy = Toy(200)
    assert toy.distill(student(), epochs=2, images_per_epoch=64, batch_size=32) == [64, 64]
    drawn = [set(np.concatenate(toy.asked[i : i + 2]).tolist()) for i in (0, 2)]
    assert [len(d) for d in drawn] == [64, 64]
    assert drawn[0] != drawn[1]


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    toy = Toy(20)
    assert toy.distill(student(), epochs=1) == [20]
    assert [len(numbers) for numbers in toy.asked] == [20]


def test_the_same_seed_gives_the_same_student_and_another_seed_another() -> None:
    def trained(seed: int) -> Tensor:
        net = student()
        Toy().distill(net, epochs=2, seed=seed)
        return nn.utils.parameters_to_vector(net.parameters()).detach()

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_between_epochs_the_student_is_ready_to_be_measured() -> None:
    toy, net = Toy(), student()
    settings = FineTuning()
    for _ in distill(net, toy.lesson, images=256, epochs=2, settings=settings, generator=np.random.default_rng(0)):
        assert not net.training
        net.train()  # whatever the caller does, the next epoch trains and then comes back


class Scheduled(nn.Linear):
    """Notes how far the training is."""

    def __init__(self) -> None:
        super().__init__(2, 4)
        self.told: list[float] = []

    def advance(self, progress: float) -> None:
        self.told.append(progress)


def test_modules_with_a_schedule_are_told_of_every_step() -> None:
    # 256 images make 4 steps of 64 in each of 2 epochs
    net = Scheduled()
    Toy().distill(net, epochs=2)
    assert net.told == [i / 8 for i in range(1, 9)]


def test_what_is_open_during_an_epoch_is_closed_between_epochs() -> None:
    toy, net, events = Toy(), student(), []

    @contextmanager
    def during() -> Iterator[None]:
        events.append("open")
        yield
        events.append("closed")

    found = distill(net, toy.lesson, images=256, epochs=2, settings=FineTuning(), generator=np.random.default_rng(0), during=during)
    for _ in found:
        events.append("measured")
    assert events == ["open", "closed", "measured"] * 2


def test_pauses_within_epochs_change_nothing_of_what_is_trained() -> None:
    def trained(marks: list[float] | None) -> tuple[list[int], Tensor]:
        toy, net = Toy(200), nn.Sequential(student(), nn.Dropout(0.2))
        found = []
        for seen in distill(net, toy.lesson, images=200, epochs=2, settings=FineTuning(), generator=np.random.default_rng(0), marks=marks):
            found.append(seen)
            assert not net.training
            net(toy.points)  # measuring
        return found, nn.utils.parameters_to_vector(net.parameters()).detach()

    whole, expected = trained(None)
    # an epoch has 3 steps of 67, 67 and 66 images: 1/9 of it is nearest to none of them, 1/3 to one, 1.5 epochs to 4 steps
    parts, weights = trained([1 / 9, 1 / 3, 1, 1.5, 2])
    assert whole == [200, 200]
    assert parts == [0, 67, 133, 67, 133]
    assert torch.equal(weights, expected)
