"""Cross-layer equalization: the same function, even ranges, and only where a scale passes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.channels import normalize
from autocomp.compression.equalization import Pair, equalize, pairs
from autocomp.models import build

SHAPE = (3, 8, 8)


def graph(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    found = normalize(network.eval(), shape)
    assert found is not None
    return found


def trained(network: nn.Module) -> nn.Module:
    """Batch norms with statistics and scales that differ from channel to channel."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean = torch.randn(norm.num_features)
            norm.running_var = torch.rand(norm.num_features) + 0.5
            nn.init.uniform_(norm.weight, 0.2, 3.0)
            nn.init.normal_(norm.bias)
    return network


def perceptron(first: list[list[float]], bias: list[float], second: list[list[float]]) -> nn.Sequential:
    """One input, two hidden units, one output."""
    layers = (nn.Linear(1, 2), nn.Linear(2, 1))
    for layer, weight in zip(layers, (first, second), strict=True):
        layer.weight.data.copy_(torch.tensor(weight))
    layers[0].bias.data.copy_(torch.tensor(bias))
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def test_the_scale_is_the_one_worked_by_hand() -> None:
    # r1 = (8, 1) and r2 = (2, 9): s = sqrt(r1 / r2) = (2, 1/3); the ranges become sqrt(r1 r2) = (4, 3) on both sides.
    even = equalize(torch.fx.symbolic_trace(perceptron([[8.0], [-1.0]], [4.0, 1.0], [[2.0, -9.0]])))
    torch.testing.assert_close(even.get_submodule("0").weight, torch.tensor([[4.0], [-3.0]]))
    torch.testing.assert_close(even.get_submodule("0").bias, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(even.get_submodule("2").weight, torch.tensor([[4.0, -3.0]]))


@pytest.mark.parametrize("name", ["digits_resnet", "resnet20", "lenet5"])
def test_an_equalized_network_computes_the_same(name: str) -> None:
    shape = (1, 28, 28) if name == "lenet5" else SHAPE
    network = graph(trained(build(name, classes=4, input_shape=shape)), shape)
    even = equalize(network)
    x = torch.randn(4, *shape)
    assert pairs(network)
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), even.parameters(), strict=True))
    torch.testing.assert_close(even(x), network(x), rtol=1e-3, atol=1e-3)


def test_ranges_are_even_behind_batch_norm_too() -> None:
    layers = (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Conv2d(6, 4, 1))
    network = trained(nn.Sequential(*layers))
    even = equalize(graph(network))
    norm, second = even.get_submodule("1"), even.get_submodule("3")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    first: Tensor = even.get_submodule("0").weight  # type: ignore[assignment]
    made = first.abs().flatten(1).amax(1) * norm.weight / (norm.running_var + norm.eps).sqrt()
    last: Tensor = even.get_submodule("5").weight  # type: ignore[assignment]
    # the depthwise layer was evened out against the first, then against the last: its filters are as large as the last's inputs
    torch.testing.assert_close(second.weight.abs().flatten(1).amax(1), last.abs().amax((0, 2, 3)))  # type: ignore[operator]
    assert made.max() / made.min() < 20
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(even(x), network(x), rtol=1e-4, atol=1e-4)


class Shared(nn.Module):
    """A map that two layers take in, a curve that no scale passes, and a map that is flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.linear = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        x = self.b(x) + x
        x = self.d(F.relu(self.c(torch.sigmoid(x))))
        return self.linear(torch.flatten(F.relu(x), 1))  # type: ignore[no-any-return]


def test_scales_pass_where_the_functions_between_let_them() -> None:
    # a's map has two users, b's is added, and d's is flattened: four channels cannot be told from the linear layer's inputs
    assert pairs(graph(Shared())) == [Pair("c", "", "d")]


def test_a_layer_that_runs_twice_is_left_alone() -> None:
    layer = nn.Linear(4, 4)
    assert pairs(torch.fx.symbolic_trace(nn.Sequential(layer, nn.ReLU(), layer))) == []


def test_a_channel_without_weights_stays_and_a_network_that_is_no_graph_too() -> None:
    network = perceptron([[0.0], [4.0]], [1.0, 1.0], [[5.0, 1.0]])
    even = equalize(torch.fx.symbolic_trace(network))
    assert even.get_submodule("2").weight.tolist() == [[5.0, 2.0]]  # type: ignore[operator]
    torch.testing.assert_close(even(torch.ones(1, 1)), network(torch.ones(1, 1)))
    plain = equalize(network)
    assert torch.equal(plain[0].weight, network[0].weight)  # type: ignore[index,arg-type]
