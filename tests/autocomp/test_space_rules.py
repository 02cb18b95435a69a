"""From the rules of a space file to a search space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import Method, default_methods
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.space import SearchSpace
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from hwmodels import Workload

from .compression.networks import SHAPE, built

# stem, a1 and c1 lead families of filters; a2, b2 and c2 add to others; the linear layer's outputs are the answer
NETWORK = "option_b"


def posed(name: str = NETWORK) -> tuple[Workload, tuple[Method, ...]]:
    graph = normalize(built(name), SHAPE)
    assert graph is not None
    return trace(graph, SHAPE), default_methods(channel_map(graph, SHAPE))


WORKLOAD, METHODS = posed()


def space(*rules: dict[str, Any]) -> SearchSpace:
    return build_space(rules, WORKLOAD, METHODS)


def options(found: SearchSpace, layer: str) -> dict[str, tuple[Any, ...]]:
    return {knob.name: knob.options for knob in found.knobs if knob.layer == layer}


def test_without_rules_nothing_may_be_done() -> None:
    assert space().knobs == ()
    assert space().layers == WORKLOAD.names


def test_a_rule_speaks_of_every_layer_unless_it_says_otherwise() -> None:
    found = space({"weight_bits": [4, 8]})
    assert [knob.layer for knob in found.knobs if knob.name == "weight_bits"] == list(WORKLOAD.names)


def test_a_switch_comes_with_the_usual_ways_that_the_layer_can_take() -> None:
    found = space({"sparsity": [0, 0.5], "rank": [1.0, 0.5], "activation_bits": [8]})
    assert options(found, "a1") == {
        "sparsity": (0, 0.5),
        "pattern": ("fine", "filter"),
        "rank": (1.0, 0.5),
        "factorization": ("svd_out",),
        "activation_bits": (8,),
        "activation_quantizer": ("uniform",),
    }
    assert options(found, "linear")["factorization"] == ("svd",)


def test_layers_that_only_follow_and_the_last_one_have_no_filters_to_remove() -> None:
    found = space({"sparsity": [0, 0.5], "pattern": ["filter", "fine"]})
    ways = {layer: options(found, layer)["pattern"] for layer in WORKLOAD.names}
    both, fine = ("filter", "fine"), ("fine",)
    leads = {"stem", "a1", "shortcut.0", "b1", "c1"}
    assert ways == {layer: both if layer in leads else fine for layer in WORKLOAD.names}
    only = space({"sparsity": [0, 0.5], "pattern": ["filter"]})
    assert {knob.layer for knob in only.knobs} == leads


def test_a_depthwise_kernel_has_no_rank_to_lower() -> None:
    workload, methods = posed("depthwise")
    found = build_space([{"rank": [1.0, 0.5]}], workload, methods)
    assert {knob.layer for knob in found.knobs} == {"stem", "expand", "project", "head"}


def test_without_a_channel_map_no_filter_is_offered() -> None:
    found = build_space([{"sparsity": [0, 0.5]}], WORKLOAD, default_methods(None))
    assert {knob.options for knob in found.knobs if knob.name == "pattern"} == {("fine",)}


def test_a_pattern_selects_layers_by_name_and_ops_by_kind() -> None:
    found = space({"match": "a*", "weight_bits": [4]}, {"ops": ["linear"], "weight_bits": [8]})
    assert {knob.layer: knob.options for knob in found.knobs if knob.name == "weight_bits"} == {"a1": (4,), "a2": (4,), "linear": (8,)}
    convolutions = space({"ops": ["conv"], "weight_bits": [8]})
    assert {knob.layer for knob in convolutions.knobs} == set(WORKLOAD.names) - {"linear"}


@pytest.mark.parametrize(("position", "layer"), [("first", "stem"), ("last", "linear")])
def test_a_position_selects_one_end_of_the_network(position: str, layer: str) -> None:
    assert {knob.layer for knob in space({"position": position, "weight_bits": [8]}).knobs} == {layer}


def test_a_later_rule_replaces_an_earlier_one_knob_by_knob() -> None:
    everywhere = {"weight_bits": [4, 8], "activation_bits": [8]}
    found = space(everywhere, {"position": "first", "weight_bits": [6]}, {"match": "a1", "activation_bits": []})
    assert options(found, "stem") == {
        "weight_bits": (6,),
        "weight_quantizer": ("uniform",),
        "activation_bits": (8,),
        "activation_quantizer": ("uniform",),
    }
    assert "activation_bits" not in options(found, "a1")
    assert options(found, "a2")["weight_bits"] == (8, 4)


def test_a_rule_that_names_no_quantizer_offers_the_uniform_one_alone() -> None:
    found = space({"weight_bits": [2], "activation_bits": [4]}, {"match": "a1", "weight_quantizer": ["uniform", "ternary"]})
    assert options(found, "a1")["weight_quantizer"] == ("uniform", "ternary")
    assert options(found, "a2")["weight_quantizer"] == options(found, "a1")["activation_quantizer"] == ("uniform",)


def test_one_bit_may_stand_in_another_rule_than_the_quantizer_that_can_do_it() -> None:
    found = space({"weight_quantizer": ["binary"]}, {"match": "a*", "weight_bits": [32, 1]})
    assert options(found, "a1") == {"weight_bits": (32, 1), "weight_quantizer": ("binary",)}
    assert found.contains(Configuration({"a1": Choice(weight_bits=1, weight_quantizer="binary")}))


@pytest.mark.parametrize("order", [["uniform", "fixed_point_factorized"], ["fixed_point_factorized", "uniform"]])
def test_a_space_in_which_some_layer_could_lack_the_factors_of_its_weights_is_refused(order: list[str]) -> None:
    # also where the quantizer is not the strongest and the full rank not the smallest
    rule = {"match": "a1", "weight_bits": [2], "weight_quantizer": order, "factorization": ["svd_out"]}
    with pytest.raises(ConfigError, match="`fixed_point_factorized` weights need a `rank` below 1"):
        space(rule | {"rank": [1.0, 0.5]})
    assert options(space(rule | {"rank": [0.9, 0.5]}), "a1")["weight_quantizer"] == tuple(order)


def test_a_list_that_only_says_to_leave_the_layer_alone_leaves_nothing_to_decide() -> None:
    assert space({"sparsity": [0], "rank": [1], "weight_bits": [32]}).knobs == ()


def test_the_space_holds_what_can_be_done_and_nothing_else() -> None:
    found = space({"sparsity": [0, 0.5], "rank": [1.0, 0.5], "weight_bits": [4, 8]})
    rounded = dict.fromkeys(WORKLOAD.names, Choice(weight_bits=8))
    filters = Choice(sparsity=0.5, pattern="filter", weight_bits=4)
    assert found.contains(Configuration(rounded | {"a1": filters}))
    assert not found.contains(Configuration(rounded | {"a2": filters}))  # a2 follows the stem


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"weigth_bits": [4]}, "There is no key in a space rule 'weigth_bits'. Did you mean 'weight_bits'? Known: activation_bits, "),
        ({"ops": ["convs"], "rank": [0.5]}, "There is no kind of layer 'convs'. Did you mean 'conv'? Known: conv, linear."),
        ({"position": "middle", "rank": [0.5]}, "There is no position 'middle'. Known: first, last."),
        ({"position": ["first"]}, "There is no position '['first']'. Did you mean 'first'? Known: first, last."),
        ({"sparsity": [0.5], "pattern": ["filters"]}, "There is no pattern 'filters'. Did you mean 'filter'? Known: filter, fine, group, "),
        ({"rank": [0.5], "factorization": [3]}, "There is no factorization '3'. Known: block_term, cp, none, spatial, svd, "),
    ],
)
def test_a_name_that_does_not_exist_is_one_clear_line(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        space(rule)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


LAYERS = "stem, a1, a2, shortcut.0, b1, b2, c1, c2, linear"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"match": "conv*"}, f"Each rule of a space must fit a layer, but the rule for match=conv* fits none of {LAYERS}."),
        (
            {"ops": ["linear"], "position": "first"},
            f"Each rule of a space must fit a layer, but the rule for ops=['linear'], position=first fits none of {LAYERS}.",
        ),
        ({"ops": {"conv": 1}}, "The options of `ops` must be a list or a single one, but are {'conv': 1}."),
        ({"weight_bits": None}, "The options of `weight_bits` must be a list or a single one, but are None."),
        ({"together": 3, "weight_bits": [8]}, "`together` in a space rule must be true, false or a name, but is 3."),
        ({"frozen": "yes"}, "`frozen` in a space rule must be true or false, but is 'yes'."),
        (
            {"match": "a1", "frozen": True, "weight_bits": [8]},
            "A frozen layer has nothing to decide, but the rule that freezes it has `weight_bits`, too.",
        ),
        ({"frozen": True}, "A search needs a layer that is not frozen, but all are."),
        ({"weight_bits": [8, 1]}, "`weight_bits` must be 2 to 16, or 32 for floating point, but is 1."),
        (
            {"weight_bits": [2, 4], "weight_quantizer": ["uniform", "ternary"]},
            "`weight_bits` of the weight_quantizer 'ternary' must be 2, or 32 for floating point, but is 4.",
        ),
        ({"activation_bits": [2, 1]}, "`activation_bits` must be 2 to 16, or 32 for floating point, but is 1."),
        ({"sparsity": [0, 1.5]}, "`sparsity` must lie in [0, 1), but is 1.5."),
        ({"ops": ["linear"], "rank": [0]}, "`rank` must lie in (0, 1], but is 0."),
        ({"activation_bits": ["8"]}, "`activation_bits` must be a number, but is '8'."),
        ({"weight_bits": [8, 4, 8]}, "A knob needs options that differ, but stem/weight_bits has [8, 4, 8]."),
        ("*", "A rule of a space must be a mapping with keys such as `match` and `weight_bits`, but is '*'."),
    ],
)
def test_a_rule_that_makes_no_sense_is_one_clear_line(rule: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        space(rule)
    assert str(error.value) == message


def test_an_option_out_of_range_is_told_even_if_no_layer_could_take_it() -> None:
    with pytest.raises(ConfigError, match="sparsity"):
        space({"match": "linear", "sparsity": [2], "pattern": ["filter"]})


def test_a_single_option_is_a_fixed_choice() -> None:
    assert space({"weight_bits": 8, "sparsity": 0.5, "pattern": "fine", "ops": "conv"}) == space(
        {"weight_bits": [8], "sparsity": [0.5], "pattern": ["fine"], "ops": ["conv"]}
    )


def leaders(found: SearchSpace) -> set[str]:
    return {knob.layer for knob in found.knobs if knob.name == "pattern" and "filter" in knob.options}


EVERYTHING = {"sparsity": [0, 0.5, 0.75], "rank": [1.0, 0.5], "weight_bits": [4, 8], "activation_bits": [4, 8]}


@pytest.mark.parametrize(
    ("frozen", "left"),
    [
        ("a2", {"shortcut.0", "b1", "c1"}),  # reads a1, adds to the stem
        ("linear", {"stem", "a1", "b1", "c1"}),  # reads what shortcut.0 leads
        ("c1", {"stem", "a1", "b1"}),  # reads what shortcut.0 leads, and leads filters of its own
    ],
)
def test_a_frozen_layer_keeps_its_shape_whatever_is_done_to_others(frozen: str, left: set[str]) -> None:
    found = space(EVERYTHING, {"match": frozen, "frozen": True})
    assert found.frozen == (frozen,)
    assert not options(found, frozen)
    assert leaders(found) == left
    assert {knob.layer for knob in found.knobs} == set(WORKLOAD.names) - {frozen}
    row = WORKLOAD.names.index(frozen)
    table = found.table(found.sample(np.random.default_rng(0), 200))
    lowered = METHODS[0].lower(WORKLOAD, table)
    for side in ("in_channels", "out_channels"):
        assert (np.broadcast_to(getattr(lowered, side), (200, 9))[:, row] == np.broadcast_to(getattr(WORKLOAD, side), 9)[row]).all()
    assert (np.broadcast_to(lowered.out_channels, (200, 9)) != WORKLOAD.out_channels).any()  # others are pruned


def test_where_frozen_layers_lose_nothing_all_filters_may_go() -> None:
    # of the 8 filters of a1 less than one goes
    assert leaders(space({"sparsity": [0, 0.01]}, {"match": "a2", "frozen": True})) >= {"a1", "stem"}


def test_a_later_rule_can_thaw_a_layer() -> None:
    found = space({"weight_bits": [4, 8]}, {"ops": ["conv"], "frozen": True}, {"match": "a*", "frozen": False})
    assert found.frozen == ("stem", "shortcut.0", "b1", "b2", "c1", "c2")
    assert {knob.layer for knob in found.knobs} == {"a1", "a2", "linear"}


def shared(found: SearchSpace) -> dict[tuple[str, ...], dict[str, tuple[Any, ...]]]:
    groups: dict[tuple[str, ...], dict[str, tuple[Any, ...]]] = {}
    for knob in found.knobs:
        groups.setdefault(knob.layers, {})[knob.name] = knob.options
    return groups


def test_layers_of_a_rule_take_the_same_choice_for_the_knobs_that_it_names() -> None:
    found = space({"match": "a*", "weight_bits": [4, 8], "together": True}, {"match": "a*", "activation_bits": [4, 8]})
    rounded = {"activation_bits": (8, 4), "activation_quantizer": ("uniform",)}
    assert shared(found) == {("a1", "a2"): {"weight_bits": (8, 4), "weight_quantizer": ("uniform",)}, ("a1",): rounded, ("a2",): rounded}
    four = Choice(weight_bits=4, activation_bits=8)
    assert found.contains(Configuration({"a1": four, "a2": four}))
    assert not found.contains(Configuration({"a1": four, "a2": Choice(weight_bits=8, activation_bits=8)}))


def test_a_rule_without_knobs_has_its_layers_share_all_of_them() -> None:
    found = space(EVERYTHING, {"match": "b*", "together": True})
    assert {knob.name for knob in found.knobs if knob.layers == ("b1", "b2")} == {knob.name for knob in found.knobs if knob.layer == "a1"}
    assert not [knob for knob in found.knobs if knob.layer == "b2"]


def test_a_name_joins_the_layers_of_several_rules() -> None:
    found = space(
        {"match": "a1", "weight_bits": [4, 8], "together": "ends"}, {"position": "last", "weight_bits": [8, 4], "together": "ends"}
    )
    assert set(shared(found)) == {("a1", "linear")}


def test_layers_share_what_all_of_them_have() -> None:
    found = space({"weight_bits": [4, 6, 8]}, {"match": "a1", "weight_bits": [8, 3, 4]}, {"match": "a*", "together": True})
    assert shared(found)["a1", "a2"]["weight_bits"] == (8, 4)
    pruned = space({"match": "a*", "sparsity": [0, 0.5], "together": True})  # a2 has no filters of its own to remove
    assert shared(pruned) == {("a1", "a2"): {"sparsity": (0, 0.5), "pattern": ("fine",)}}


def test_layers_that_have_nothing_in_common_are_one_clear_line() -> None:
    with pytest.raises(ConfigError) as error:
        space({"match": "a1", "weight_bits": [4]}, {"match": "a2", "weight_bits": [8]}, {"match": "a*", "together": True})
    message = "Layers that decide together need an option of `weight_bits` that all of them have, but a1 has [4], a2 has [8]."
    assert str(error.value) == message
    with pytest.raises(ConfigError, match="an option of `pattern` that all of them have, but a1 has"):
        space(
            {"match": "a*", "sparsity": [0, 0.5], "pattern": ["fine"], "together": True},
            {"match": "a1", "sparsity": [0, 0.5], "pattern": ["filter"]},
            {"match": "a*", "together": True},
        )


def test_a_layer_leaves_the_others_with_a_rule_of_its_own() -> None:
    found = space({"weight_bits": [4, 8], "together": True}, {"position": "first", "weight_bits": 8})
    ((first, fixed), (others, free)) = shared(found).items()
    assert (first, fixed["weight_bits"], free["weight_bits"]) == (("stem",), (8,), (8, 4))
    assert others == WORKLOAD.names[1:]
    apart = space({"weight_bits": [4, 8], "together": True}, {"match": "a*", "together": False})
    assert [knob.layers for knob in apart.knobs if knob.name == "weight_bits"] == [
        ("stem", "shortcut.0", "b1", "b2", "c1", "c2", "linear"),
        ("a1",),
        ("a2",),
    ]


def test_layers_that_leave_a_knob_alone_or_are_frozen_do_not_take_part() -> None:
    found = space(
        {"weight_bits": [4, 8]}, {"match": "a1", "weight_bits": []}, {"match": "b*", "frozen": True}, {"together": True, "ops": ["conv"]}
    )
    assert [knob.layers for knob in found.knobs if knob.name == "weight_bits"] == [("stem", "a2", "shortcut.0", "c1", "c2"), ("linear",)]


def test_what_a_space_that_shares_and_freezes_yields_it_contains() -> None:
    found = space(EVERYTHING, {"match": "[bc]*", "together": True}, {"match": "a2", "frozen": True})
    vectors = found.sample(np.random.default_rng(1), 100)
    configurations = [found.decode(vector) for vector in vectors]
    assert (found.encode(configurations) == vectors).all()
    assert not any("a2" in configuration for configuration in configurations)
