"""Filter pruning: what is cut is what went, and the rest computes as before."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

from autocomp.channels import FROZEN, ChannelMap, ChannelPad, channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import FilterPruning, compress
from autocomp.models import build
from autocomp.tracing import LAYERS

from .networks import NETWORKS, SHAPE, built, conv, weight_of


def mapped(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> tuple[fx.GraphModule, ChannelMap]:
    graph = normalize(network, shape)
    assert graph is not None
    return graph, channel_map(graph, shape)


def pruned(graph: fx.GraphModule, channels: ChannelMap, sparsity: float) -> nn.Module:
    configuration = Configuration({name: Choice(sparsity=sparsity, pattern="filter") for name in channels.leaders})
    return compress(graph, configuration, (FilterPruning(channels),))


def smallest_groups(graph: fx.GraphModule, channels: ChannelMap, sparsity: float) -> NDArray[np.int64]:
    """The groups that are to go, group by group: relative L1 norms of all filters that make them, added up."""
    norms = {
        name: layer.weight.detach().abs().flatten(1).sum(1).numpy() for name, layer in graph.named_modules() if isinstance(layer, LAYERS)
    }
    gone: list[int] = []
    for family in channels.families:
        scores = []
        for group in family.members:
            score = sum(float((n / n.mean())[channels.outputs[name] == group].sum()) for name, n in norms.items())
            scores.append((score, int(group)))
        count = min(int(sparsity * len(scores) + 1e-9), len(scores) - 1)
        gone += [group for _, group in sorted(scores)[:count]]
    return np.array(gone, np.int64)


@torch.no_grad()
def deaf_to(graph: fx.GraphModule, channels: ChannelMap, gone: NDArray[np.int64]) -> nn.Module:
    """The whole network, in which no layer listens to the channels that go.

    A depthwise kernel need not be made deaf: what it makes of such a channel goes too, and nobody listens to that.
    """
    deaf = copy.deepcopy(graph)
    for name, groups in channels.inputs.items():
        layer = deaf.get_submodule(name)
        places = np.flatnonzero(np.isin(groups, gone))
        if isinstance(layer, nn.Linear):
            layer.weight[:, places] = 0
        elif isinstance(layer, nn.Conv2d) and not 1 < layer.groups == layer.in_channels:
            groups_of_filters = layer.weight.view(layer.groups, -1, *layer.weight.shape[1:])
            per_group = layer.in_channels // layer.groups
            groups_of_filters[places // per_group, :, places % per_group] = 0
    return deaf


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_computes_what_the_whole_one_does_when_nobody_listens_to_what_went(name: str, sparsity: float) -> None:
    graph, channels = mapped(built(name))
    gone = smallest_groups(graph, channels, sparsity)
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        small = pruned(graph, channels, sparsity).eval()
        torch.testing.assert_close(small(x), deaf_to(graph, channels, gone)(x), rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in graph.parameters())


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_a_pruned_resnet_computes_what_the_whole_one_does_when_nobody_listens(shortcut: str) -> None:
    shape = (3, 16, 16)
    graph, channels = mapped(build("resnet20", classes=10, input_shape=shape, shortcut=shortcut).eval(), shape)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        wanted = deaf_to(graph, channels, smallest_groups(graph, channels, 0.5))(x)
        torch.testing.assert_close(pruned(graph, channels, 0.5)(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_layer_loses_the_fraction_asked_for_and_the_filters_with_the_smallest_weights() -> None:
    first, last = nn.Conv2d(3, 10, 3), nn.Conv2d(10, 2, 3)
    size = torch.tensor([5.0, 1, 9, 2, 8, 3, 7, 4, 6, 10])
    first.weight.data[:] = size[:, None, None, None]
    first.bias.data[:] = size  # type: ignore[union-attr]
    graph, channels = mapped(nn.Sequential(first, nn.ReLU(), last))
    small = pruned(graph, channels, 0.3)  # 0.3 * 10 = 2.999... in floating point, and yet three filters go
    kept = [0, 2, 4, 6, 7, 8, 9]
    assert torch.equal(weight_of(small, "0"), first.weight[kept])
    assert small.get_parameter("0.bias").tolist() == [5, 9, 8, 7, 4, 6, 10]
    assert torch.equal(weight_of(small, "2"), last.weight[:, kept])


@pytest.mark.parametrize("name", NETWORKS)
def test_at_least_one_channel_of_each_family_stays_and_the_network_still_learns(name: str) -> None:
    graph, channels = mapped(built(name))
    small = pruned(graph, channels, 0.999).train()
    small(torch.randn(4, *SHAPE)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters())
    for family in channels.families:
        before = channels.outputs[family.leader]
        layer = small.get_submodule(family.leader)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        led = [f for f in channels.families if np.isin(f.members, before).any()]
        per_group = [int((before == f.members[0]).sum()) for f in led]
        assert len(layer.weight) == sum(per_group) + int((before == FROZEN).sum())


def test_pruning_leaves_the_teacher_as_it_was() -> None:
    graph, channels = mapped(built("option_a"))
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    pruned(graph, channels, 0.5)
    assert all(torch.equal(before[name], value) for name, value in graph.state_dict().items())


def test_channel_padding_keeps_the_sources_that_stay_also_where_it_narrows() -> None:
    # Channels 1 and 2 of four are taken, with a zero before them; channels 0 and 3 end there and can go.
    class Narrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = conv(3, 4), conv(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.pad(self.first(x), (0, 0, 0, 0, -1, -1))
            out: torch.Tensor = self.last(nn.functional.pad(x, (0, 0, 0, 0, 1, 0)))
            return out

    network = Narrowing().eval()
    with torch.no_grad():
        network.first.weight[[0, 3]] *= 0.01
    graph, channels = mapped(network)
    x = torch.randn(2, *SHAPE)
    small = pruned(graph, channels, 0.5)
    first = small.get_submodule("first")
    assert isinstance(first, nn.Conv2d)
    assert [module.source.tolist() for module in graph.modules() if isinstance(module, ChannelPad)] == [[1, 2], [-1, 0, 1]]
    with torch.no_grad():
        wanted = deaf_to(graph, channels, smallest_groups(graph, channels, 0.5))(x)
        torch.testing.assert_close(small(x), wanted, rtol=1e-4, atol=1e-5)
    assert first.out_channels < 4
