"""Importance: each criterion on networks small enough to work it out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from autocomp.channels import ChannelMap, channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import Calibration, FilterPruning, PruningSettings, WeightPruning, compress, default_methods
from autocomp.compression.filters import FILTER_CRITERIA, least_important
from autocomp.compression.importance import WEIGHT_CRITERIA, importances
from autocomp.compression.next_layers import RECONSTRUCTIONS, Contributions, readers, sample
from autocomp.compression.patterns import grouped, groups_of
from autocomp.errors import ConfigError, UnknownNameError

from .networks import NETWORKS, SHAPE, built, conv, weight_of
from .test_structure import deaf_to, mapped


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    return layer


def worth(layer: nn.Linear, criterion: str, images: list[list[float]], labels: list[int] | None) -> list[list[float]]:
    calibration = Calibration(torch.tensor(images, dtype=torch.float32), None if labels is None else torch.tensor(labels))
    return importances(nn.Sequential(layer), [layer], criterion, calibration)[0].tolist()


def calibration(n: int = 24) -> Calibration:
    generator = torch.Generator().manual_seed(3)
    return Calibration(torch.randn(n, *SHAPE, generator=generator), torch.arange(n) % 10)


def filters_of(graph: fx.GraphModule, channels: ChannelMap, criterion: str, sparsity: float) -> nn.Module:
    configuration = Configuration({name: Choice(sparsity=sparsity, pattern="filter") for name in channels.leaders})
    return compress(graph, configuration, (FilterPruning(channels, criterion),), calibration())


def test_magnitude_adds_up_and_its_square_favours_the_single_large_weight() -> None:
    # two columns: 3 + 0 < 2 + 2, but 9 + 0 > 4 + 4
    configuration = Configuration({"0": Choice(sparsity=0.5, pattern="group")})
    kept = {
        criterion: weight_of(compress(nn.Sequential(linear([[3, 2], [0, 2]])), configuration, (WeightPruning(criterion),))).tolist()
        for criterion in ("l1", "l2")
    }
    assert kept == {"l1": [[0, 2], [0, 2]], "l2": [[3, 0], [0, 0]]}


def test_the_first_order_change_of_the_loss_is_weight_times_gradient_squared() -> None:
    # Both logits are 1 * 2, so both probabilities 1/2; with label 0, dL/dw = (1/2 - 1) 2 = -1 and (1/2 - 0) 2 = 1.
    # The second input is never there: its weights are worth nothing, however large.
    assert worth(linear([[1, 50], [1, -70]]), "taylor", [[2, 0]], [0]) == [[1, 0], [1, 0]]


def test_curvature_counts_where_the_gradients_of_the_images_cancel() -> None:
    # As above, and a second image with the other label: gradients -1 and +1. First order: (1 * 0)^2 = 0.
    # Second order: the mean of the squares is 1, so 1 * 1^2 / 2; a weight of 3 at both outputs, with the same logits: 1 * 9 / 2.
    layer, images, labels = linear([[1], [1]]), [[2.0], [2.0]], [0, 1]
    assert worth(layer, "taylor", images, labels) == [[0], [0]]
    assert worth(layer, "obd", images, labels) == [[0.5], [0.5]]
    assert worth(linear([[3], [3]]), "obd", images, labels) == [[4.5], [4.5]]


@pytest.mark.parametrize("criterion", ["taylor", "obd"])
def test_without_labels_the_networks_own_answers_take_their_place(criterion: str) -> None:
    layer, images = linear([[1, 0.5], [0.2, 2]]), [[2.0, 0.3], [0.1, 1]]
    assert worth(layer, criterion, images, None) == worth(layer, criterion, images, [0, 1])


def test_the_curvature_of_each_image_is_taken_alone() -> None:
    network = built("option_b")
    layer = network.get_submodule("b1")
    assert isinstance(layer, nn.Conv2d)
    data = calibration(5)
    assert data.labels is not None
    squares = torch.zeros_like(layer.weight)
    for image, label in zip(data.images, data.labels, strict=True):
        loss = nn.functional.cross_entropy(network(image[None]), label[None])
        squares += torch.autograd.grad(loss, layer.weight)[0].square() / 5
    torch.testing.assert_close(importances(network, [layer], "obd", data)[0], (squares * layer.weight.square() / 2).detach())


@pytest.mark.parametrize("criterion", WEIGHT_CRITERIA)
def test_weights_in_a_network_go_by_every_criterion_and_factors_too(criterion: str) -> None:
    graph, channels = mapped(built("option_a"))
    choice = Choice(sparsity=0.5, pattern="kernel", rank=0.5, factorization="svd_out")
    methods = default_methods(channels, PruningSettings(weights=criterion))
    network = compress(graph, Configuration({"a1": choice}), methods, calibration())
    assert float((weight_of(network, "a1.0") == 0).float().mean()) == 0.5


def test_the_factor_of_batch_norm_says_which_filters_go() -> None:
    graph, channels = mapped(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2)).eval())
    graph.get_submodule("1").weight.data = torch.tensor([0.1, -3, 0.2, 0.15])
    small = filters_of(graph, channels, "bn_scale", 0.5)
    torch.testing.assert_close(weight_of(small, "0"), weight_of(graph, "0")[[1, 2]])


def test_filters_without_a_norm_go_by_magnitude() -> None:
    graph, channels = mapped(built("concatenated"))
    torch.testing.assert_close(
        filters_of(graph, channels, "bn_scale", 0.5).state_dict(), filters_of(graph, channels, "l1", 0.5).state_dict()
    )


@pytest.mark.parametrize("criterion", [c for c in FILTER_CRITERIA if c not in {"l1", "l2", "bn_scale"}])
def test_filters_that_nobody_listens_to_go_first_whatever_their_size(criterion: str) -> None:
    graph, channels = mapped(nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 10), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval())
    with torch.no_grad():
        graph.get_submodule("0").weight[[1, 3]] *= 10  # type: ignore[operator, index]
        graph.get_submodule("2").weight[:, [1, 3]] = 0  # type: ignore[operator]
    before = weight_of(graph, "0")
    torch.testing.assert_close(weight_of(filters_of(graph, channels, criterion, 0.5), "0"), before[[0, 2]])
    torch.testing.assert_close(weight_of(filters_of(graph, channels, "l1", 0.5), "0"), before[[1, 3]])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 5, 3, padding=1),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2),
        nn.Conv2d(4, 5, 3, padding="same", padding_mode="reflect"),
        nn.Linear(8, 3),
    ],
)
def test_what_a_layer_sees_at_a_place_gives_its_output_there(layer: nn.Conv2d | nn.Linear) -> None:
    x = torch.randn(3, 4, 7, 8) if isinstance(layer, nn.Conv2d) else torch.randn(3, 8)
    seen = sample(nn.Sequential(layer), {"0": layer}, x, torch.Generator().manual_seed(0))["0"]
    assert layer.bias is not None
    with torch.no_grad():
        weight = grouped(layer.weight, groups_of(layer)).flatten(3)
        found = torch.einsum("gnck,bpgck->bpgn", weight, seen.reshape(3, -1, len(weight), *weight.shape[2:])).flatten(2) + layer.bias
        outputs = layer(x).reshape(3, len(layer.weight), -1).transpose(1, 2)
    assert found.shape[1] == min(10, outputs.shape[1])
    distances = torch.cdist(found, outputs, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distances.amin(2).max()) < 1e-5  # each is the output at some pixel of the same image


def gram(*columns: list[float]) -> Contributions:
    parts = np.array(columns).T
    return Contributions(parts.T @ parts)


def test_thinet_lets_those_go_together_that_cancel() -> None:
    # Losses alone: 0.25, 0.36, 0.3025, so the first goes. With it, (0.5 - 0.6)^2 = 0.01 against 0.25 + 0.3025 = 0.5525: the second.
    assert gram([0.5, 0], [-0.6, 0], [0, 0.55]).thinet(1).tolist() == [0, 1, 3]


def test_the_lasso_takes_the_weakest_of_independent_parts_first() -> None:
    # The minimum over b is max(1 - a / p, 0) for a part of power p = 4, 1, 9: it reaches 0 at a = p.
    factors = gram([2, 0, 0], [0, 1, 0], [0, 0, 3]).lasso(2)
    assert factors[1] < factors[0] < factors[2]
    assert np.count_nonzero(gram([2, 0, 0], [0, 1, 0], [0, 0, 3]).lasso(1)) >= 1


def test_the_lasso_drops_what_another_part_can_stand_in_for() -> None:
    # The third adds little beside the first, which is like it and larger; the second, of less power than the third, is alone.
    factors = gram([3, 0], [0, 1.5], [2, 0]).lasso(2)
    assert factors.argmin() == 2


@pytest.mark.parametrize("criterion", sorted(RECONSTRUCTIONS))
def test_of_two_equal_filters_one_goes_and_the_next_layer_makes_up_for_it(criterion: str) -> None:
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
    with torch.no_grad():
        first.weight[2], first.bias[2] = first.weight[1], first.bias[1]  # type: ignore[index]
        first.weight[[0, 3]] *= 20
    graph, channels = mapped(nn.Sequential(first, nn.ReLU(), second).eval())
    x = torch.randn(8, *SHAPE)
    with torch.no_grad():
        small = filters_of(graph, channels, criterion, 0.25)
        assert len(weight_of(small, "0")) == 3
        error = (small(x) - graph(x)).square().mean() / graph(x).var()
        without = (filters_of(graph, channels, "l1", 0.25)(x) - graph(x)).square().mean() / graph(x).var()
    assert error < 1e-4
    assert error < without / 10


@pytest.mark.parametrize("criterion", FILTER_CRITERIA)
@pytest.mark.parametrize("name", NETWORKS)
def test_by_every_criterion_the_pruned_network_computes_what_the_masked_one_does(name: str, criterion: str) -> None:
    graph, channels = mapped(built(name))
    counts = np.array([len(family.members) // 2 for family in channels.families])
    masked = copy.deepcopy(graph)
    gone = least_important(masked, channels, counts, criterion, calibration())
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        small = filters_of(graph, channels, criterion, 0.5)
        torch.testing.assert_close(small(x), deaf_to(masked, channels, gone)(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_least_squares_brings_the_outputs_of_the_layers_that_read_closer(name: str) -> None:
    graph, channels = mapped(built(name))
    counts = np.array([len(family.members) // 2 for family in channels.families])
    refitted, data = copy.deepcopy(graph), calibration(64)
    gone = least_important(refitted, channels, counts, "thinet", data)
    reading = [layer for layer in readers(graph, channels, channels.families) if np.isin(channels.inputs[layer], gone).any()]
    with_, without = (
        sum(_error(graph, deaf_to(network, channels, gone), layer, data.images) for layer in reading) for network in (refitted, graph)
    )
    assert with_ < without


def _error(teacher: nn.Module, other: nn.Module, layer: str, images: Tensor) -> float:
    """Of what one layer makes of the teacher's inputs, relative to what the teacher's own makes of them."""
    seen: list[Tensor] = []
    hook = teacher.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))
    with torch.no_grad():
        teacher(images)
        hook.remove()
        return float((other.get_submodule(layer)(seen[0]) - seen[1]).square().mean() / seen[1].square().mean())


@pytest.mark.parametrize("criterion", ["taylor", "obd", "thinet", "lasso"])
def test_a_criterion_that_looks_at_images_needs_some(criterion: str) -> None:
    graph, channels = mapped(built("grouped"))
    configuration = Configuration({"stem": Choice(sparsity=0.5, pattern="filter")})
    with pytest.raises(ConfigError, match=f"Importance '{criterion}' is measured on images, but there are none"):
        compress(graph, configuration, (FilterPruning(channels, criterion),))


def test_without_anything_to_prune_no_images_are_needed() -> None:
    graph, channels = mapped(built("grouped"))
    methods = default_methods(channels, PruningSettings(weights="obd", filters="lasso"))
    student = compress(graph, Configuration({"stem": Choice(weight_bits=8)}), methods)
    with torch.no_grad():
        before, after = (torch.as_tensor(network.get_submodule("stem").weight) for network in (graph, student))
        assert 0 < float((after - before).abs().max()) <= float(before.abs().max()) / 127  # rounded, and nothing else


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "thinet"}, "There is no `pruning.weights` 'thinet'"),
        ({"filters": "bn"}, "There is no `pruning.filters` 'bn'"),
        ({"dynamics": "surgey"}, "Did you mean 'surgery'"),
        ({"dynamics": "gradual", "weights": "obd"}, "`pruning.dynamics` 'gradual' needs `pruning.weights` l1 or l2, but has obd"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(values: dict[str, str], message: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError), match=message):
        PruningSettings(**values)


def test_a_layer_that_leads_no_filters_cannot_lose_any() -> None:
    graph, channels = mapped(built("grouped"))
    with pytest.raises(ConfigError, match="but 'head' does not; these do: group, stem"):
        compress(graph, Configuration({"head": Choice(sparsity=0.5, pattern="filter")}), (FilterPruning(channels),))


def test_the_teacher_stays_as_it_was_when_its_readers_are_refitted() -> None:
    network = normalize(built("option_b"), SHAPE)
    assert network is not None
    before = {name: value.clone() for name, value in network.state_dict().items()}
    filters_of(network, channel_map(network, SHAPE), "lasso", 0.5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_settings_of_a_configuration_reach_the_methods_and_today_is_the_default() -> None:
    _, channels = mapped(built("grouped"))
    chosen = default_methods(channels, PruningSettings(weights="l2", filters="lasso", dynamics="surgery"))
    assert [m.importance for m in chosen if isinstance(m, FilterPruning)] == ["lasso"]
    assert [(m.importance, m.dynamics) for m in chosen if isinstance(m, WeightPruning)] == [("l2", "surgery")]
    usual = default_methods(channels)
    assert [m.importance for m in usual if isinstance(m, FilterPruning)] == ["l1"]
    assert [(m.importance, m.dynamics) for m in usual if isinstance(m, WeightPruning)] == [("l1", "static")]
