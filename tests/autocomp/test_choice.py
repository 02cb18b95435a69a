"""Choice, Configuration and Choices."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocomp.choice import CATEGORIES, FLOAT_BITS, KNOBS, UNTOUCHED, WEIGHT_QUANTIZERS, Choice, Choices, Configuration
from autocomp.errors import ConfigError

bits = st.integers(2, 16) | st.just(FLOAT_BITS)
choices = st.builds(
    Choice,
    sparsity=st.floats(0, 0.99),
    pattern=st.sampled_from(["fine", "filter"]),
    rank=st.floats(0.01, 1),
    factorization=st.sampled_from(["svd", "svd_out"]),
    weight_bits=bits,
    activation_bits=bits,
)
layer_names = st.text("abc/._0", min_size=1, max_size=8)
configurations = st.builds(Configuration, st.dictionaries(layer_names, choices, max_size=5))


@given(configurations)
def test_flatten_and_unflatten_are_inverse_also_through_json(configuration: Configuration) -> None:
    back = Configuration.unflatten(json.loads(json.dumps(configuration.flatten())))
    assert back == configuration
    assert back.key == configuration.key
    assert hash(back) == hash(configuration)


def test_flatten_names_only_what_differs_from_the_default() -> None:
    configuration = Configuration({"b": Choice(weight_bits=4), "a": Choice(sparsity=0.5, pattern="filter"), "c": UNTOUCHED})
    assert configuration.flatten() == {"a/sparsity": 0.5, "a/pattern": "filter", "b/weight_bits": 4}
    assert list(configuration) == ["b", "a"]
    assert configuration.choice("c") == configuration.choice("no such layer") == UNTOUCHED


def test_a_layer_name_may_hold_slashes() -> None:
    assert Configuration.unflatten({"block/0/conv/weight_bits": 4})["block/0/conv"].weight_bits == 4


def test_knobs_without_effect_take_their_default() -> None:
    assert Choice(pattern="filter", factorization="svd") == UNTOUCHED
    assert Choice(sparsity=0.1, pattern="fine", factorization="svd").factorization == "none"


def test_the_order_of_layers_and_the_type_of_numbers_do_not_matter() -> None:
    one = Configuration({"a": Choice(weight_bits=8, rank=0.5, factorization="svd"), "b": Choice(activation_bits=4)})
    # as a Parquet file or a YAML may give them back
    numbers: Any = {"b/activation_bits": np.int64(4), "a/rank": np.float64(0.5), "a/weight_bits": 8.0, "a/factorization": "svd"}
    other = Configuration.unflatten(numbers)
    assert one == other
    assert one.key == other.key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sparsity": 1.0, "pattern": "fine"}, r"`sparsity` must lie in \[0, 1\), but is 1.0"),
        ({"sparsity": float("nan"), "pattern": "fine"}, "`sparsity` must lie in"),
        ({"sparsity": "a lot", "pattern": "fine"}, "`sparsity` must be a number, but is 'a lot'"),
        ({"rank": 0.0, "factorization": "svd"}, r"`rank` must lie in \(0, 1\], but is 0.0"),
        ({"weight_bits": 1}, "`weight_bits` must be 2 to 16, or 32 for floating point, but is 1"),
        ({"activation_bits": 7.5}, "`activation_bits` must be 2 to 16"),
        ({"sparsity": 0.5}, "`sparsity` 0.5 needs a `pattern`; name one of fine, filter"),
        ({"rank": 0.5}, "`rank` 0.5 needs a `factorization`; name one of svd, svd_out"),
        ({"sparsity": 0.5, "pattern": "spots"}, "`pattern` must be one of none, fine, filter, .*, but is 'spots'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Choice(**values)


@pytest.mark.parametrize(("quantizer", "widths"), WEIGHT_QUANTIZERS.items())
def test_a_quantizer_takes_the_widths_that_it_is_made_for_and_no_other(quantizer: str, widths: range) -> None:
    factors: Any = {"rank": 0.5, "factorization": "svd"}  # without which one of the quantizers makes no sense
    for bits in range(1, FLOAT_BITS):
        if bits in widths:
            assert Choice(weight_bits=bits, weight_quantizer=quantizer, **factors).weight_bits == bits
        else:
            with pytest.raises(ConfigError, match=f"must be {widths[0]}.*, or 32 for floating point, but is {bits}"):
                Choice(weight_bits=bits, weight_quantizer=quantizer, **factors)
    assert Choice(weight_quantizer=quantizer) == UNTOUCHED


def test_uniform_quantization_is_written_without_its_name_as_ever() -> None:
    assert Configuration({"a": Choice(weight_bits=4, weight_quantizer="uniform")}).flatten() == {"a/weight_bits": 4}
    # sha256 of {"a/weight_bits": 4}
    assert Configuration({"a": Choice(weight_bits=4)}).key == hashlib.sha256(b'{"a/weight_bits": 4}').hexdigest()[:16]
    assert Configuration({"a": Choice(weight_bits=2, weight_quantizer="ternary")}).flatten() == {
        "a/weight_bits": 2,
        "a/weight_quantizer": "ternary",
    }


@pytest.mark.parametrize("knobs", [{}, {"rank": 0.5, "factorization": "tucker2"}, {"rank": 1.0, "factorization": "svd"}])
def test_ternary_factors_need_two_factors(knobs: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match="weights need a `rank` below 1 and a `factorization` of svd, svd_out, svd_in, spatial, but not '"
    ):
        Choice(weight_bits=2, weight_quantizer="fixed_point_factorized", **knobs)


@pytest.mark.parametrize("name", ["weight_bits", "a/bits", "/weight_bits"])
def test_a_decision_that_is_no_layer_and_knob_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="A decision is named layer/knob"):
        Configuration.unflatten({name: 4})


@given(st.lists(configurations, max_size=3))
def test_the_table_holds_every_choice_in_its_place(several: list[Configuration]) -> None:
    layers = ("a", "b", "abc")
    table = Choices.of(several, layers)
    for i, configuration in enumerate(several):
        for j, layer in enumerate(layers):
            for knob in KNOBS:
                cell = getattr(table, knob)[i, j]
                value = getattr(configuration.choice(layer), knob)
                assert (CATEGORIES[knob][cell] if knob in CATEGORIES else cell) == value
    assert table.sparsity.shape == (len(several), 3)


def test_a_category_is_used_where_it_is_chosen_and_switched_on() -> None:
    several = [Configuration({"a": Choice(sparsity=0.5, pattern="fine"), "b": Choice(sparsity=0.5, pattern="filter")})]
    table = Choices.of(several, ("a", "b", "c"))
    assert table.uses("pattern", "fine").tolist() == [[True, False, False]]
    assert table.uses("pattern", "none").tolist() == [[False, False, False]]
    assert table.uses("weight_quantizer", "uniform").tolist() == [[False, False, False]]
