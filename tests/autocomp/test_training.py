from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocomp.errors import ConfigError
from autocomp.training import Recipe, augment, train


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def fit(recipe: Recipe, seed: int = 0) -> nn.Module:
    """Bright images are of class 1; images are 2x2."""
    labels = np.arange(40) % 2
    images = np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None, None], (40, 1, 2, 2))
    return train(network, images, labels, to_input=lambda x: x / 255, recipe=recipe, seed=seed)


def test_a_network_learns_to_tell_bright_from_dark() -> None:
    model = fit(Recipe(epochs=20, batch=10))
    assert not model.training
    assert model(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)).argmax(1).tolist() == [0, 1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (fit(Recipe(epochs=2, batch=16, shift=1, flip=True), seed) for seed in (0, 0, 1))
    same, different = ([torch.equal(a, b) for a, b in zip(first.parameters(), m.parameters(), strict=True)] for m in (again, other))
    assert all(same)
    assert not any(different)


def test_the_global_generators_stay_as_they_were() -> None:
    def states() -> tuple[list[int], list[int]]:
        legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - it is the global state that is guarded here
        return torch.get_rng_state().tolist(), legacy["state"]["key"].tolist()

    before = states()
    fit(Recipe(epochs=1, batch=16, shift=1))
    assert states() == before


def test_the_number_of_threads_is_that_of_the_recipe_and_then_the_one_before() -> None:
    seen = []
    before = torch.get_num_threads()
    images, labels = np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64)

    def to_input(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return x.float()

    train(network, images, labels, to_input=to_input, recipe=Recipe(epochs=1, threads=before + 1), seed=0)
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_fewer_images_than_a_batch_make_one_step() -> None:
    assert all(weight.isfinite().all() for weight in fit(Recipe(epochs=1, batch=1000)).parameters())


def test_a_shift_moves_each_image_within_its_bounds() -> None:
    image = torch.zeros(1, 2, 5, 5, dtype=torch.uint8)
    image[:, :, 2, 2] = 9
    torch.manual_seed(0)
    moved = augment(image.expand(500, -1, -1, -1), shift=1, flip=False)
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert (moved.sum((1, 2, 3)) == 18).all()


def test_a_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    image = torch.tensor([[1, 0], [2, 3]], dtype=torch.uint8).view(1, 1, 2, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flipped = augment(image.expand(1000, -1, -1, -1), shift=0, flip=True)
    as_it_was = (flipped == image).flatten(1).all(1)
    mirrored = (flipped == image.flip(3)).flatten(1).all(1)
    assert (as_it_was ^ mirrored).all()
    assert 400 < int(mirrored.sum()) < 600  # six standard deviations of a fair coin: 500 +- 95


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(ConfigError, match=r"diverged in epoch \d+; use a learning_rate below 1e\+20"):
        fit(Recipe(epochs=5, batch=10, learning_rate=1e20))


@pytest.mark.parametrize("values", [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"shift": -1}])
def test_a_recipe_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Training needs"):
        replace(Recipe(epochs=1), **values)
