"""What a packed file is expected to take, against hand-worked sizes and against files."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
import torch
from torch import fx

from autocomp.channels import channel_map, normalize
from autocomp.choice import FIXED_POINT, WEIGHT_QUANTIZERS, Choice, Choices, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.compression.coded_size import BLOCK_BITS, CAUTION, HEADER, QUANTIZER, Beside, coded_bytes, packed_bytes
from autocomp.models import build
from autocomp.storage import packed_size
from autocomp.tracing import trace
from hwmodels import Workload

SHAPE = (1, 8, 8)
ONE = Workload(("conv",), in_channels=64, out_channels=64, kernel_h=3, kernel_w=3)  # type: ignore[arg-type]
WEIGHTS = 64 * 64 * 9


def size(**choice: object) -> float:
    """Expected bytes of one convolution."""
    choices = Choices.of([Configuration({"conv": Choice(**choice)})], ["conv"])  # type: ignore[arg-type]
    workload = ONE
    for method in default_methods(None):
        workload = method.lower(workload, choices)
    return float(coded_bytes(workload, choices).sum())


def test_single_precision_takes_four_bytes_a_weight() -> None:
    assert size() == 4 * WEIGHTS


def test_half_of_the_weights_take_a_bitmask_and_themselves() -> None:
    assert size(sparsity=0.5, pattern="fine") == WEIGHTS / 8 + 4 * WEIGHTS / 2 + HEADER


def test_few_weights_take_the_entropy_of_their_places_and_themselves() -> None:
    p = 1 / 16
    entropy = -p * log2(p) - (1 - p) * log2(1 - p)
    assert size(sparsity=1 - p, pattern="fine") == pytest.approx(entropy * WEIGHTS / 8 + 4 * p * WEIGHTS + HEADER)


def test_places_of_whole_kernels_are_shared_but_cost_a_bit_for_each_weight_that_stays() -> None:
    p = 1 / 16
    assert size(sparsity=1 - p, pattern="kernel") == pytest.approx(p * WEIGHTS / 8 + 4 * p * WEIGHTS + HEADER)


def test_signs_take_a_bit_and_a_scale_for_each_filter() -> None:
    assert size(weight_bits=1, weight_quantizer="binary") == WEIGHTS / 8 + 4 * 64 + HEADER


def test_levels_of_normal_weights_take_their_entropy() -> None:
    """Max (1960), table II: 16 equally spaced levels of a normal variable have 3.602 bits; an odd number of levels is close."""
    scales, table = 4 * 64, 5 * 16 / 8
    entropy = ((size(weight_bits=4) - HEADER - scales - table) * 8 / WEIGHTS) / CAUTION - BLOCK_BITS
    assert entropy == pytest.approx(3.602, abs=0.15)


def test_no_form_is_larger_than_plain_numbers() -> None:
    assert size(weight_bits=8, weight_quantizer="product") <= 4 * WEIGHTS + HEADER


def test_a_quantizer_of_activations_has_a_size() -> None:
    assert size(activation_bits=4) - size() == QUANTIZER


def test_a_table_of_none_is_empty() -> None:
    choices = Choices.of([], ["conv"])
    assert packed_bytes(ONE, choices, Beside()).shape == (0,)


@pytest.fixture(scope="module")
def network() -> fx.GraphModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = normalize(build("digits_resnet", classes=10, input_shape=SHAPE).eval(), SHAPE)
    assert graph is not None
    return graph


def expected(network: fx.GraphModule, configurations: list[Configuration]) -> np.ndarray:
    workload = trace(network, SHAPE)
    choices = Choices.of(configurations, workload.names)
    lowered = workload
    for method in default_methods(channel_map(network, SHAPE)):
        lowered = method.lower(lowered, choices)
    return packed_bytes(lowered, choices, Beside.of(workload, *packed_size(network)))


def test_the_untouched_network_has_the_length_of_its_file(network: fx.GraphModule) -> None:
    assert expected(network, [Configuration({})]) == [packed_size(network)[0]]


def everywhere(network: fx.GraphModule, **choice: object) -> Configuration:
    return Configuration({name: Choice(**choice) for name in trace(network, SHAPE).names})  # type: ignore[arg-type]


QUANTIZED = [
    {"weight_bits": bits, "weight_quantizer": name}
    for name, widths in WEIGHT_QUANTIZERS.items()
    for bits in widths
    if bits in (1, 2, 3, 4, 6, 8) and name not in (FIXED_POINT, "product", "dorefa", "power_of_two", "log")
]
"""Quantizers whose levels follow the spread of the weights, not their largest."""

PRUNED = [
    {"sparsity": sparsity, "pattern": pattern, "weight_bits": bits}
    for pattern in ("fine", "group")
    for sparsity in (0.25, 0.5, 0.75)
    for bits in (32, 4)
]


@pytest.mark.parametrize("choice", [*QUANTIZED, *PRUNED, {"rank": 0.5, "factorization": "svd_out"}], ids=str)
def test_files_are_within_a_tenth_of_what_was_expected(network: fx.GraphModule, choice: dict[str, object]) -> None:
    layers = {n: c for n, c in everywhere(network, **choice).items() if n.startswith(("layer", "linear")) and "shortcut" not in n}
    if choice.get("factorization"):
        layers.pop("linear")
    configuration = Configuration(layers)
    compressed = compress(network, configuration, default_methods(channel_map(network, SHAPE)))
    calibrate(compressed, torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0)))
    file, _ = packed_size(compressed)
    assert expected(network, [configuration]) == pytest.approx([file], rel=0.1)


def test_many_are_sized_as_each_alone(network: fx.GraphModule) -> None:
    several = [everywhere(network, **choice) for choice in QUANTIZED[:6]] + [Configuration({})]
    several.append(Configuration({"layer1.0.conv1": Choice(sparsity=0.5, pattern="filter"), "layer2.0.conv1": Choice(weight_bits=4)}))
    assert expected(network, several) == pytest.approx([expected(network, [c])[0] for c in several], rel=1e-12)


def test_fewer_filters_take_fewer_statistics_along(network: fx.GraphModule) -> None:
    """A removed filter of the first convolution of a block takes its row, its column of the next, and what is kept for a channel."""
    before, after = expected(network, [Configuration({}), Configuration({"layer1.0.conv1": Choice(sparsity=0.5, pattern="filter")})])
    workload = trace(network, SHAPE)
    place = workload.names.index("layer1.0.conv1")
    gone = int(workload.out_channels[place]) // 2
    weights = 4 * 9 * gone * (int(workload.in_channels[place]) + int(workload.out_channels[place + 1]))
    beside = Beside.of(workload, *packed_size(network))
    assert before - after == pytest.approx(weights + gone * beside.shrinking / beside.channels)
