"""What a probe measures, by hand and against an implementation that computes everything anew."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import Calibration, WeightPruning, compress, default_methods
from autocomp.compression.quantization import Quantization, input_quantizers
from autocomp.probing import BATCH, Prober
from autocomp.sensitivity import Probe

SHAPE = (1, 6, 6)


class Block(nn.Module):
    """A convolution with a shortcut; everything that can be done in place is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm, self.curve = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        y += x
        curved: Tensor = self.curve(y)
        return curved


def small_network(seed: int = 0) -> fx.GraphModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), Block(8), Block(8)]
        network = nn.Sequential(*layers, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(32, 4)).eval()
        network[-1].weight.data.mul_(9)  # type: ignore[operator]
    graph = normalize(network, SHAPE)
    assert graph is not None
    return graph


def small_prober(images: int = 150, **changes: Any) -> Prober:
    network = small_network()
    generator = torch.Generator().manual_seed(1)
    given: dict[str, Any] = {
        "network": network,
        "methods": default_methods(channel_map(network, SHAPE)),
        "images": torch.randn(images, *SHAPE, generator=generator),
        "labels": torch.randint(4, (images,), generator=generator),
        "shares": {"0": 1.0, "3.conv": 0.9, "4.conv": 0.5, "7": 0.01},
    }
    return Prober(**given | changes)


CHOICES = [
    Choice(sparsity=0.5, pattern="fine"),
    Choice(rank=0.25, factorization="svd_out"),
    Choice(weight_bits=2),
    Choice(weight_bits=2, weight_quantizer="kmeans"),
    Choice(activation_bits=2),
]
EVERY = [Configuration({layer: choice}) for layer in ("0", "3.conv", "4.conv") for choice in CHOICES] + [
    Configuration({"0": Choice(sparsity=0.5, pattern="filter")}),  # tied to every block by the shortcuts
    Configuration({"7": Choice(weight_bits=2)}),
    Configuration({"3.conv": Choice(weight_bits=3, activation_bits=3), "7": Choice(sparsity=0.25, pattern="fine")}),
]


def computed_anew(prober: Prober, configuration: Configuration) -> tuple[float, float]:
    """Loss and accuracy without any cut: the whole network, twice."""

    def answers(network: nn.Module) -> Tensor:
        for module in network.modules():
            module.training = isinstance(module, nn.BatchNorm2d)
        for quantizer in input_quantizers(network):
            quantizer.observe = True
        with torch.no_grad():
            logits = [network(part) for part in torch.tensor_split(prober.images, math.ceil(len(prober.images) / BATCH))]
        return torch.cat(logits).double().log_softmax(1)

    assert prober.labels is not None
    student = answers(compress(prober.network, configuration, prober.methods, Calibration(prober.images, prober.labels)))
    teacher = answers(copy.deepcopy(prober.network))
    loss = (teacher.exp() * (teacher - student)).sum(1).mean()
    return float(loss), float((student.argmax(1) == prober.labels).double().mean())


def by_key(probes: Sequence[Probe]) -> dict[str, tuple[float, float]]:
    return {probe.configuration.key: (probe.loss, probe.accuracy) for probe in probes}


def test_the_loss_of_a_pruned_linear_layer_is_the_divergence_worked_out_by_hand() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
    network[1].weight.data = torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 1, 2)
    half = Configuration({"1": Choice(sparsity=0.5, pattern="fine")})
    found = Prober(network, (WeightPruning(),), images, torch.tensor([0, 0]), shares={"1": 1.0})([half])
    # the weights 1 and 0.5 go; logits of the first image: 2, 0.5 -> 2, 0; of the second: 1, 3 -> 0, 3; a class's probability is the
    # logistic function of the difference
    loss = 0.0
    for before, after in ((1.5, 2.0), (-2.0, -3.0)):
        p, q = 1 / (1 + math.exp(-before)), 1 / (1 + math.exp(-after))
        loss += (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / 2
    assert found.accuracy == 0.5
    assert found.probes[0].loss == pytest.approx(loss, rel=1e-6)
    assert found.probes[0].accuracy == 0.5


def test_what_a_cut_spares_changes_no_figure() -> None:
    prober = small_prober()
    found = by_key(prober(EVERY).probes)
    assert len(found) == len(EVERY)
    for configuration in EVERY:
        assert found[configuration.key] == computed_anew(prober, configuration), configuration


def test_every_single_choice_of_a_residual_network_is_measured_the_same_with_and_without_its_neighbours() -> None:
    prober = small_prober()
    together, alone = by_key(prober(EVERY[::-1]).probes), by_key([prober([one]).probes[0] for one in EVERY])
    assert together == alone


def test_the_network_itself_stays_as_it_was() -> None:
    prober = small_prober()
    before, modes = copy.deepcopy(prober.network.state_dict()), [module.training for module in prober.network.modules()]
    prober(EVERY)
    assert all(torch.equal(value, before[name]) for name, value in prober.network.state_dict().items())
    assert [module.training for module in prober.network.modules()] == modes


def test_only_what_lies_behind_the_cut_is_counted() -> None:
    late = [Configuration({"4.conv": Choice(weight_bits=bits)}) for bits in (2, 3, 4, 5)]
    # the untouched network once for all four, and half of the MACs for each
    assert [probe.image_passes for probe in small_prober()(late).probes] == [150 / 4 + 150 * 0.5] * 4


def test_a_network_without_a_graph_is_measured_as_a_whole() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), Block(8), Block(8))
    network = nn.Sequential(*network, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(32, 4)).eval()
    network.load_state_dict(small_network().state_dict())
    methods = default_methods(None)
    plain, graph = small_prober(network=network, methods=methods), small_prober(methods=methods)
    some = [one for one in EVERY if one.choice("0").pattern != "filter"]
    found, expected = by_key(plain(some).probes), by_key(graph(some).probes)
    assert {key: loss for key, (loss, _) in found.items()} == pytest.approx({key: loss for key, (loss, _) in expected.items()}, rel=1e-4)


def test_without_labels_accuracy_is_agreement_with_the_untouched_network() -> None:
    prober = small_prober(labels=None)
    found = prober([EVERY[2]])
    assert found.accuracy == 1.0
    teacher, student = (computed_labels(prober, c) for c in (Configuration({}), EVERY[2]))
    assert found.probes[0].accuracy == float((teacher == student).double().mean())
    assert 0.25 < found.probes[0].accuracy < 1


def computed_labels(prober: Prober, configuration: Configuration) -> Tensor:
    student = compress(prober.network, configuration, prober.methods)
    for module in student.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
    with torch.no_grad():
        return torch.cat([student(part) for part in torch.tensor_split(prober.images, 2)]).argmax(1)


def test_one_that_cannot_be_built_leaves_the_others_alone() -> None:
    impossible = Configuration({"no such layer": Choice(weight_bits=4)})
    found = small_prober()([EVERY[0], impossible, EVERY[2]])
    assert [probe.configuration for probe in found.probes] == [EVERY[0], EVERY[2]]
    assert list(found.failures) == [impossible.key]
    assert "no such layer" in found.failures[impossible.key]


def test_answers_that_are_no_numbers_are_a_failure() -> None:
    prober = small_prober()
    spoilt = copy.deepcopy(prober.network)
    spoilt.get_parameter("7.weight").data.fill_(float("nan"))
    found = small_prober(network=spoilt)([EVERY[0]])
    assert found.probes == ()
    assert "no numbers" in found.failures[EVERY[0].key]


def test_repair_is_part_of_what_is_measured() -> None:
    """Least squares bring pruned layers nearer to the teacher, as in a trial."""
    pruned = Configuration({layer: Choice(sparsity=0.75, pattern="fine") for layer in ("0", "3.conv", "4.conv", "7")})
    raw, repaired = (small_prober(reconstruct=on)([pruned]).probes[0] for on in (False, True))
    assert repaired.loss < raw.loss
    assert repaired.image_passes > raw.image_passes


def test_fewer_bits_cost_more_in_every_layer() -> None:
    prober = small_prober(methods=(Quantization(),))
    for layer in prober.shares:
        losses = [prober([Configuration({layer: Choice(weight_bits=bits)})]).probes[0].loss for bits in (8, 6, 4, 2)]
        assert np.all(np.diff(losses) > 0)


def test_a_frozen_layer_keeps_its_weights_in_probes() -> None:
    half = Configuration({"0": Choice(sparsity=0.5, pattern="fine")})
    for frozen in ((), ("7",)):
        prober = small_prober(correct_bias=True, frozen=frozen)
        layer, (student, _) = prober.network.get_submodule("7"), prober._compressed(half)
        same = [torch.equal(a, b) for a, b in zip(student.get_submodule("7").parameters(), layer.parameters(), strict=True)]
        assert all(same) == bool(frozen)
