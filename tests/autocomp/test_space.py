"""SearchSpace: options, vectors and neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocomp.choice import KNOBS, Choice, Choices, Configuration
from autocomp.errors import ConfigError
from autocomp.space import Knob, SearchSpace

SPACE = SearchSpace(
    ("a", "b", "c"),
    (
        Knob("a", "sparsity", (0.75, 0.0, 0.5)),
        Knob("a", "pattern", ("filter", "fine")),
        Knob("a", "weight_bits", (4, 8, 32)),
        Knob("b", "rank", (0.5, 1.0)),
        Knob("b", "factorization", ("svd", "svd_out")),
        Knob("b", "sparsity", (0.25, 0.5)),
        Knob("b", "pattern", ("fine", "filter")),
    ),
)
seeds = st.integers(0, 2**31)


def vectors_of(seed: int, n: int = 6) -> Any:
    return SPACE.sample(np.random.default_rng(seed), n)


def test_options_are_sorted_from_mildest_to_strongest_and_categories_as_given() -> None:
    assert [knob.options for knob in SPACE.knobs[:4]] == [(0.0, 0.5, 0.75), ("filter", "fine"), (32, 8, 4), (1.0, 0.5)]
    assert SPACE.cardinalities.tolist() == [3, 2, 3, 2, 2, 2, 2]
    assert SPACE.names[2] == "a/weight_bits"


@given(seeds)
def test_decode_and_encode_are_inverse_on_canonical_vectors(seed: int) -> None:
    vectors = vectors_of(seed)
    assert (SPACE.encode([SPACE.decode(v) for v in vectors]) == vectors).all()


@given(seeds)
def test_equal_networks_have_equal_canonical_vectors(seed: int) -> None:
    any_vectors = np.random.default_rng(seed).integers(0, SPACE.cardinalities, (30, 7))
    canonical = SPACE.canonical(any_vectors)
    assert (SPACE.canonical(canonical) == canonical).all()
    configurations = [SPACE.decode(v) for v in any_vectors]
    assert [SPACE.decode(v) for v in canonical] == configurations
    assert len(set(configurations)) == len(np.unique(canonical, axis=0))


def test_the_pattern_of_a_dense_layer_is_no_decision() -> None:
    # b's sparsity cannot be switched off, so b's pattern always counts; b's rank is off
    assert SPACE.canonical(np.array([0, 1, 2, 0, 1, 0, 1])).tolist() == [0, 0, 2, 0, 0, 0, 1]


@given(seeds)
def test_the_table_of_vectors_is_the_table_of_their_configurations(seed: int) -> None:
    vectors = vectors_of(seed)
    one, other = SPACE.table(vectors), Choices.of([SPACE.decode(v) for v in vectors], SPACE.layers)
    for knob in ("sparsity", "rank", "weight_bits", "activation_bits"):
        assert (getattr(one, knob) == getattr(other, knob)).all()
    for knob, category in (("pattern", "fine"), ("pattern", "filter"), ("factorization", "svd"), ("factorization", "svd_out")):
        assert (one.uses(knob, category) == other.uses(knob, category)).all()
    assert set(KNOBS) == {"layers", *vars(one)} - {"layers"}


@given(seeds)
def test_neighbours_differ_in_one_knob_and_are_contained(seed: int) -> None:
    generator = np.random.default_rng(seed)
    vector = vectors_of(seed, 1)[0]
    near = SPACE.neighbours(vector, generator, 20)
    assert all(SPACE.contains(SPACE.decode(v)) for v in near)
    changed = near != vector
    # switching something off takes the knob that says how along
    switched_off = (near[:, 0] == 0) & (vector[0] != 0) | (near[:, 3] == 0) & (vector[3] != 0)
    assert (changed.sum(1)[~switched_off] == 1).all()
    assert (changed.sum(1)[switched_off] <= 2).all()


def test_neighbours_of_a_fixed_vector_are_itself() -> None:
    fixed = SearchSpace(("a",), (Knob("a", "weight_bits", (8,)),))
    assert fixed.neighbours(np.array([0]), np.random.default_rng(0), 3).tolist() == [[0]] * 3


def test_mates_are_other_free_knobs_of_the_same_layer() -> None:
    named = (("a", "weight_bits"), ("b", "weight_bits"), ("a", "activation_bits"))
    knobs = (*(Knob(layer, name, (8, 4)) for layer, name in named), Knob("a", "weight_quantizer", ("uniform",)))
    space = SearchSpace(("a", "b"), knobs)
    # the fourth knob leaves nothing to decide, and the second is alone in its layer
    assert space.mates(np.array([0, 1, 2, 0]), np.random.default_rng(0)).tolist() == [2, 1, 0, 2]


def test_samples_of_a_space_without_knobs_are_the_untouched_network() -> None:
    empty = SearchSpace(("a",), ())
    assert empty.sample(np.random.default_rng(0), 4).shape == (4, 0)
    assert empty.decode(np.zeros(0, np.int64)) == Configuration({})
    assert empty.table(np.zeros((2, 0), np.int64)).weight_bits.tolist() == [[32], [32]]


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"d": Choice(weight_bits=4)}, "The space has no layer 'd'; it has a, b, c"),
        ({"a": Choice(weight_bits=5), "b": Choice(sparsity=0.25, pattern="fine")}, "a/weight_bits must be one of .*, but is 5"),
        ({"c": Choice(weight_bits=4), "b": Choice(sparsity=0.25, pattern="fine")}, "changes a knob that the space does not have"),
    ],
)
def test_a_configuration_outside_is_refused_with_the_reason(configuration: dict[str, Choice], message: str) -> None:
    assert not SPACE.contains(Configuration(configuration))
    with pytest.raises(ConfigError, match=message):
        SPACE.encode([Configuration(configuration)])


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ((Knob("d", "rank", (1.0,)),), "'d' is none"),
        ((Knob("a", "rank", (1.0,)), Knob("a", "rank", (1.0,))), "two rules gave the same layer the same knob"),
        ((Knob("a", "weight_bits", (8, 1)),), "`weight_bits` must be 2 to 16"),
        ((Knob("a", "weight_bits", (64, 8)),), "`weight_bits` must be 2 to 16"),
        ((Knob("a", "sparsity", (0.0, 0.5)),), "`sparsity` 0.5 needs a `pattern`"),
        ((Knob("a", "sparsity", (0.0, 0.5)), Knob("a", "pattern", ("none", "fine"))), "`sparsity` 0.5 needs a `pattern`"),
    ],
)
def test_a_space_that_would_yield_what_cannot_be_is_refused(knobs: tuple[Knob, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSpace(("a",), knobs)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("bits", (8,), "A knob is one of"), ("rank", (), "needs options that differ"), ("rank", (0.5, 0.5), "needs options that differ")],
)
def test_a_knob_that_cannot_be_is_refused(name: str, options: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Knob("a", name, options)


def test_options_of_mixed_types_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="options of a/weight_bits must be numbers, but are"):
        SearchSpace(("a",), (Knob("a", "weight_bits", ("eight", 4)),))


SHARED = SearchSpace(
    ("a", "b", "c", "d"),
    (
        Knob("a", "sparsity", (0.75, 0.0, 0.5), ("c", "d")),
        Knob("a", "pattern", ("filter", "fine"), ("c", "d")),
        Knob("a", "weight_bits", (4, 8), ("b",)),
        Knob("b", "rank", (0.5, 1.0)),
        Knob("b", "factorization", ("svd", "svd_out")),
        Knob("c", "weight_bits", (32, 8)),
    ),
)


@given(seeds)
def test_layers_that_decide_together_always_choose_alike(seed: int) -> None:
    vectors = SHARED.sample(np.random.default_rng(seed), 6)
    configurations = [SHARED.decode(v) for v in vectors]
    assert all(SHARED.contains(c) for c in configurations)
    assert (SHARED.encode(configurations) == vectors).all()
    for c in configurations:
        one, two, three = (c.choice(layer) for layer in ("a", "c", "d"))
        assert (one.sparsity, one.pattern) == (two.sparsity, two.pattern) == (three.sparsity, three.pattern)
        assert one.weight_bits == c.choice("b").weight_bits
        assert three.weight_bits == 32
    table, expected = SHARED.table(vectors), Choices.of(configurations, SHARED.layers)
    for knob in ("sparsity", "rank", "weight_bits"):
        assert (getattr(table, knob) == getattr(expected, knob)).all()
    assert (table.uses("pattern", "filter") == expected.uses("pattern", "filter")).all()
    near = SHARED.neighbours(vectors[0], np.random.default_rng(seed), 10)
    assert all(SHARED.contains(SHARED.decode(v)) for v in near)


@given(seeds)
def test_every_configuration_of_a_space_that_shares_has_one_canonical_vector(seed: int) -> None:
    any_vectors = np.random.default_rng(seed).integers(0, SHARED.cardinalities, (40, 6))
    canonical = SHARED.canonical(any_vectors)
    assert [SHARED.decode(v) for v in canonical] == [SHARED.decode(v) for v in any_vectors]
    assert len({SHARED.decode(v) for v in any_vectors}) == len(np.unique(canonical, axis=0))


def test_a_shared_choice_is_one_entry_and_a_decision_of_every_layer() -> None:
    assert SHARED.names == ("a/sparsity", "a/pattern", "a/weight_bits", "b/rank", "b/factorization", "c/weight_bits")
    assert [(knob.layer, knob.name) for knob in SHARED.decisions[:4]] == [
        ("a", "sparsity"),
        ("c", "sparsity"),
        ("d", "sparsity"),
        ("a", "pattern"),
    ]
    assert not any(knob.others for knob in SHARED.decisions)


def test_layers_that_decide_together_cannot_be_told_apart() -> None:
    alike = Configuration({"a": Choice(weight_bits=4), "b": Choice(weight_bits=4)})
    assert SHARED.contains(alike)
    unlike = Configuration({"a": Choice(weight_bits=4), "b": Choice(weight_bits=8)})
    with pytest.raises(ConfigError, match="or treats layers unlike that decide together"):
        SHARED.encode([unlike])


@pytest.mark.parametrize(
    ("knobs", "frozen", "message"),
    [
        ((Knob("a", "rank", (1.0,), ("d",)),), (), "'d' is none"),
        ((Knob("a", "weight_bits", (8,), ("b",)), Knob("b", "weight_bits", (8,))), (), "gave the same layer the same knob"),
        ((Knob("a", "weight_bits", (8,), ("b",)),), ("b",), "A frozen layer has nothing to decide, but b has `weight_bits`"),
        (
            (Knob("a", "sparsity", (0.5,), ("b",)), Knob("a", "pattern", ("fine",)), Knob("b", "pattern", ("fine",))),
            (),
            "`pattern` and `sparsity` are shared by the same layers, but a shares only one of them",
        ),
        ((Knob("a", "weight_bits", (8, 1), ("b",)),), (), "`weight_bits` must be 2 to 16"),
    ],
)
def test_what_cannot_be_shared_is_refused(knobs: tuple[Knob, ...], frozen: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSpace(("a", "b"), knobs, frozen)
