"""Quantization: grids, steps, gradients, and quantizers that can be copied, saved and exported."""

from __future__ import annotations

import copy
import math
import pickle
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import ACTIVATION_QUANTIZERS, FIXED_POINT, WEIGHT_QUANTIZERS, Choice, Choices, Configuration
from autocomp.compression import Quantization, calibrate, compress, default_methods
from autocomp.compression.quantization import input_quantizers
from autocomp.compression.quantizers import INPUT_MODULES, WEIGHT_MODULES
from autocomp.compression.quantizers.grid import on_grid
from autocomp.compression.quantizers.inputs import UniformInput
from autocomp.compression.quantizers.power_of_two import PowerOfTwoWeight
from autocomp.compression.quantizers.uniform import UniformWeight
from autocomp.errors import ConfigError
from autocomp.export import bake
from autocomp.space_rules import build_space
from autocomp.tracing import trace

from .networks import NETWORKS, SHAPE, built, weight_of

WEIGHTS = [(name, bits) for name in WEIGHT_MODULES for bits in sorted({WEIGHT_QUANTIZERS[name][0], min(WEIGHT_QUANTIZERS[name][-1], 4)})]
INPUTS = [(name, bits) for name, widths in ACTIVATION_QUANTIZERS.items() for bits in sorted({widths[0], min(widths[-1], 4)})]
every_weight_quantizer = pytest.mark.parametrize(("name", "bits"), WEIGHTS)
every_quantizer = pytest.mark.parametrize(
    "choice",
    [Choice(weight_quantizer=name, weight_bits=bits) for name, bits in WEIGHTS]
    + [Choice(activation_quantizer=name, activation_bits=bits) for name, bits in INPUTS],
    ids=[f"{kind}-{name}-{bits}" for kind, several in (("weights", WEIGHTS), ("inputs", INPUTS)) for name, bits in several],
)
bit_widths = pytest.mark.parametrize("bits", range(2, 9))


def fitted(bits: int, x: Tensor) -> UniformInput:
    quantizer = UniformInput(bits)
    quantizer.observe = True
    quantizer(x)
    return quantizer


def integers(values: Tensor, log_step: Tensor) -> Tensor:
    """Values in steps; fails if they are not whole numbers."""
    steps = (values / log_step.exp()).detach()
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    return steps.round()


@bit_widths
def test_a_weight_lies_on_a_symmetric_grid_with_one_step_per_filter(bits: int) -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(bits)) * torch.arange(1.0, 7).reshape(6, 1, 1, 1)
    quantizer = UniformWeight(weight, bits)
    levels = integers(quantizer(weight), quantizer.log_step)
    assert quantizer.log_step.shape == (6, 1, 1, 1)
    assert levels.abs().max() == 2 ** (bits - 1) - 1
    assert len(set(levels.flatten().tolist())) <= 2**bits - 1  # zero stands in the middle, so that one code is left over


@bit_widths
def test_an_activation_after_a_relu_uses_every_code_for_values_from_zero_up(bits: int) -> None:
    x = torch.rand(16, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    quantizer = fitted(bits, x)
    levels = integers(quantizer(x), quantizer.log_step)
    assert set(levels.flatten().tolist()) == set(range(2**bits))


@bit_widths
def test_an_activation_with_negative_values_lies_on_a_symmetric_grid(bits: int) -> None:
    x = torch.rand(16, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    quantizer = fitted(bits, x)
    levels = integers(quantizer(x), quantizer.log_step)
    assert [levels.min().item(), levels.max().item()] == [1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1]


@settings(deadline=None, max_examples=25)
@given(bits=st.integers(2, 8), seed=st.integers(0, 1000), scale=st.floats(-6, 6))
def test_the_error_is_at_most_half_a_step_inside_the_range_and_rescaling_changes_nothing(bits: int, seed: int, scale: float) -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(seed)) * 10**scale
    quantizer = UniformWeight(weight, bits)
    step = quantizer.log_step.exp()
    inside = weight.abs() <= step * quantizer.high
    error = (quantizer(weight) - weight).abs()
    assert (error <= step * 0.5001)[inside].all()
    assert (quantizer(weight).abs() <= step * quantizer.high * 1.0001).all()
    torch.testing.assert_close(UniformWeight(weight * 4, bits)(weight * 4), quantizer(weight) * 4)


def test_the_fitted_step_clips_an_outlier_when_that_is_the_smaller_error() -> None:
    # 100 values of 1 and one of 2, at 2 bits (levels -s, 0, s). s = 2: every 1 lies half-way, and rounding to even gives 0;
    # error 100. s = 1: the 2 is off by 1; error 1, the least.
    weight = torch.cat([torch.ones(1, 100), torch.full((1, 1), 2.0)], 1)
    assert UniformWeight(weight, 2).log_step.exp().item() == pytest.approx(1)


@bit_widths
def test_more_bits_never_make_a_larger_error(bits: int) -> None:
    weight = torch.randn(8, 500, generator=torch.Generator().manual_seed(0))
    errors = [(UniformWeight(weight, b)(weight) - weight).square().mean() for b in (bits, bits + 1)]
    assert errors[1] < errors[0]


def test_weights_of_zero_stay_zero_and_finite() -> None:
    quantizer = UniformWeight(torch.zeros(2, 5), 4)
    assert quantizer(torch.zeros(2, 5)).tolist() == [[0.0] * 5] * 2
    assert quantizer.log_step.exp().min() > torch.finfo(torch.float32).tiny  # a subnormal step would be zero where those are flushed


def test_the_gradients_are_the_straight_through_ones() -> None:
    # Step 0.5, integers -2 to 1. In steps x is (-2.6, -1.2, 0.2, 0.8, 1.7), so the result is (-2, -1, 0, 1, 1) * 0.5.
    # d out / d x: 1 inside the range, 0 for the first and the last.
    # d out / d step: the end of the range outside, round(v) - v inside: -2, -1 + 1.2, 0 - 0.2, 1 - 0.8, 1.
    # With upstream gradients (1, 2, 3, 4, 5): -2 + 0.4 - 0.6 + 0.8 + 5 = 3.6, and d step / d log step = 0.5 gives 1.8.
    x = torch.tensor([-1.3, -0.6, 0.1, 0.4, 0.85], requires_grad=True)
    log_step = torch.tensor(math.log(0.5), requires_grad=True)
    out = on_grid(x, log_step.exp(), -2, 1)
    assert out.tolist() == [-1, -0.5, 0, 0.5, 0.5]
    out.backward(torch.tensor([1.0, 2, 3, 4, 5]))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 0]
    assert log_step.grad is not None
    assert log_step.grad.item() == pytest.approx(1.8, rel=1e-5)


def test_the_gradient_of_steps_per_filter_is_summed_over_the_filter() -> None:
    weight = torch.randn(3, 2, 2, 2)
    together = UniformWeight(weight, 3)
    together(weight).square().sum().backward()
    for i in range(3):
        alone = UniformWeight(weight[i : i + 1], 3)
        alone(weight[i : i + 1]).square().sum().backward()
        torch.testing.assert_close(alone.log_step.grad, together.log_step.grad[i : i + 1])  # type: ignore[index]


def test_the_gradients_agree_with_automatic_differentiation_of_a_straight_through_round() -> None:
    generator = torch.Generator().manual_seed(0)
    x, upstream = torch.randn(4, 50, generator=generator), torch.randn(4, 50, generator=generator)
    steps = torch.tensor([[-2.0], [-1.5], [-1.0], [-0.5]])

    def plainly(x: Tensor, log_step: Tensor) -> Tensor:
        clamped = (x / log_step.exp()).clamp(-3, 3)
        return (clamped + (clamped.round() - clamped).detach()) * log_step.exp()

    gradients = []
    for compute in (plainly, lambda x, log_step: on_grid(x, log_step.exp(), -3, 3)):
        inputs = [x.clone().requires_grad_(), steps.clone().requires_grad_()]
        gradients.append(torch.autograd.grad(compute(*inputs), inputs, upstream))
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_training_moves_weights_and_steps() -> None:
    torch.manual_seed(0)
    network = compress(nn.Sequential(nn.Linear(8, 4)), Configuration({"0": Choice(weight_bits=3, activation_bits=3)}), (Quantization(),))
    calibrate(network, torch.randn(32, 8))
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    network(torch.randn(32, 8)).square().mean().backward()
    optimizer.step()
    assert len(before) == 4  # weight, bias and the two steps
    assert all((p != old).any() for p, old in zip(network.parameters(), before, strict=True))


def test_values_pass_unchanged_until_the_step_is_fitted() -> None:
    x = torch.randn(4, 4)
    assert UniformInput(2)(x) is x


def test_the_step_is_fitted_once_to_the_first_batch() -> None:
    quantizer = fitted(4, torch.rand(8, 8))
    step = quantizer.log_step.item()
    quantizer(torch.rand(8, 8) * 100)
    assert quantizer.log_step.item() == step
    assert not quantizer.observe


def test_the_fit_to_a_large_map_sees_every_column_of_it() -> None:
    # 2^21 values are sampled down to 2^16. Every 32nd would meet the first column alone, which is zero here.
    x = torch.ones(128, 16, 32, 32)
    x[..., 0] = 0
    assert fitted(4, x)(x).max().item() == pytest.approx(1)


def test_a_state_dictionary_holds_the_whole_quantizer() -> None:
    x = torch.randn(64, 16)
    quantizer = fitted(3, x)
    other = UniformInput(3)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(x), quantizer(x))
    assert (other.low, other.high, other.is_on) == (-3, 3, True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compressed_network_survives_copying_and_exporting(name: str) -> None:
    graph = normalize(built(name), SHAPE)
    assert graph is not None
    channels = channel_map(graph, SHAPE)
    layers = [n for n, m in graph.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    choice = Choice(sparsity=0.4, pattern="fine", weight_bits=4, activation_bits=5)
    choices = dict.fromkeys(layers, choice) | {n: Choice(sparsity=0.4, pattern="filter", activation_bits=3) for n in channels.leaders}
    network = compress(graph, Configuration(choices), default_methods(channels))
    images = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0))
    calibrate(network, images)
    network.eval()
    with torch.no_grad():
        wanted = network(images)
        assert torch.equal(copy.deepcopy(network)(images), wanted)
        program = torch.export.export(network, (images,), strict=False).module()
        torch.testing.assert_close(program(images), wanted, rtol=1e-5, atol=1e-5)


def test_a_copy_has_quantizers_of_its_own() -> None:
    network = compress(nn.Sequential(nn.Linear(4, 4)), Configuration({"0": Choice(activation_bits=3)}), (Quantization(),))
    other = copy.deepcopy(network)
    calibrate(other, torch.rand(8, 4))
    assert [q.is_on for q in input_quantizers(other)] == [True]
    assert [q.is_on for q in input_quantizers(network)] == [False]


def test_quantized_weights_keep_their_zeros() -> None:
    choice = Choice(sparsity=0.5, pattern="fine", weight_bits=3)
    network = compress(nn.Sequential(nn.Linear(16, 8)), Configuration({"0": choice}), default_methods(None))
    assert int((weight_of(network) == 0).sum()) >= 64


def test_sixteen_bits_are_almost_exact() -> None:
    weight = torch.randn(4, 100)
    torch.testing.assert_close(UniformWeight(weight, 16)(weight), weight, rtol=0, atol=2e-4)


def test_every_quantizer_that_can_be_chosen_can_be_built() -> None:
    assert set(WEIGHT_MODULES) == set(WEIGHT_QUANTIZERS) - {"kmeans", "product", FIXED_POINT}  # see their own tests
    assert set(INPUT_MODULES) == set(ACTIVATION_QUANTIZERS)


def small(choice: Choice) -> tuple[nn.Module, Tensor]:
    """A calibrated network in evaluation mode whose every layer has the choice, and images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))
    compressed = compress(network.eval(), Configuration(dict.fromkeys("036", choice)), default_methods(None))
    images = torch.randn(16, 2, 8, 8)
    calibrate(compressed, images)
    return compressed.eval(), images


@every_weight_quantizer
def test_a_filter_has_no_more_values_than_its_bits_can_tell_apart(name: str, bits: int) -> None:
    weight = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    for row in WEIGHT_MODULES[name](weight, bits).eval()(weight):
        assert len(row.unique()) <= 2**bits


@every_weight_quantizer
def test_weights_that_are_zero_stay_zero_and_finite(name: str, bits: int) -> None:
    weight = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    weight[:, ::3] = 0
    weight[3] = 0
    for values in (weight, torch.zeros(2, 5)):
        found = WEIGHT_MODULES[name](values, bits).eval()(values)
        assert found.isfinite().all()
        assert (found[values == 0] == 0).all()


@every_weight_quantizer
def test_a_quantized_filter_points_where_the_weight_points(name: str, bits: int) -> None:
    # For evenly spread weights the cosine of signs is E|w| / sqrt(E w^2) = (1/2) / sqrt(1/3) = 0.866.
    weight = (torch.rand(1, 20_000, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.1
    found = WEIGHT_MODULES[name](weight, bits).eval()(weight)
    assert torch.cosine_similarity(found, weight).item() > {1: 0.86, 2: 0.7}.get(bits, 0.93)


@every_quantizer
def test_what_every_quantizer_builds_is_read_as_it_was_chosen(choice: Choice) -> None:
    network, _ = small(choice)
    workload = trace(network, (2, 8, 8))
    assert workload.weight_bits.tolist() == [choice.weight_bits] * 3
    assert workload.activation_bits.tolist() == [choice.activation_bits] * 3
    plain = trace(small(Choice())[0], (2, 8, 8))
    lowered = Quantization().lower(plain, Choices.of([Configuration(dict.fromkeys("036", choice))], plain.names)).candidate(0)
    assert lowered.weight_storage_bits.tolist() == workload.weight_storage_bits.tolist()


@every_quantizer
def test_every_quantizer_survives_copying_saving_baking_and_exporting(choice: Choice) -> None:
    network, images = small(choice)
    with torch.no_grad():
        wanted = network(images)
        assert not torch.equal(wanted, small(Choice())[0](images))
        for other in (copy.deepcopy(network), bake(network)):
            assert torch.equal(other(images), wanted)
        fresh = compress(
            nn.Sequential(*small(Choice())[0].children()), Configuration(dict.fromkeys("036", choice)), default_methods(None)
        ).eval()
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(fresh(images), wanted)
        for either in (network, bake(network)):
            program = torch.export.export(either, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False).module()
            torch.testing.assert_close(program(images[:5]), wanted[:5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quantizer", [WEIGHT_MODULES[name](torch.randn(3, 8), bits) for name, bits in WEIGHTS], ids=str)
def test_every_quantizer_can_be_pickled(quantizer: nn.Module) -> None:
    # torch forbids it for a layer with a parametrization; those travel as configuration and state
    weight = torch.randn(3, 8)
    assert torch.equal(pickle.loads(pickle.dumps(quantizer))(weight), quantizer(weight))


@every_quantizer
def test_every_quantizer_can_be_trained(choice: Choice) -> None:
    network, images = small(choice)
    target = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for step in range(40):
        loss = (network.train()(images) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
        optimizer.step()
        for module in network.modules():
            if isinstance(module, PowerOfTwoWeight):
                module.advance((step + 1) / 40)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@every_weight_quantizer
def test_every_quantizer_comes_after_factorization_and_pruning(name: str, bits: int) -> None:
    choice = Choice(sparsity=0.5, pattern="fine", rank=0.5, factorization="svd", weight_bits=bits, weight_quantizer=name)
    network = compress(nn.Sequential(nn.Linear(16, 8)), Configuration({"0": choice}), default_methods(None)).eval()
    for part in ("0.0", "0.1"):
        assert int((weight_of(network, part) == 0).sum()) >= weight_of(network, part).numel() // 2
    workload = trace(nn.Sequential(nn.Flatten(), network), (1, 4, 4))
    assert workload.weight_bits.tolist() == [bits, bits]
    assert workload.weight_density.tolist() == [0.5, 0.5]


def test_the_space_of_quantizers_offers_them_inside_a_network_and_uniform_ones_at_its_ends() -> None:
    rules = yaml.safe_load((files("search_spaces") / "space" / "quantizers.yaml").read_text(encoding="utf-8"))["rules"]
    graph = normalize(built("option_b"), SHAPE)
    assert graph is not None
    space = build_space(rules, trace(graph, SHAPE), default_methods(None))
    offered = {(k.layer, k.name): k.options for k in space.knobs}
    assert offered["a1", "weight_quantizer"] == ("uniform", "power_of_two", "ternary", "trained_ternary")
    assert offered["a1", "activation_quantizer"] == ("uniform", "half_wave")
    for end in ("stem", "linear"):
        assert offered[end, "weight_quantizer"] == offered[end, "activation_quantizer"] == ("uniform",)
    for vector in space.sample(np.random.default_rng(0), 200):
        assert space.contains(space.decode(vector))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"weight_bits": 8, "weight_quantizer": "ternary"}, "`weight_bits` of the weight_quantizer 'ternary' must be 2, or 32 for"),
        ({"weight_bits": 1, "weight_quantizer": "log"}, "`weight_bits` of the weight_quantizer 'log' must be 2 to 7, or 32 for"),
        ({"activation_bits": 2, "activation_quantizer": "sign"}, "`activation_bits` of the activation_quantizer 'sign' must be 1, or"),
        ({"activation_bits": 1}, "`activation_bits` must be 2 to 16, or 32 for floating point, but is 1"),
        (
            {"activation_bits": 4, "activation_quantizer": "log"},
            "`activation_quantizer` must be one of uniform, dorefa, half_wave, sign, xnor, but",
        ),
    ],
)
def test_a_quantizer_at_bits_that_it_is_not_made_for_is_one_clear_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Choice(**knobs)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
