"""Filter pruning of every network: ties that a branch, a shuffle, a group or a gate makes are all kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autocomp import models
from autocomp.channels import FROZEN
from autocomp.tracing import LAYERS

from .compression.networks import weight_of
from .compression.test_structure import deaf_to, mapped, pruned, smallest_groups
from .models.small import CLASSES, SMALL, small


@pytest.mark.parametrize("name", SMALL)
def test_a_pruned_network_computes_what_the_whole_one_does_when_nobody_listens_to_what_went(name: str) -> None:
    shape, _ = SMALL[name]
    network = small(name)
    graph, channels = mapped(network, shape)
    images = torch.rand(2, *shape)
    with torch.no_grad():
        assert torch.equal(graph(images), network(images))
    graph.double()  # sums in another order differ by more than rounding where a deep network of random weights amplifies it
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        narrow = pruned(graph, channels, 0.5)
        deaf = deaf_to(graph, channels, smallest_groups(graph, channels, 0.5))(x)
        torch.testing.assert_close(narrow(x), deaf, rtol=1e-8, atol=1e-12)
        assert not torch.allclose(graph(x), deaf, rtol=1e-3)  # what went had been heard
    assert sum(p.numel() for p in narrow.parameters()) < 0.8 * sum(p.numel() for p in graph.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_every_filter_of_every_network_can_be_pruned_but_those_of_the_classes(name: str) -> None:
    graph, channels = mapped(small(name), SMALL[name][0])
    layers = [(layer, groups) for layer, groups in channels.outputs.items() if isinstance(graph.get_submodule(layer), LAYERS)]
    assert {layer for layer, groups in layers if FROZEN in groups} == {layers[-1][0]}
    assert layers[-1][1].tolist() == [FROZEN] * CLASSES


def test_the_sizes_of_the_families_of_a_shufflenet_are_those_counted_by_hand() -> None:
    # Two groups, 200 channels in the first stage, so 50 in a unit's bottleneck: two groups of 25. The shuffle deals them to
    # the two groups of `expand` in turn, so places 0 to 11 of both groups land in its first group, 13 to 24 in its second,
    # and place 12 in one each. `compress` ties equal places, (0, 25), ...: two channels. Place 12 is even already; the others
    # are paired across `expand`, 12 groups of four channels: 12 x 4 + 2 = 50.
    shape = (3, 32, 32)
    _, channels = mapped(models.build("shufflenet", classes=10, input_shape=shape, groups=2).eval(), shape)
    found = channels.outputs["stage2_2.body.compress"]
    sizes = np.unique(np.unique(found, return_counts=True)[1], return_counts=True)
    assert [part.tolist() for part in sizes] == [[2, 4], [1, 12]]


def test_a_grouped_convolution_may_lose_other_places_in_each_group() -> None:
    # The two groups of `group` hear the channels 0, 1, 2, 3 and, shuffled, 0, 2, 1, 3: each channel once in either group.
    # Channel 1 alone can go, from place 1 of the first group and from place 2 of the second.
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.group, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(8, 6, 1, groups=2), nn.Conv2d(6, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            y: torch.Tensor = self.head(self.group(torch.cat([x, F.channel_shuffle(x, 2)], 1)))
            return y

    network, shape = Crossed().eval(), (3, 4, 4)
    network.first.weight.data[1] *= 0.01
    graph, channels = mapped(network, shape)
    assert {family.leader: len(family.members) for family in channels.families} == {"first": 4, "group": 3}
    x = torch.randn(2, *shape)
    with torch.no_grad():
        narrow = pruned(graph, channels, 0.25)
        torch.testing.assert_close(narrow(x), deaf_to(graph, channels, channels.outputs["first"][1:2])(x))
    kept = network.group.weight.detach()
    expected = torch.cat([kept[:3][:, [0, 2, 3]], kept[3:][:, [0, 1, 3]]])
    assert torch.equal(weight_of(narrow, "group"), expected)
