"""The keystone: a price on paper is the price of the network that is really built."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import fx, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import FACTORIZATIONS, PATTERNS, Choices
from autocomp.compression import Method, compress, default_methods
from autocomp.models import build
from autocomp.problem import Problem
from autocomp.space import SearchSpace
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from hwmodels import Workload

from .networks import NETWORKS, SHAPE, built

RULES: list[dict[str, Any]] = [
    {
        "match": "*",
        "sparsity": [0, 0.3, 0.5, 0.7, 0.95],
        "pattern": list(PATTERNS[1:]),
        "rank": [1.0, 0.5, 0.3, 0.01],
        "factorization": list(FACTORIZATIONS[1:]),
        "weight_bits": [32, 8, 4, 2],
        "activation_bits": [32, 8, 3],
        "weight_quantizer": ["uniform", "uniform_per_tensor", "dorefa", "kmeans", "product"],
        "activation_quantizer": ["uniform", "dorefa", "half_wave"],
    },
    {"position": "first", "weight_bits": [32, 2], "weight_quantizer": ["ternary", "trained_ternary", "power_of_two", "log"]},
    {"position": "last", "weight_bits": [32, 1], "weight_quantizer": ["binary", "hashed_binary", "dorefa"]},
    {"position": "last", "activation_bits": [32, 1], "activation_quantizer": ["sign", "xnor", "dorefa", "half_wave"]},
]
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "lenet5": (lambda: build("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28)),
    "digits_resnet": (lambda: build("digits_resnet", classes=10, input_shape=(1, 8, 8)), (1, 8, 8)),
    "resnet20_a": (lambda: build("resnet20", classes=10, input_shape=(3, 16, 16), shortcut="A"), (3, 16, 16)),
    "resnet20_b": (lambda: build("resnet20", classes=10, input_shape=(3, 16, 16), shortcut="B"), (3, 16, 16)),
} | {name: (lambda name=name: built(name), SHAPE) for name in NETWORKS}
METHODS = ("FilterPruning", "Factorization", "WeightPruning", "Quantization", "Codebooks")


@cache
def prepared(model: str) -> tuple[fx.GraphModule, tuple[int, int, int], tuple[Method, ...]]:
    make, shape = MODELS[model]
    graph = normalize(make(), shape)
    assert graph is not None
    return graph, shape, default_methods(channel_map(graph, shape))


def assert_same(built_workload: Workload, lowered: Workload) -> None:
    assert built_workload.names == lowered.names
    assert_same_layers(built_workload, lowered)


def assert_same_layers(built_workload: Workload, lowered: Workload) -> None:
    for field, values in built_workload.arrays().items():
        wanted = np.broadcast_to(getattr(lowered, field), lowered.shape)
        np.testing.assert_array_equal(np.broadcast_to(values, built_workload.shape), wanted, err_msg=field)


def check(model: str, chosen: tuple[str, ...], n: int) -> SearchSpace:
    graph, shape, every = prepared(model)
    methods = tuple(m for m in every if type(m).__name__ in chosen)
    workload = trace(graph, shape)
    anything: Any = [SimpleNamespace(supported=m.supported, lower=m.lower) for m in methods]  # codebooks as large as their layers, too
    space = build_space(RULES, workload, anything)
    problem = Problem(workload, space, methods, None, (), {})  # type: ignore[arg-type]  # nothing is priced here
    vectors = space.sample(np.random.default_rng(len(chosen)), n)
    lowered = problem.lower(space.table(vectors))
    for i, vector in enumerate(vectors):
        configuration = space.decode(vector)
        traced = trace(compress(graph, configuration, methods), shape)
        assert_same_layers(traced, lowered.candidate(i))  # a slot that another candidate splits is called `conv.0` here
        alone = problem.lower(Choices.of([configuration], workload.names))
        assert_same(traced, alone.candidate(0))
    return space


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_what_a_method_builds_is_what_it_says_on_paper(model: str, method: str) -> None:
    space = check(model, (method,), 3)
    assert space.knobs, "the method found nothing to do, so nothing was tested"


@pytest.mark.parametrize("model", MODELS)
def test_what_all_methods_build_together_is_what_they_say_on_paper(model: str) -> None:
    check(model, METHODS, 8 if model in NETWORKS else 3)


@pytest.mark.parametrize("model", MODELS)
def test_a_network_to_which_nothing_is_done_stays_the_workload_that_it_was(model: str) -> None:
    graph, shape, methods = prepared(model)
    workload = trace(graph, shape)
    space = SearchSpace(workload.names, ())
    nothing = space.table(np.zeros((1, 0), np.int64))
    lowered = workload
    for method in methods:
        lowered = method.lower(lowered, nothing)
    assert_same(workload, lowered.candidate(0))
