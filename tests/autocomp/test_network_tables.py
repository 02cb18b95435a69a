"""The layer tables of hwmodels against the networks of autocomp, traced without computing anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autocomp import models
from autocomp.tracing import trace
from hwmodels import Workload
from hwmodels.networks import load_network, network_names

SHAPES = ("op", "in_channels", "out_channels", "groups", "kernel_h", "kernel_w", "stride", "in_h", "in_w", "out_h", "out_w", "repeats")
SHARED = sorted({*models.MODELS} & {*network_names()})
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"mobilenet_v1_050_128": ("mobilenet_v1", {"side": 128, "width": 0.5})}


def traced(name: str, side: int | None = None, **options: Any) -> Workload:
    """A network for the images that it is known for, or smaller ones."""
    (channels, height, width), classes = models.usual_images(name)
    shape = (channels, side or height, side or width)
    with torch.device("meta"):  # shapes without numbers: VGG-19 in milliseconds
        return trace(models.build(name, classes=classes, input_shape=shape, **options), shape)


def differing(table: Workload, found: Workload) -> list[str]:
    """The fields of which two workloads have other values."""
    fields = {field: [np.broadcast_to(getattr(w, field), w.shape) for w in (table, found)] for field in SHAPES}
    return [field for field, (written, run) in fields.items() if not np.array_equal(written, run)]


@pytest.mark.parametrize("name", SHARED)
def test_where_a_table_and_a_network_share_a_name_they_agree(name: str) -> None:
    table, found = load_network(name), traced(name)
    assert differing(table, found) == []
    # names as in Caffe have a slash where those of modules have a dot
    assert [layer.replace("/", ".") for layer in table.names] == list(found.names)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_table_of_a_variant_is_the_network_with_these_options(name: str) -> None:
    model, options = VARIANTS[name]
    assert differing(load_network(name), traced(model, **options)) == []


def test_the_networks_of_the_field_are_among_them() -> None:
    imagenet = {f"resnet{depth}" for depth in ("18", "34", "50", "50_v1_5")} | {"googlenet", "mobilenet_v1", "vgg16", "vgg19"}
    alexnets = {"alexnet", "alexnet_torch", "alexnet_ungrouped"}
    assert set(SHARED) == imagenet | alexnets | {"lenet300", "lenet5", "resnet20", "resnet32", "resnet56"}
