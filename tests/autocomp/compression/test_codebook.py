"""Codebooks: shared values and shared vectors, their training, and what they are on paper."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import Codebooks, compress, default_methods
from autocomp.compression.clustering import cluster_values, cluster_vectors
from autocomp.compression.codebook import INITIALIZATIONS, KMeansWeight, ProductWeight
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.export import bake
from autocomp.problem import Problem
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from hwmodels import Workload

from .networks import NETWORKS, SHAPE, built, weight_of
from .test_keystone import MODELS, assert_same, prepared

quantizers = pytest.mark.parametrize("quantizer", ["kmeans", "product"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coded(network: nn.Module, **knobs: object) -> nn.Module:
    """Every layer of a sequence with the same choice."""
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return compress(network, Configuration(dict.fromkeys(layers, Choice(**knobs))), default_methods(None))  # type: ignore[arg-type]


def test_the_centroids_of_two_clusters_are_their_means() -> None:
    # 2 entries start at -1 and 3. Nearer to -1: -1, 0, 0.2, mean -0.8 / 3. Nearer to 3: 2, 3, mean 2.5. That is a fixed point.
    weight = torch.tensor([-1, 0.2, 3, 2, 1e-9])
    found = KMeansWeight(weight, 1)
    assert found.centroids.tolist() == pytest.approx([-0.8 / 3, 2.5])
    assert found(weight).tolist() == pytest.approx([-0.8 / 3, -0.8 / 3, 2.5, 2.5, -0.8 / 3])


def test_the_three_initializations_are_those_of_deep_compression() -> None:
    # Nine values from 0 to 1 and an outlier: linear starts at the ends (0 and 8) and keeps the outlier for itself. Every start
    # ends in a fixed point, where centres are the means of their members.
    values = torch.cat([torch.linspace(0, 1, 9), torch.tensor([8.0])])
    assert cluster_values(values, 2, "linear").tolist() == pytest.approx([0.5, 8])
    for start in INITIALIZATIONS:
        centres = cluster_values(values, 2, start)
        nearest = (values[:, None] - centres).abs().argmin(1)
        assert [values[nearest == i].mean().item() for i in range(2)] == pytest.approx(centres.tolist())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 99), st.sampled_from(INITIALIZATIONS))
def test_every_weight_takes_its_nearest_entry_and_every_entry_is_the_mean_of_its_members(bits: int, seed: int, start: str) -> None:
    weight = drawn(8, 30, seed=seed)
    found = KMeansWeight(weight, bits, start)
    centres = found.centroids.detach()
    distance = (weight[..., None] - centres).abs()
    torch.testing.assert_close((found(weight) - weight).abs(), distance.min(-1)[0])
    for i in range(len(centres)):
        members = weight.flatten()[found.index == i]
        if len(members):
            torch.testing.assert_close(members.mean(), centres[i], rtol=0, atol=5e-2)  # rounds are limited
    assert len(set(found(weight).flatten().tolist())) <= 2**bits


def test_more_entries_make_a_smaller_error_and_beat_a_uniform_grid_on_bell_shaped_weights() -> None:
    weight = drawn(1, 5000)
    errors = [(KMeansWeight(weight, bits)(weight) - weight).square().mean().item() for bits in (2, 3, 4, 5)]
    assert errors == sorted(errors, reverse=True)
    # Lloyd-Max on a normal variable (Max 1960, table I): 0.1175 with 4 levels, 0.03454 with 8
    assert errors[:2] == pytest.approx([0.1175, 0.03454], rel=0.06)


def test_the_gradient_of_an_entry_is_the_sum_of_its_members_gradients() -> None:
    # Figure 3 of Deep Compression: gradients are grouped by the index and added up. Members of -1: places 0 and 2, gradients
    # 1 + 3; of 2: places 1 and 4, gradients 2 + 5; place 3 is pruned, and its 4 goes nowhere.
    weight = torch.tensor([-1.0, 2, -1, 0, 2], requires_grad=True)
    found = KMeansWeight(weight, 1)
    found(weight).backward(torch.tensor([1.0, 2, 3, 4, 5]))
    assert found.centroids.tolist() == [-1, 2]
    assert found.centroids.grad is not None
    assert found.centroids.grad.tolist() == [4, 7]
    assert weight.grad is None


def test_pruned_weights_stay_zero_and_do_not_count() -> None:
    network = coded(nn.Sequential(nn.Linear(40, 10)), sparsity=0.8, pattern="fine", weight_bits=2, weight_quantizer="kmeans")
    weight = weight_of(network)
    assert int((weight != 0).sum()) == 80
    assert len(set(weight.flatten().tolist())) == 5  # four entries and zero
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    before = weight.clone()
    network(drawn(8, 40)).square().mean().backward()
    optimizer.step()
    after = weight_of(network)
    assert torch.equal(after == 0, before == 0)
    assert (after != before)[before != 0].all()
    assert len(set(after.flatten().tolist())) == 5


def test_no_entry_is_left_in_the_gap_that_pruning_makes() -> None:
    # From -1 to 1 four linear starts are -1, -1/3, 1/3 and 1; the inner two have no members among +-0.9 to +-1.
    side = torch.linspace(0.9, 1, 50)
    values = torch.cat([-side, side])
    found = KMeansWeight(values, 2)
    assert found.centroids.tolist() == pytest.approx([-0.975, -0.925, 0.925, 0.975], abs=0.01)
    assert torch.bincount(found.index, minlength=4).min() > 10


def test_a_layer_of_zeros_has_a_codebook_of_zeros() -> None:
    weight = torch.zeros(3, 4)
    for found in (KMeansWeight(weight, 3), ProductWeight(weight, 2)):
        assert torch.equal(found(weight), weight)


def test_a_codebook_never_has_more_entries_than_weights() -> None:
    weight = drawn(2, 3)
    assert KMeansWeight(weight, 8).codebook == 6
    torch.testing.assert_close(KMeansWeight(weight, 8)(weight), weight, rtol=0, atol=1.0)
    # two filters: at most two vectors in each sub-space, 2 x 2 and 2 x 1 numbers, and every weight is exact
    found = ProductWeight(weight, 8)
    assert found.codebook == 6
    assert torch.equal(found(weight), weight)


def test_vectors_are_shared_in_each_sub_space() -> None:
    # Channels (0, 1) of four filters are (1, 1), (1, 1), (5, 5), (5, 7); channels (2, 3) are all (2, 3). 1 bit and 2 channels
    # make 4 entries, enough for every vector: exact.
    weight = torch.tensor([[1.0, 1, 2, 3], [1, 1, 2, 3], [5, 5, 2, 3], [5, 7, 2, 3]])
    found = ProductWeight(weight, 1)
    assert torch.equal(found(weight), weight)
    assert found.codebook == 16  # two sub-spaces, four entries, two numbers
    # Two centres cannot do better in the first sub-space than (1, 1) and the mean of the others, (5, 6); from some starts.
    centres, codes = cluster_vectors(weight[None, :, :2], 2)
    assert sorted(centres[0].tolist()) in ([[1, 1], [5, 6]], [[7 / 3, 7 / 3], [5, 7]])
    torch.testing.assert_close(centres[0][codes[0]].sum(0), weight[:, :2].sum(0))  # a mean keeps its members' sum


def test_a_vector_gets_the_sum_of_its_members_gradients() -> None:
    weight = torch.tensor([[1.0, 2], [1, 2], [3, 4], [1, 2]])
    found = ProductWeight(weight, 1, width=1)  # 2 entries for each of two channels: {1, 3} and {2, 4}
    gradient = torch.tensor([[1.0, 10], [2, 20], [4, 40], [8, 80]])
    found(weight).backward(gradient)
    (vectors,) = found.vectors
    assert vectors.grad is not None
    sums = {round(v, 3): g for v, g in zip(vectors.flatten().tolist(), vectors.grad.flatten().tolist(), strict=True)}
    assert sums == {1: 11, 3: 4, 2: 110, 4: 40}


@pytest.mark.parametrize("channels", [4, 5])
def test_tables_of_products_give_what_the_convolution_gives(channels: int) -> None:
    weight, images = drawn(6, channels, 3, 3), drawn(2, channels, 7, 7, seed=1)
    found = ProductWeight(weight, 2)
    patches = F.unfold(images, 3)  # b x (c p) x pixels
    columns = patches.movedim(2, 1).reshape(-1, channels, 9)
    wanted = F.conv2d(images, found(weight)).flatten(2).movedim(2, 1).reshape(-1, 6)
    torch.testing.assert_close(found.products(columns), wanted, rtol=1e-4, atol=1e-4)


def test_tables_of_products_give_what_the_linear_layer_gives() -> None:
    weight, inputs = drawn(30, 9), drawn(4, 9, seed=1)
    found = ProductWeight(weight, 1, width=4)  # sub-spaces of 4, 4 and 1 channels with 16, 16 and 2 entries
    assert found.codebook == 2 * 16 * 4 + 2
    torch.testing.assert_close(found.products(inputs[..., None]), inputs @ found(weight).T, rtol=1e-4, atol=1e-4)


@quantizers
@pytest.mark.parametrize("model", MODELS)
def test_what_is_built_is_what_is_said_on_paper(model: str, quantizer: str) -> None:
    graph, shape, methods = prepared(model)
    workload = trace(graph, shape)
    rules = [{"match": "*", "weight_bits": [1, 3, 8], "weight_quantizer": [quantizer], "sparsity": [0, 0.5], "rank": [1.0, 0.4]}]
    anything: Any = [SimpleNamespace(supported=m.supported, lower=m.lower) for m in methods]  # as large as their layers, too
    space = build_space(rules, workload, anything)
    problem = Problem(workload, space, methods, None, (), {})  # type: ignore[arg-type]  # nothing is priced here
    for vector in space.sample(np.random.default_rng(0), 2):
        configuration = replaced(space.decode(vector), quantizer)
        lowered: Workload = problem.lower(Choices.of([configuration], workload.names))
        assert_same(trace(compress(graph, configuration, methods), shape), lowered.candidate(0))
        assert (lowered.codebook > 0).any()


def replaced(configuration: Configuration, quantizer: str) -> Configuration:
    """At least one layer with a codebook."""
    if any(choice.weight_quantizer == quantizer for choice in configuration.values()):
        return configuration
    last = max(configuration)
    return Configuration({**configuration, last: replace(configuration[last], weight_bits=3, weight_quantizer=quantizer)})


def test_the_bits_on_paper_are_indices_and_codebooks() -> None:
    # 30 x 8 weights at 2 bits and 4 entries of 32 bits; vectors: 4 sub-spaces of 16 entries of 2 numbers.
    workload = trace(nn.Sequential(nn.Linear(8, 30)), (1, 1, 8))
    for quantizer, numbers in (("kmeans", 4), ("product", 128)):
        choices = Choices.of([Configuration({"0": Choice(weight_bits=2, weight_quantizer=quantizer)})], workload.names)
        assert Codebooks().lower(workload, choices).weight_storage_bits.tolist() == [[240 * 2 + 32 * numbers]]


@quantizers
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_with_codebooks_survives_copying_pickling_baking_and_exporting(name: str, quantizer: str) -> None:
    graph = normalize(built(name), SHAPE)
    assert graph is not None
    methods = default_methods(channel_map(graph, SHAPE))
    able = Codebooks().supported(trace(graph, SHAPE))["weight_quantizer", quantizer]
    layers = [layer for layer, can in zip(trace(graph, SHAPE).names, able, strict=True) if can]
    choice = Choice(sparsity=0.4, pattern="fine", weight_bits=3, weight_quantizer=quantizer)
    network = compress(graph, Configuration(dict.fromkeys(layers, choice)), methods).eval()
    images = drawn(4, *SHAPE)
    with torch.no_grad():
        wanted = network(images)
        for other in (copy.deepcopy(network), bake(network)):
            assert torch.equal(other(images), wanted)
        program = torch.export.export(network, (images,), strict=False).module()
        torch.testing.assert_close(program(images), wanted, rtol=1e-5, atol=1e-5)
    book = pickle.loads(pickle.dumps(KMeansWeight(drawn(4, 4), 2)))
    assert torch.equal(book(drawn(4, 4)), KMeansWeight(drawn(4, 4), 2)(drawn(4, 4)))


def test_a_depthwise_convolution_has_no_sub_vectors() -> None:
    workload = trace(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1)), (4, 8, 8))
    able = Codebooks().supported(workload)
    assert able["weight_quantizer", "product"].tolist() == [False, True]
    assert able["weight_quantizer", "kmeans"].tolist() == [True, True]


def test_bad_settings_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"initialization of k-means 'linar'\. Did you mean 'linear'"):
        Codebooks("linar")
    with pytest.raises(ConfigError, match="of the weight_quantizer 'product' must be 1 to 8"):
        Choice(weight_bits=12, weight_quantizer="product")


@pytest.mark.parametrize(
    ("bits", "quantizer", "message"),
    [
        # a kernel of 16 x 1 x 3 x 3 has 144 weights, fewer than 256 values; one of 32 x 16 x 3 x 3 has 288 sub-vectors
        ([4, 8], ["uniform", "kmeans"], "`kmeans` of 8 bits is for layer 'conv1'; give it a rule with at most 7 bits or another"),
        ([8, 2], ["product"], "`product` of 8 bits is for layer 'layer1.0.conv1'; give it a rule with at most 3 bits or another"),
    ],
)
def test_a_codebook_larger_than_its_layer_is_one_clear_line(bits: list[int], quantizer: list[str], message: str) -> None:
    graph, shape, methods = prepared("digits_resnet")
    with pytest.raises(ConfigError) as error:
        build_space([{"match": "*", "weight_bits": bits, "weight_quantizer": quantizer}], trace(graph, shape), methods)
    assert str(error.value).startswith(f"A codebook must not be larger than its layer, but {message}")
    assert "\n" not in str(error.value)


def test_a_codebook_as_large_as_its_layer_can_be_chosen() -> None:
    network = nn.Sequential(nn.Conv2d(1, 16, 4))  # 256 weights
    space = build_space([{"weight_bits": [8], "weight_quantizer": ["kmeans"]}], trace(network, (1, 8, 8)), default_methods(None))
    assert space.decode(np.zeros(2, np.int64))["0"].weight_bits == 8
