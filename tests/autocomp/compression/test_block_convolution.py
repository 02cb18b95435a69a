"""Block convolution: each block for itself, priced as built, with every other method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import BlockConvolution, compress, default_methods
from autocomp.compression.block_convolution import BlockConv2d
from autocomp.errors import ConfigError
from autocomp.export import bake, trace_program
from autocomp.models import build
from autocomp.pose import pose
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.space_rules import build_space
from autocomp.tasks import DigitsTask
from autocomp.tracing import trace
from hwmodels import load_device

from .networks import NETWORKS, SHAPE, built


def cut(layer: nn.Conv2d, edge: int) -> nn.Module:
    return BlockConvolution.of(nn.Sequential(layer), edge).apply(nn.Sequential(layer), Configuration({}))


def test_a_block_sees_zeros_where_its_neighbours_are() -> None:
    # A 3 x 3 kernel of ones over a 4 x 4 map of ones, in blocks of 2: each pixel of a block sees the block's four.
    # As a whole, a corner sees 4, an edge 6 and the middle 9.
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 4, 4)
    assert layer(x)[0, 0, 1].tolist() == [6, 9, 9, 6]
    torch.testing.assert_close(cut(layer, 2)(x), torch.full((1, 1, 4, 4), 4.0))


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(3, 13), st.integers(3, 13)),
    edge=st.integers(2, 7),
    stride=st.integers(1, 2),
    kernel=st.sampled_from([(3, 3), (5, 5), (1, 3), (3, 1)]),
    groups=st.sampled_from([1, 2]),
)
def test_every_block_is_the_convolution_of_that_block_alone(
    size: tuple[int, int], edge: int, stride: int, kernel: tuple[int, int], groups: int
) -> None:
    padding = (kernel[0] // 2, kernel[1] // 2)
    layer = nn.Conv2d(2, 4, kernel, stride=stride, padding=padding, groups=groups)
    x = torch.randn(3, 2, *size)
    with torch.no_grad():
        whole = layer(x)
        step = edge * stride
        bands = [x[:, :, top : top + step] for top in range(0, size[0], step)]
        rows = [torch.cat([layer(band[..., left : left + step]) for left in range(0, size[1], step)], 3) for band in bands]
        torch.testing.assert_close(cut(layer, edge)(x), torch.cat(rows, 2), rtol=1e-4, atol=1e-5)
        assert whole.shape == torch.cat(rows, 2).shape


def test_only_convolutions_that_look_around_and_keep_the_size_are_cut() -> None:
    layers: tuple[nn.Module, ...] = (
        nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(1, 1, 3, padding=2, dilation=2),
        nn.Conv2d(1, 1, 3),
        nn.Conv2d(1, 1, 1),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        nn.Linear(3, 3),
    )
    assert BlockConvolution.of(nn.Sequential(*layers), 4).layers == {"0", "1"}
    with pytest.raises(ConfigError) as error:
        BlockConvolution.of(nn.Sequential(*layers), 1)
    assert str(error.value) == "`block` must be at least 2, or null for ordinary convolutions, but is 1."


MODELS: dict[str, Any] = {name: (lambda name=name: built(name), SHAPE) for name in NETWORKS} | {
    "resnet20": (lambda: build("resnet20", classes=10, input_shape=(3, 16, 16)), (3, 16, 16)),
    "lenet5": (lambda: build("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28)),
}
RULES = [{"match": "*", "sparsity": [0, 0.5], "rank": [1.0, 0.4], "weight_bits": [32, 4], "activation_bits": [32, 8]}]


@pytest.mark.parametrize("edge", [2, 5])
@pytest.mark.parametrize("model", MODELS)
def test_what_is_built_is_what_is_priced_together_with_every_other_method(model: str, edge: int) -> None:
    make, shape = MODELS[model]
    graph = normalize(make(), shape)
    assert graph is not None
    methods = default_methods(channel_map(graph, shape), None, BlockConvolution.of(graph, edge))
    workload = trace(graph, shape)
    space = build_space(RULES, workload, methods)
    problem = Problem(workload, space, methods, None, (), {})  # type: ignore[arg-type]  # nothing is priced here
    for vector in space.sample(np.random.default_rng(0), 3):
        configuration = space.decode(vector)
        traced = trace(compress(graph, configuration, methods), shape)
        lowered = problem.lower(Choices.of([configuration], workload.names)).candidate(0)
        assert traced.names == lowered.names
        for field, values in traced.arrays().items():
            wanted = np.broadcast_to(getattr(lowered, field), lowered.shape)
            np.testing.assert_array_equal(np.broadcast_to(values, traced.shape), wanted, err_msg=field)


def blocked(edge: int, **knobs: Any) -> tuple[nn.Module, nn.Module]:
    """A network as it was and in blocks."""
    torch.manual_seed(0)
    graph = normalize(build("resnet20", classes=10, input_shape=(3, 16, 16)).eval(), (3, 16, 16))
    assert graph is not None
    layers = trace(graph, (3, 16, 16)).names
    configuration = Configuration(dict.fromkeys(layers, Choice(**knobs)))
    return graph, compress(graph, configuration, default_methods(None, None, BlockConvolution.of(graph, edge)))


def test_a_block_as_large_as_the_map_changes_nothing() -> None:
    graph, network = blocked(16)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(network(x), graph(x))
    assert not trace(network, (3, 16, 16)).block.any()


def test_the_teacher_stays_and_a_network_in_blocks_is_exported_as_it_is() -> None:
    graph, network = blocked(4, weight_bits=4)
    assert not any(isinstance(module, BlockConv2d) for module in graph.modules())
    x: Tensor = torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        assert not torch.allclose(network(x), graph(x))
        baked = bake(network)
        torch.testing.assert_close(baked(x), network(x))
        torch.testing.assert_close(trace_program(baked, (3, 16, 16)).module()(x), network(x), rtol=1e-4, atol=1e-4)


def test_an_accelerator_fetches_no_border_twice_and_needs_less_memory() -> None:
    shape = (3, 160, 160)
    layers = (nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
    network = nn.Sequential(*layers).eval()
    in_blocks = compress(network, Configuration({}), default_methods(None, None, BlockConvolution.of(network, 8)))
    whole, blocks = (trace(net, shape).replace(weight_bits=8, activation_bits=8) for net in (network, in_blocks))
    assert blocks.block.tolist() == [8, 8, 8]
    reports = [load_device("ultra96").estimate(workload) for workload in (whole, blocks)]
    assert reports[1].dram_bytes.sum() < reports[0].dram_bytes.sum()
    assert reports[1].total_energy_j < reports[0].total_energy_j
    assert reports[1].total_latency_s <= reports[0].total_latency_s


def test_a_search_in_blocks_is_compared_with_the_teacher_as_it_is(digits: DigitsTask) -> None:
    config = {
        "space": {"rules": [{"match": "*", "weight_bits": [8, 4]}]},
        "objectives": {"accuracy": {"direction": "max"}, "latency_s": {}},
        "finetune": {},
        "block": 4,
    }
    evaluator = pose(config, task=digits, hardware=load_device("zcu102"), progress=Progress())
    plain = pose({**config, "block": None}, task=digits, hardware=load_device("zcu102"), progress=Progress())
    assert evaluator.problem.baseline == plain.problem.baseline
    choices = Choices.of([Configuration({})], plain.problem.workload.names)
    assert not plain.problem.lower(choices).block.any()
    assert set(np.unique(evaluator.problem.lower(choices).block)) == {0, 4}
