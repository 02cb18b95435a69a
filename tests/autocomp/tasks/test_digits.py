from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from autocomp import cache
from autocomp.tasks import DigitsTask, Task, accuracy
from autocomp.tasks.classification import channel_statistics


def weights(task: DigitsTask) -> list[torch.Tensor]:
    return list(task.teacher().state_dict().values())


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_splits_have_all_images_and_every_digit_in_proportion(digits: DigitsTask) -> None:
    sets = digits.train(), digits.validation(), digits.test()
    assert [len(images) for images in sets] == [1000, 397, 400]
    for images in sets:
        assert images.images.shape[1:] == digits.input_shape
        # 174 to 183 images of each digit among 1797: 9.68 % to 10.18 %
        assert np.all(np.abs(np.bincount(images.labels, minlength=10) / len(images) - 0.1) < 0.008)
    assert sets[0].images.max() == 255


def test_the_mean_and_deviation_are_those_of_the_training_images(digits: DigitsTask) -> None:
    mean, std = channel_statistics(digits.train().images)
    assert digits.mean == pytest.approx(mean, abs=1e-4)
    assert digits.std == pytest.approx(std, abs=1e-4)


def test_the_teacher_reads_at_least_98_percent_of_unseen_digits(digits: Task) -> None:
    teacher = digits.teacher()
    assert not teacher.training
    assert accuracy(teacher, digits.test(), mean=digits.mean, std=digits.std) >= 0.98


def test_each_call_gives_a_teacher_of_ones_own(digits: DigitsTask) -> None:
    first, second = digits.teacher(), digits.teacher()
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(second.parameters()).any()


def test_a_teacher_comes_from_the_cache_and_another_seed_is_another_teacher(empty_cache: Path) -> None:
    first = weights(DigitsTask(epochs=1))
    entries = {path: path.stat().st_mtime_ns for path in empty_cache.rglob("*.safetensors")}
    assert same(first, weights(DigitsTask(epochs=1)))
    assert {path: path.stat().st_mtime_ns for path in empty_cache.rglob("*.safetensors")} == entries
    assert not same(first, weights(DigitsTask(epochs=1, seed=1)))
    assert len(list(empty_cache.rglob("*.safetensors"))) == 2


def test_a_damaged_cache_entry_is_made_again(empty_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = weights(DigitsTask(epochs=1))
    [entry] = empty_cache.rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert same(first, weights(DigitsTask(epochs=1)))
    assert "damaged" in caplog.text
    assert same(first, weights(DigitsTask(epochs=1)))
    assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_written_does_not_stop_the_training(empty_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty_cache.write_text("a file where the directory should be")
    with caplog.at_level(logging.WARNING):
        assert not DigitsTask(epochs=1).teacher().training
    assert "cannot be written" in caplog.text
    assert cache.directory() == empty_cache


def test_making_a_teacher_leaves_the_global_generator_alone(empty_cache: Path) -> None:
    for _ in ("trained", "cached"):
        before = torch.get_rng_state()
        DigitsTask(epochs=1).teacher()
        assert torch.equal(before, torch.get_rng_state())


def test_the_description_is_json_that_rebuilds_the_task() -> None:
    task = DigitsTask(seed=3, epochs=5)
    arguments = json.loads(json.dumps(task.describe()))
    assert arguments.pop("_target_") == "autocomp.tasks.DigitsTask"
    assert DigitsTask(**arguments).describe() == task.describe()
