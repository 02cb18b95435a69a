"""Channel groups: what is tied, what is frozen, and what cannot be followed."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autocomp.channels import FROZEN, ChannelMap, ChannelPad, channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.models import build

from .compression.networks import NETWORKS, SHAPE, built, conv


def graph_of(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> fx.GraphModule:
    graph = normalize(network.eval(), shape)
    assert graph is not None
    return graph


def map_of(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> ChannelMap:
    return channel_map(graph_of(network, shape), shape)


def sizes(channels: ChannelMap) -> dict[str, list[int]]:
    """Family sizes by leader, in order."""
    found: dict[str, list[int]] = {}
    for family in channels.families:
        found.setdefault(family.leader, []).append(len(family.members))
    return found


class Between(nn.Module):
    """Two convolutions, 3 -> 8 -> 8, with something between them, and a linear layer, 8 -> 10."""

    def __init__(self, between: Callable[[Tensor], Tensor], parts: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second, self.head = conv(3, 8), conv(8, 8), nn.Linear(8, 10)
        self.parts = parts
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(self.between(F.relu(self.first(x)))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", NETWORKS)
def test_a_normalised_network_computes_bit_for_bit_what_the_network_does_and_shares_its_weights(name: str) -> None:
    network = built(name)
    graph, x = graph_of(network), torch.randn(4, *SHAPE)
    with torch.no_grad():
        assert torch.equal(graph(x), network(x))
    assert {name: id(p) for name, p in graph.named_parameters()} == {name: id(p) for name, p in network.named_parameters()}


def test_a_normalised_network_can_be_pickled_and_copied() -> None:
    graph, x = graph_of(build("resnet20", classes=10, input_shape=SHAPE)), torch.randn(2, *SHAPE)
    with torch.no_grad():
        assert torch.equal(pickle.loads(pickle.dumps(graph))(x), graph(x))
        assert torch.equal(copy.deepcopy(graph)(x), graph(x))


def test_the_families_of_a_shortcut_that_pads_are_those_counted_by_hand() -> None:
    # The stem's 8 channels run through the first shortcut (a2 adds to them) and are padded to places 4 to 11 of 16, where
    # b2 and later c2 add to them: 8 groups in stem, a2, b2 and c2. Places 0 to 3 and 12 to 15 are zeros plus b2 and c2:
    # 8 more groups, of which b2 is the first layer. a1 (8), b1 (16) and c1 (12) lie between two convolutions.
    channels = map_of(built("option_a"))
    assert sizes(channels) == {"stem": [8], "a1": [8], "b1": [16], "b2": [8], "c1": [12]}
    stem, b2 = channels.outputs["stem"], channels.outputs["b2"]
    assert b2[4:12].tolist() == stem.tolist() == channels.outputs["a2"].tolist()
    assert channels.outputs["c2"].tolist() == b2.tolist()
    assert not set(b2[:4]) & set(stem)
    assert not set(b2[12:]) & set(stem)


def test_the_families_of_the_other_networks_are_those_counted_by_hand() -> None:
    # Option B: the 1x1 shortcut makes new channels, to which b2 and c2 add. Depthwise: `depth` goes with `expand`;
    # `project` adds to the stem, and each stem channel feeds two of `widen`. Grouped: 12 channels in 3 groups are 4 places.
    # Concatenated: every branch keeps its own channels. Flattened: 8 maps of 2x2 are 32 inputs. Recurrent: `again` takes what
    # the stem gives and what it gives itself. Shuffled: chunk and shuffle cannot be followed, what comes after can.
    expected: dict[str, dict[str, list[int]]] = {
        "option_b": {"stem": [8], "a1": [8], "shortcut.0": [16], "b1": [16], "c1": [12]},
        "depthwise": {"stem": [8], "expand": [16]},
        "grouped": {"stem": [4], "group": [8]},
        "concatenated": {"stem": [8], "one": [6], "three": [10], "dense": [8], "after": [8]},
        "flattened": {"body.0": [6], "body.3": [8], "head.1": [20]},
        "squeeze_excite": {"stem": [8], "squeeze": [4], "wide": [16]},
        "recurrent": {"stem": [8], "last": [12]},
        "shuffled": {"after": [12], "last": [16]},
    }
    assert {name: sizes(map_of(built(name))) for name in expected} == expected
    depthwise = map_of(built("depthwise"))
    layers = ("stem", "depth", "project", "widen", "head")
    assert depthwise.multiplicity(depthwise.outputs, layers).tolist() == [[1, 0], [0, 1], [1, 0], [2, 0], [0, 0]]
    assert depthwise.multiplicity(depthwise.inputs, layers).tolist() == [[0, 0], [0, 1], [0, 1], [1, 0], [2, 0]]
    flattened = map_of(built("flattened"))
    assert flattened.inputs["head.1"].tolist() == np.repeat(flattened.outputs["body.3"], 4).tolist()


def test_squeeze_and_excitation_ties_its_last_layer_to_the_channels_that_it_scales() -> None:
    channels = map_of(built("squeeze_excite"))
    stem = channels.outputs["stem"].tolist()
    assert stem == channels.inputs["squeeze"].tolist() == channels.outputs["excite"].tolist() == channels.inputs["wide"].tolist()


def test_a_module_that_runs_twice_ties_its_outputs_to_its_inputs() -> None:
    channels = map_of(built("recurrent"))
    assert channels.inputs["again"].tolist() == channels.outputs["again"].tolist() == channels.outputs["stem"].tolist()


def test_one_activation_module_for_layers_of_different_width_ties_nothing() -> None:
    relu = nn.ReLU()
    network = nn.Sequential(conv(3, 8), relu, conv(8, 8), relu, conv(8, 12), relu, conv(12, 4))
    assert sizes(map_of(network)) == {"0": [8], "2": [8], "4": [12]}


def test_a_convolution_of_one_channel_in_one_group_is_not_depthwise() -> None:
    network = nn.Sequential(conv(1, 8), nn.ReLU(), conv(8, 4))
    assert sizes(map_of(network, (1, 8, 8))) == {"0": [8]}
    assert map_of(build("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28)).leaders == {"conv1", "conv2", "fc1"}


def test_what_comes_in_and_what_goes_out_of_a_network_is_frozen() -> None:
    channels = map_of(built("option_a"))
    assert set(channels.inputs["stem"]) == {FROZEN}
    assert set(channels.outputs["linear"]) == {FROZEN}
    everything_is_output = nn.Sequential(conv(3, 8), nn.ReLU())
    assert map_of(everything_is_output).families == ()


class Scale(nn.Module):
    """Parameters that a network reaches for itself."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.ones(*shape))


def scaled(*shape: int) -> Between:
    scale = Scale(*shape)
    network = Between(lambda x: x, scale)
    network.between = lambda x: x * scale.values
    return network


FREEZING: dict[str, Callable[[], nn.Module]] = {
    "softmax over channels": lambda: Between(lambda x: x.softmax(1)),
    "group norm": lambda: Between(norm := nn.GroupNorm(2, 8), norm),
    "cumulative sum": lambda: Between(lambda x: torch.cumsum(x, 1)),
    "flip of channels": lambda: Between(lambda x: x.flip(1)),
    "mean over channels": lambda: Between(lambda x: x - x.mean(1, keepdim=True)),
    "slice of channels": lambda: Between(lambda x: torch.cat([x[:, 4:], x[:, :4]], 1)),
    "chunk": lambda: Between(lambda x: torch.cat(x.chunk(2, 1), 1)),
    "split": lambda: Between(lambda x: torch.cat(torch.split(x, [3, 5], 1), 1)),
    "shuffle by hand": lambda: Between(lambda x: x.view(x.size(0), 2, 4, 8, 8).transpose(1, 2).flatten(1, 2)),
    "same map twice": lambda: Between(lambda x: torch.cat([x, x], 1)[:, :8]),
    "a scale for each channel": lambda: scaled(8, 1, 1),
    "a scale with a batch axis": lambda: scaled(1, 8, 1, 1),
    "a weight used by its name": lambda: Reaching(),
    "sequence": lambda: Sequence(),
}


class Reaching(nn.Module):
    """Uses the weights of `first` again, not through the module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv(3, 8), conv(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        bonus = F.conv2d(x, self.first.weight).mean()
        x = F.relu(self.second(F.relu(self.first(x))))
        logits: Tensor = self.head(x.mean((2, 3))) + bonus
        return logits


class Sequence(nn.Module):
    """A linear layer that runs over pixels, with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = conv(3, 8), nn.Linear(8, 8)
        self.second, self.head = conv(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(F.relu(self.first(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        logits: Tensor = self.head(F.relu(self.second(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", FREEZING)
def test_what_cannot_be_followed_freezes_its_channels_and_the_rest_is_pruned_as_usual(name: str) -> None:
    network = FREEZING[name]().eval()
    graph = graph_of(network)
    channels = channel_map(graph, SHAPE)
    assert sizes(channels) == {"second": [8]}
    small = compress(graph, Configuration({"second": Choice(sparsity=0.5, pattern="filter")}), default_methods(channels))
    with torch.no_grad():
        assert small(torch.randn(2, *SHAPE)).shape == (2, 10)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_layer_that_runs_on_a_sequence_and_on_features_is_frozen_in_both_places() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner, self.last = conv(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            features = self.inner(F.relu(self.first(x)).mean((2, 3)))
            pixels = self.inner(F.relu(x.repeat(1, 3, 1, 1)[:, :8]).flatten(2).transpose(1, 2))
            logits: Tensor = self.last(features) + pixels.mean()
            return logits

    assert map_of(Both()).families == ()


FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    "one scale": lambda: scaled(1),
    "division": lambda: Between(lambda x: x * F.relu6(x + 3) / 6),
    "spatial padding": lambda: Between(lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "stride by slicing": lambda: Between(lambda x: x[:, :, ::2, ::2]),
    "interpolation": lambda: Between(lambda x: F.interpolate(x, scale_factor=2)),
    "a view by sizes": lambda: Between(lambda x: x.view(x.size(0), x.size(1), -1).unsqueeze(-1)),
    "shuffle": lambda: Between(lambda x: F.channel_shuffle(x, 2)),
    "shuffle with a keyword": lambda: Between(lambda x: F.channel_shuffle(x, groups=4)),
    "shuffle module": lambda: Between(shuffle := nn.ChannelShuffle(4), shuffle),
    "a transposed image": lambda: Between(lambda x: x.transpose(2, 3)),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_treats_every_channel_alike_ties_nothing(name: str) -> None:
    assert sizes(map_of(FOLLOWED[name]())) == {"first": [8], "second": [8]}


def test_a_map_that_is_spread_over_all_channels_stays_and_ties_nothing() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.second = conv(3, 8), conv(3, 1), conv(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(self.first(x) * torch.sigmoid(self.gate(x)))
            return y

    channels = map_of(Attention())
    assert sizes(channels) == {"first": [8]}
    assert channels.outputs["gate"].tolist() == [FROZEN]


WIDTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(-1, 64),
    "reshape with a tuple": lambda x: x.reshape((x.size(0), 64)),
    "reshape as a function": lambda x: torch.reshape(x, (-1, 64)),
    "reshape with a keyword": lambda x: torch.reshape(x, shape=(x.size(0), 64)),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_width_written_into_a_reshape_freezes_the_channels_before_it(name: str) -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.wide, self.head = conv(3, 8), conv(8, 16), nn.Linear(64, 20), nn.Linear(20, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(self.last(F.relu(self.first(x)))), 4)
            logits: Tensor = self.head(F.relu(self.wide(WIDTHS[name](x))))
            return logits

    channels = map_of(Written())
    assert sizes(channels) == {"first": [8], "wide": [20]}
    assert set(channels.outputs["last"]) == {FROZEN}


def test_a_bias_that_the_network_adds_to_features_freezes_them() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(48, 20), nn.Linear(20, 10)
            self.bias = nn.Parameter(torch.zeros(20))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(self.first(x.flatten(1)) + self.bias)
            return logits

    assert map_of(Biased(), (3, 4, 4)).families == ()


def test_a_network_whose_path_depends_on_its_data_has_no_graph() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(3, 8)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x)
            return y if y.sum() > 0 else -y

    assert normalize(Branching(), SHAPE) is None


def test_a_network_that_fails_on_the_given_shape_has_no_graph() -> None:
    assert normalize(nn.Sequential(conv(4, 8)), SHAPE) is None


def test_normalising_does_not_change_the_mode_of_any_module() -> None:
    network = built("flattened").train()
    network.get_submodule("body").eval()
    modes = [module.training for module in network.modules()]
    graph_of_training = normalize(network, SHAPE)
    assert graph_of_training is not None
    channel_map(graph_of_training, SHAPE)
    assert [module.training for module in network.modules()] == modes


def test_channel_padding_puts_channels_where_they_are_told_and_zeros_elsewhere() -> None:
    x = torch.arange(1.0, 4.0).reshape(1, 3, 1, 1)
    padded = ChannelPad(torch.tensor([-1, 2, 0, -1, 1]))(x)
    assert padded.flatten().tolist() == [0, 3, 1, 0, 2]


def test_a_shuffle_is_the_same_movement_of_channels_in_the_graph() -> None:
    # Six channels in two groups, 0 1 2 | 3 4 5, are dealt out in turn: 0 3 1 4 2 5.
    network = nn.Sequential(conv(3, 6), nn.ChannelShuffle(2), conv(6, 4)).eval()
    graph, x = graph_of(network), torch.randn(2, *SHAPE)
    assert [m.source.tolist() for m in graph.modules() if isinstance(m, ChannelPad)] == [[0, 3, 1, 4, 2, 5]]
    with torch.no_grad():
        assert torch.equal(graph(x), network(x))


def test_padding_the_depth_of_a_volume_is_not_channel_padding() -> None:
    network = nn.Sequential(conv(3, 8))
    assert [m for m in graph_of(network).modules() if isinstance(m, ChannelPad)] == []

    class Volume(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(x.unsqueeze(1), (0, 0, 0, 0, 1, 1)).flatten(1)

    assert [m for m in graph_of(Volume()).modules() if isinstance(m, ChannelPad)] == []


def test_a_graph_is_read_without_the_compiler_of_torch() -> None:
    script = (
        "import sys; from autocomp.graph import normalize; from autocomp.models import build; "
        "print(normalize(build('resnet20', classes=10, input_shape=(1, 8, 8)), (1, 8, 8)) is None, 'sympy' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
