"""Parts, single choices and their sums; figures are made up, so that every sum can be checked."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from autocomp.choice import FIXED_POINT, Choice, Configuration
from autocomp.problem import Problem
from autocomp.sensitivity import Probe, Sensitivity, changed, parts, separated, singles
from autocomp.space import Knob, SearchSpace

LAYERS = ("a", "b")
SPACE = SearchSpace(
    LAYERS,
    (
        Knob("a", "sparsity", (0.0, 0.5, 0.75)),
        Knob("a", "pattern", ("fine", "filter")),
        Knob("b", "weight_bits", (8, 4)),
    ),
)


def single(layer: str, loss: float, **knobs: object) -> Probe:
    return Probe(Configuration({layer: Choice(**knobs)}), loss, 0.9)  # type: ignore[arg-type]


HALF = single("a", 0.1, sparsity=0.5, pattern="fine")
MOST = single("a", 0.3, sparsity=0.75, pattern="fine")
FOUR = single("b", 0.02, weight_bits=4)
BOTH = Probe(Configuration({"a": Choice(sparsity=0.5, pattern="fine"), "b": Choice(weight_bits=4)}), 0.15, 0.8)
MORE = Probe(Configuration({"a": Choice(sparsity=0.75, pattern="fine"), "b": Choice(weight_bits=4)}), 0.5, 0.6)
FOUND = Sensitivity(0.95, 256, 1000.0, (HALF, MOST, FOUR, BOTH, MORE))


def test_a_part_numbers_its_choices_with_the_last_column_fastest() -> None:
    a, b = parts(SPACE)
    assert (a.layer, a.switch, a.columns, a.options) == ("a", "sparsity", (0, 1), (3, 2))
    assert [(c.sparsity, c.pattern) for c in a.choices if c] == [
        *((0.0, "none"), (0.0, "none"), (0.5, "fine"), (0.5, "filter"), (0.75, "fine"), (0.75, "filter"))
    ]
    vectors = np.array([[0, 0, 0], [1, 1, 1], [2, 0, 1]])
    assert a.numbers(vectors).tolist() == [0, 3, 4]
    assert b.numbers(vectors).tolist() == [0, 1, 1]


def test_single_choices_are_those_that_change_something_each_once() -> None:
    found = [configuration.flatten() for configuration in singles(SPACE)]
    assert found == [
        {"a/sparsity": 0.5, "a/pattern": "fine"},
        {"a/sparsity": 0.5, "a/pattern": "filter"},
        {"a/sparsity": 0.75, "a/pattern": "fine"},
        {"a/sparsity": 0.75, "a/pattern": "filter"},
        {"b/weight_bits": 8},
        {"b/weight_bits": 4},
    ]


def test_losses_of_a_part_are_nan_where_nothing_was_measured_and_zero_where_nothing_is_done() -> None:
    a, b = parts(SPACE)
    np.testing.assert_array_equal(FOUND.losses(a), [0, 0, 0.1, np.nan, 0.3, np.nan])
    np.testing.assert_array_equal(FOUND.losses(b), [np.nan, 0.02])


def test_the_expected_loss_is_the_sum_of_the_single_ones() -> None:
    assert FOUND.expected(BOTH.configuration) == pytest.approx(0.1 + 0.02)
    assert FOUND.expected(Configuration({})) == 0.0
    assert np.isnan(FOUND.expected(Configuration({"b": Choice(weight_bits=8)})))


def test_the_sums_add_up_over_the_parts_of_one_layer_too() -> None:
    both = Configuration({"a": Choice(sparsity=0.5, pattern="fine", weight_bits=4)})
    known = Sensitivity(0.9, 1, 1.0, (HALF, single("a", 0.05, weight_bits=4)))
    assert changed(both) == [("a", "sparsity"), ("a", "weight_bits")]
    assert known.expected(both) == pytest.approx(0.15)


def test_ternary_factors_cannot_stand_alone() -> None:
    choice = Choice(rank=0.5, factorization="svd", weight_bits=2, weight_quantizer=FIXED_POINT)
    rank, bits = separated(Configuration({"a": choice}))
    assert rank == Configuration({"a": Choice(rank=0.5, factorization="svd")})
    assert bits is None
    assert np.isnan(FOUND.expected(Configuration({"a": choice})))


def test_a_probe_is_found_whatever_device_a_configuration_decides_on() -> None:
    on_device = Configuration(BOTH.configuration, {"rows": 64})
    assert FOUND.probe(on_device) == BOTH
    assert Sensitivity(0.9, 1, 1.0, (Probe(on_device, 0.2, 0.7),)).probe(BOTH.configuration) is not None


def test_mixtures_are_compared_with_the_sums_of_their_singles() -> None:
    expected, measured = FOUND.interaction()
    np.testing.assert_allclose(expected, [0.12, 0.32])
    np.testing.assert_allclose(measured, [0.15, 0.5])
    assert len(FOUND.interaction(least=3)[0]) == 0


def test_the_rank_correlation_is_one_where_sums_rank_as_measured_and_unknown_with_too_few() -> None:
    assert FOUND.rank_correlation(least=2) is None
    third = Probe(Configuration({"a": Choice(sparsity=0.5, pattern="fine", weight_bits=4)}), 0.2, 0.7)
    more = Sensitivity(0.95, 256, 1.0, (*FOUND.probes, single("a", 0.1, weight_bits=4), third))
    assert more.rank_correlation(least=2) == pytest.approx(1.0)  # sums 0.12, 0.32, 0.2; measured 0.15, 0.5, 0.2


def test_a_record_is_plain_json_and_comes_back_the_same_even_among_other_keys() -> None:
    record = json.loads(json.dumps(FOUND.to_record())) | {"something": "else"}
    again = Sensitivity.from_record(record)
    assert again.probes == FOUND.probes
    assert (again.accuracy, again.images, again.image_passes) == (0.95, 256, 1000.0)


def test_every_part_of_a_space_that_a_search_uses_has_its_columns(toy: Callable[..., Problem]) -> None:
    space = toy(2).space
    vectors = space.sample(np.random.default_rng(0), 50)
    for part in parts(space):
        for vector, number in zip(vectors, part.numbers(vectors), strict=True):
            choice, own = space.decode(vector).choice(part.layer), part.choices[number]
            assert own is not None
            assert getattr(choice, part.switch) == getattr(own, part.switch)


def test_a_shared_choice_is_measured_in_all_its_layers_together_and_in_each_alone() -> None:
    space = SearchSpace(
        LAYERS, (Knob("a", "weight_bits", (32, 4), ("b",)), Knob("b", "rank", (1.0, 0.5)), Knob("b", "factorization", ("svd",)))
    )
    assert [configuration.flatten() for configuration in singles(space)] == [
        {"a/weight_bits": 4, "b/weight_bits": 4},
        {"a/weight_bits": 4},
        {"b/weight_bits": 4},
        {"b/rank": 0.5, "b/factorization": "svd"},
    ]
    bits, rank = parts(space)
    four = Choice(weight_bits=4)
    alone = tuple(Probe(Configuration(dict.fromkeys(layers, four)), loss, 0.9) for layers, loss in (("a", 0.1), ("b", 0.2), ("ab", 0.35)))
    known = Sensitivity(0.95, 256, 0.0, alone)
    assert known.losses(bits).tolist() == [0.0, 0.35]  # what the choice costs is what it costs in both
    assert known.expected(Configuration({"a": four, "b": four})) == pytest.approx(0.3)
    assert (rank.layer, rank.others) == ("b", ())
