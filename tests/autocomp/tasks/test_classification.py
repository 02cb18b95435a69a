from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from autocomp import cache, models
from autocomp.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from autocomp.tasks import ClassificationTask, Task, accuracy
from autocomp.tasks.classification import channel_statistics

Write = Callable[..., Path]
SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def task(data: Path, **arguments: Any) -> ClassificationTask:
    defaults: dict[str, Any] = {"name": "small", "data": data, "model": "resnet20", "epochs": 1}
    return ClassificationTask(**defaults | arguments)


def message(data: Path, **arguments: Any) -> str:
    with pytest.raises(DataError) as error:
        task(data, **arguments).train()
    assert "\n" not in str(error.value)
    return str(error.value)


def flat(*grey_levels: int, side: int = 8) -> list[np.ndarray]:
    """One even image per grey level."""
    return [np.full((side, side), level, np.uint8) for level in grey_levels]


def test_images_and_labels_come_back_pixel_by_pixel_in_the_order_of_the_shards(tmp_path: Path, parquet: Write) -> None:
    parquet(tmp_path / "train-0.parquet", flat(1, 2, 3), [0, 1, 2])
    parquet(tmp_path / "train-1.parquet", flat(4, 5), [3, 4])
    parquet(tmp_path / "val.parquet", flat(6), [1])
    parquet(tmp_path / "test.parquet", flat(7), [2])
    small: Task = task(tmp_path)
    assert small.train().images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert small.train().labels.tolist() == [0, 1, 2, 3, 4]
    assert small.validation().images.ravel().tolist() == [6] * 64
    assert small.test().labels.tolist() == [2]
    assert (small.classes, small.input_shape) == (5, (1, 8, 8))


def test_colours_lie_in_the_order_red_green_blue_before_height_and_width(tmp_path: Path, parquet: Write) -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 2] = (10, 20, 30)
    images = task(parquet(tmp_path / "a.parquet", [image] * 9, [0] * 9)).train().images
    assert images.shape[1:] == (3, 2, 3)
    assert images[0, :, 0, 2].tolist() == [10, 20, 30]
    assert images[0].sum() == 60


def test_other_column_names_are_found_or_taken_as_given(tmp_path: Path, parquet: Write) -> None:
    path = parquet(tmp_path / "a.parquet", 10, image="img", label="digit")
    assert task(path).classes == 5
    assert task(path, image_column="img", label_column="digit").classes == 5


def test_a_plain_column_of_bytes_holds_images_too(tmp_path: Path, parquet: Write) -> None:
    table = pq.read_table(parquet(tmp_path / "a.parquet", 10))
    pq.write_table(pa.table({"image": table["image"].combine_chunks().field("bytes"), "label": table["label"]}), tmp_path / "b.parquet")
    assert np.array_equal(task(tmp_path / "a.parquet").train().images, task(tmp_path / "b.parquet").train().images)


def test_missing_splits_are_parted_from_the_training_images(tmp_path: Path, parquet: Write, caplog: pytest.LogCaptureFixture) -> None:
    small = task(parquet(tmp_path / "all.parquet", flat(*range(100))), validation_fraction=0.2)
    with caplog.at_level(logging.INFO):
        parts = [set(part.images[:, 0, 0, 0].tolist()) for part in (small.train(), small.validation(), small.test())]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert set.union(*parts) == set(range(100))
    assert "no test split; 20 training images" in caplog.text
    assert "no validation split; 20 training images" in caplog.text


def test_a_limit_keeps_the_classes_in_proportion(tmp_path: Path, parquet: Write) -> None:
    parquet(tmp_path / "train.parquet", 100)
    parquet(tmp_path / "test.parquet", 3)
    small = task(tmp_path, limit=10, classes=5)
    assert np.bincount(small.train().labels).tolist() == [2] * 5
    assert (len(small.validation()), len(small.test())) == (10, 3)


def test_images_are_decoded_once_and_then_mapped_read_only(tmp_path: Path, parquet: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = parquet(tmp_path / "train.parquet", 30)
    parquet(tmp_path / "validation.parquet", 3)
    parquet(tmp_path / "test.parquet", 3)
    with caplog.at_level(logging.INFO):
        first, again = (task(tmp_path).train() for _ in range(2))
        assert caplog.text.count("Decoding") == 3  # one for each file
        assert np.array_equal(first.images, again.images)
        assert type(again.images) is np.ndarray
        assert not again.images.flags.writeable
        parquet(path, 31)
        assert len(task(tmp_path).train()) == 31
        assert caplog.text.count("Decoding") == 4


def test_damaged_cache_files_are_made_again(tmp_path: Path, parquet: Write, empty_cache: Path) -> None:
    path = parquet(tmp_path / "a.parquet", 20)
    expected = task(path).train().images.copy()
    for file in empty_cache.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert np.array_equal(task(path).train().images, expected)
    assert np.array_equal(task(path).train().images, expected)


def test_data_is_used_without_a_cache_that_can_be_written(tmp_path: Path, parquet: Write, empty_cache: Path) -> None:
    empty_cache.touch()
    assert len(task(parquet(tmp_path / "a.parquet", 20)).train()) == 16
    assert cache.directory() == empty_cache


def test_images_of_different_sizes_are_refused_unless_a_size_is_given(tmp_path: Path, parquet: Write) -> None:
    path = parquet(tmp_path / "a.parquet", [*flat(1, 2, 3, 4, 5, 6, 7, 8), np.full((6, 4), 9, np.uint8)])
    text = message(path)
    assert "row 8 of" in text
    assert "is 6x4, not 8x8; set task.image_size" in text
    small = task(path, image_size=5)
    assert small.input_shape == (1, 5, 5)
    assert np.unique(np.concatenate([small.train().images, small.validation().images, small.test().images])).tolist() == list(range(1, 10))


def test_the_test_images_must_have_the_size_of_the_training_images(tmp_path: Path, parquet: Write) -> None:
    parquet(tmp_path / "train.parquet", 10)
    parquet(tmp_path / "test.parquet", flat(1, side=7))
    assert "row 0 of" in (text := message(tmp_path))
    assert "is 7x7, not 8x8" in text


def test_a_damaged_image_is_named_by_file_and_row(tmp_path: Path, parquet: Write) -> None:
    good = pq.read_table(parquet(tmp_path / "good.parquet", 1))["image"][0].as_py()["bytes"]
    for damaged, reason in ((b"no image", "no image format"), (good[:60], "cannot be decoded"), (None, "has no bytes")):
        text = message(parquet(tmp_path / "a.parquet", [*flat(1, 2), damaged]))
        assert f"row 2 of '{tmp_path / 'a.parquet'}'" in text
        assert reason in text


@pytest.mark.parametrize(
    ("labels", "arguments", "rule"),
    [
        ([0, 1, 9], {"classes": 3}, "Labels must lie in 0..2 for 3 classes, but row 2 of the train split has 9."),
        ([0, -1, 1], {}, "row 1 of the train split has -1"),
        ([0, None, 1], {}, "row 1 of"),
        (["cat", "dog", "cat"], {}, "Column 'label' of"),
        ([0.5, 1.5, 2.5], {}, "label (double); set task.label_column."),
        ([0, 1, 2], {"label_column": "class"}, "Column 'class' of"),
        ([0, 1, 2], {"image_column": "photo"}, "Column 'photo' of"),
        ([0, 1, 2], {"image_column": "label"}, "its columns are image (struct), label (int64)"),
    ],
)
def test_labels_and_columns_that_cannot_be_used_are_said(
    tmp_path: Path, parquet: Write, labels: list[Any], arguments: dict[str, Any], rule: str
) -> None:
    assert rule in message(parquet(tmp_path / "train.parquet", 3, labels), **arguments)


def test_a_table_without_images_or_labels_says_what_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "a.parquet")
    assert "has none; its columns are text (string), label (int64)." in message(tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": [b"a"], "text": ["a"]}), tmp_path / "b.parquet")
    assert "no column of integers" in message(tmp_path / "b.parquet")
    pq.write_table(pa.table({"image": [b"a"], "fine": [0], "coarse": [0]}), tmp_path / "c.parquet")
    assert "2 columns of integers to be the labels" in message(tmp_path / "c.parquet")


def test_files_that_are_empty_or_no_parquet_are_said(tmp_path: Path, parquet: Write) -> None:
    assert "at least one row" in message(parquet(tmp_path / "empty.parquet", [], pa.array([], pa.int64())))
    (tmp_path / "text.parquet").write_text("not a table")
    assert f"The Parquet file '{tmp_path / 'text.parquet'}' cannot be read" in message(tmp_path / "text.parquet")
    damaged = parquet(tmp_path / "damaged.parquet", 300)
    content = bytearray(damaged.read_bytes())
    content[1000:3000] = bytes(2000)
    damaged.write_bytes(content)
    assert "damaged.parquet" in message(damaged)


def test_mean_and_deviation_are_measured_per_channel(tmp_path: Path, parquet: Write) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), dtype=np.uint8)
    images[:, 2] = 51
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean((0, 2, 3)))
    assert std[:2] == pytest.approx((images / 255).std((0, 2, 3))[:2])
    assert std[2] == 1 / 255  # one grey level, because nothing can be divided by zero
    small = task(parquet(tmp_path / "train.parquet", flat(*([0, 255] * 10))))
    assert (small.mean, small.std) == ((0.5,), (0.5,))
    assert task(tmp_path, mean=[0.1], std=[0.2]).mean == (0.1,)


@pytest.mark.parametrize("scale", [{"mean": [0.5, 0.5]}, {"std": [0.0]}])
def test_a_mean_or_deviation_that_does_not_fit_the_images_is_refused(tmp_path: Path, parquet: Write, scale: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match="one value for each of 1 channels"):
        _ = task(parquet(tmp_path / "train.parquet", 20), **scale).mean


@pytest.mark.parametrize("value", [{"validation_fraction": 1.0}, {"limit": 0}, {"image_size": 0}, {"classes": 0}, {"epochs": 0}])
def test_arguments_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="needs"):
        task(Path("data"), **value)


def test_an_unknown_network_is_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet20'"):
        task(Path("data"), model="resnet_20")


def test_a_teacher_is_trained_once_and_knows_what_it_has_seen(tmp_path: Path, parquet: Write) -> None:
    labels = [row % 2 for row in range(240)]
    path = parquet(tmp_path / "a.parquet", flat(*(label * 200 for label in labels)), labels)
    small = task(path, model="digits_resnet", epochs=6)
    teacher = small.teacher()
    assert accuracy(teacher, small.test(), mean=small.mean, std=small.std) == 1
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), small.teacher().parameters(), strict=True))


def test_a_checkpoint_becomes_the_teacher(tmp_path: Path, parquet: Write) -> None:
    path = parquet(tmp_path / "train.parquet", 20)
    state = models.build("resnet20", classes=5, input_shape=(1, 8, 8), shortcut="B").state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    teacher = task(path, checkpoint=tmp_path / "weights.safetensors", model_options={"shortcut": "B"}).teacher()
    assert not teacher.training
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())
    with pytest.raises(CheckpointError, match=r"unexpected: layer2.0.shortcut"):
        task(path, checkpoint=tmp_path / "weights.safetensors").teacher()


def test_the_description_is_json_that_rebuilds_the_task_with_what_was_found_in_the_data(
    tmp_path: Path, parquet: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet(tmp_path / "train.parquet", 20)
    monkeypatch.chdir(tmp_path)
    small = task(Path("train.parquet"), limit=7, checkpoint="w.safetensors", shift=2, flip=True)
    arguments = json.loads(json.dumps(small.describe()))
    assert arguments.pop("_target_") == "autocomp.tasks.ClassificationTask"
    assert (arguments["classes"], arguments["data"]) == (5, [str(tmp_path / "train.parquet")])
    again = ClassificationTask(**arguments)
    assert again.describe() == small.describe()
    assert np.array_equal(again.train().images, small.train().images)


def test_a_task_travels_to_another_process(tmp_path: Path, parquet: Write) -> None:
    small = task(parquet(tmp_path / "train.parquet", 20))
    images = small.train().images
    assert np.array_equal(pickle.loads(pickle.dumps(small)).train().images, images)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the CIFAR-10 images and the trained network are not there")
def test_resnet20_reads_as_many_cifar_images_as_its_makers_say() -> None:
    small = ClassificationTask(
        name="cifar10",
        data=SHARED / "cifar10",
        model="resnet20",
        checkpoint=SHARED / "checkpoints" / "resnet20_cifar10.safetensors",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert accuracy(small.teacher(), small.test(), mean=small.mean, std=small.std) == pytest.approx(0.878, abs=0.002)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the MNIST images are not there")
def test_lenet5_learns_mnist_in_two_epochs() -> None:
    small = ClassificationTask(name="mnist", data=SHARED / "mnist", model="lenet5", mean=(0.1307,), std=(0.3081,), epochs=2)
    assert accuracy(small.teacher(), small.test(), mean=small.mean, std=small.std) >= 0.985
