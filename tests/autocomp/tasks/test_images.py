from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autocomp.errors import DataError
from autocomp.tasks import ImageSet, accuracy, evaluate, to_input
from autocomp.tasks.base import split


def image_set(labels: list[int], side: int = 2) -> ImageSet:
    """Every pixel of an image is its label."""
    truth = np.array(labels, dtype=np.int64)
    images = np.broadcast_to(truth.astype(np.uint8)[:, None, None, None], (len(labels), 1, side, side))
    return ImageSet(images, truth)


class Threshold(nn.Module):
    """Says class 1, with a lead of ``log 3``, for images whose first pixel is above zero; counts on batch norm being off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_bright = self.norm(x)[:, 0, 0, 0] > 0
        return torch.stack([~is_bright, is_bright], 1) * math.log(3)


def test_input_is_scaled_to_one_then_shifted_and_divided_per_channel() -> None:
    images = np.array([0, 255, 51, 102], dtype=np.uint8).reshape(1, 2, 1, 2)
    # (0 - 0.5) / 0.5, (1 - 0.5) / 0.5, (0.2 - 0.1) / 0.2, (0.4 - 0.1) / 0.2
    expected = torch.tensor([-1.0, 1.0, 0.5, 1.5]).reshape(1, 2, 1, 2)
    for pixels in (images, torch.from_numpy(images)):
        result = to_input(pixels, (0.5, 0.1), (0.5, 0.2))
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected)


def test_read_only_images_are_taken_and_stay_as_they_are() -> None:
    images = np.full((1, 1, 2, 2), 7, dtype=np.uint8)
    images.flags.writeable = False
    to_input(images, (0.0,), (1.0,))
    assert (images == 7).all()


def test_accuracy_and_loss_are_those_counted_by_hand() -> None:
    # Three of four right. Cross-entropy with a lead of log 3: log(4/3) when right, log 4 when wrong.
    images = ImageSet(image_set([0, 1, 1, 0]).images, np.array([0, 1, 1, 1]))
    score, loss = evaluate(Threshold(), images, mean=(1 / 512,), std=(1.0,), batch=3)
    assert score == 0.75
    assert loss == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)
    assert accuracy(Threshold(), images, mean=(1 / 512,), std=(1.0,)) == 0.75


def test_measuring_leaves_every_part_of_the_network_in_its_mode() -> None:
    model = nn.Sequential(Threshold().train(), nn.Flatten().eval())
    evaluate(model, image_set([0, 1]), mean=(0.0,), std=(1.0,))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert not model.state_dict()["0.norm.num_batches_tracked"]


def test_an_exported_network_is_measured_like_its_original() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    exported = torch.export.export(model, (torch.zeros(2, 1, 2, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    images = image_set([0, 1, 1, 0, 1])
    assert evaluate(exported, images, mean=(0.0,), std=(1.0,)) == pytest.approx(evaluate(model, images, mean=(0.0,), std=(1.0,)))


@pytest.mark.parametrize(
    ("images", "labels", "rule"),
    [
        (np.zeros((2, 1, 2, 2), np.float32), np.zeros(2, np.int64), "must be uint8"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.int64), "n x c x h x w"),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(3, np.int64), "2 images need as many"),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int32), "int64"),
        (np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64), "at least one image"),
    ],
)
def test_a_set_of_another_form_cannot_be_built(images: np.ndarray, labels: np.ndarray, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        ImageSet(images, labels)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0, 1), st.integers(0, 3))
def test_a_split_shares_out_every_image_and_every_class_in_proportion(labels: list[int], share: float, seed: int) -> None:
    n = len(labels)
    size = min(max(round(share * n), 1), n - 1)
    rest, part = split(image_set(labels), size, seed)
    assert (len(rest), len(part)) == (n - size, size)
    assert sorted([*rest.labels, *part.labels]) == sorted(labels)
    for label in set(labels):
        # Evenly spaced steps hit a run of k neighbours at least floor(k x step) and at most ceil(k x step) times.
        assert abs(list(part.labels).count(label) - labels.count(label) * size / n) < 1


def test_a_split_is_decided_by_its_seed() -> None:
    images = ImageSet(np.arange(100, dtype=np.uint8).reshape(-1, 1, 1, 1), np.zeros(100, np.int64))
    first, again, other = (split(images, 30, seed)[1].images.ravel().tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("size", [0, 4, 5])
def test_a_split_takes_something_and_leaves_something(size: int) -> None:
    with pytest.raises(DataError, match=f"{size} of 4"):
        split(image_set([0, 1, 0, 1]), size, 0)
