"""Every file for `finetune` can be named, and does what its name says."""

from __future__ import annotations

from typing import Any

import pytest

from autocomp.cli.composing import ConfigTree
from autocomp.distill import FineTuning

MODES = ("calibrate", "datafree", "distill", "none", "short", "unlabelled")


def mode(name: str) -> FineTuning:
    config: dict[str, Any] = ConfigTree().compose([f"finetune={name}"])["finetune"]
    return FineTuning(**config)


def test_these_are_the_modes() -> None:
    assert sorted(ConfigTree().names("finetune")) == sorted(MODES)


def test_the_default_says_what_the_class_does_but_for_the_images_of_an_epoch() -> None:
    assert mode("short") == FineTuning(images_per_epoch=5000)
    assert FineTuning(**ConfigTree().compose([])["finetune"]) == mode("short")


@pytest.mark.parametrize("name", ["none", "calibrate"])
def test_without_fine_tuning_nothing_is_trained(name: str) -> None:
    assert (mode(name).epochs, mode(name).polish_epochs) == (0, 0)


@pytest.mark.parametrize("name", ["calibrate", "unlabelled", "datafree"])
def test_modes_without_labels_give_them_no_weight(name: str) -> None:
    assert mode(name).alpha == 1


def test_only_data_free_fine_tuning_makes_images_and_only_distillation_looks_inside() -> None:
    assert [name for name in MODES if mode(name).synthetic_images] == ["datafree"]
    assert [name for name in MODES if mode(name).guides] == ["distill"]
    assert [name for name in MODES if mode(name).equalize and mode(name).reconstruct and mode(name).correct_bias] == ["calibrate"]
