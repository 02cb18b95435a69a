"""From the rules of a space file to the search space of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from autocomp.choice import CATEGORIES, DEFAULTS, DEVICE, KNOBS, QUANTIZERS, SWITCHES, USUAL, Choice
from autocomp.compression.base import Method
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.space import Knob, SearchSpace
from hwmodels import Op, Workload

_SELECTORS = ("match", "ops", "position")
_OPS = {op.name.lower(): op for op in Op}
_POSITIONS = {"first": 0, "last": -1}
_HOW = {switch: how for how, switch in SWITCHES.items()}


def build_space(
    rules: Sequence[Mapping[str, Any]], workload: Workload, methods: Sequence[Method], axes: Mapping[str, Sequence[Any]] | None = None
) -> SearchSpace:
    """The space that rules describe, without the options that no method can carry out on a layer.

    Args:
        rules: each has ``match`` (a pattern of layer names), maybe ``ops`` (conv, linear) and ``position`` (first, last),
            and lists of options by knob. A later rule replaces an earlier one's list, knob by knob.
        workload: the network's layers.
        methods: what can be done.
        axes: open parameters of the device with their options.

    Raises:
        UnknownNameError: on an unknown key, kind of layer, position or category.
        ConfigError: on a rule that fits no layer, options that are no list, an option out of range, or a parameter of the device
            that cannot be told from a layer's knob.
    """
    wanted: dict[str, dict[str, list[Any]]] = {name: {} for name in workload.names}
    for rule in rules:
        if not isinstance(rule, Mapping):
            raise ConfigError(f"A rule of a space must be a mapping with keys such as `match` and `weight_bits`, but is {rule!r}.")
        options = _options(rule)
        for name in _matching(rule, workload):
            wanted[name] |= options
    able = {key: mask for method in methods for key, mask in method.supported(workload).items()}
    knobs: list[Knob] = []
    for i, name in enumerate(workload.names):
        possible = {(knob, category) for (knob, category), mask in able.items() if mask[i]}
        knobs += _knobs(name, wanted[name], possible)
    return SearchSpace(workload.names, (*knobs, *_device_knobs(axes or {})))


def _device_knobs(axes: Mapping[str, Sequence[Any]]) -> list[Knob]:
    for parameter in axes:
        if parameter in KNOBS:
            raise ConfigError(f"A search cannot decide on the device's `{parameter}`, because every layer has a knob of that name.")
    return [Knob(DEVICE, parameter, tuple(options)) for parameter, options in axes.items()]


def _options(rule: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The lists of a rule, once every option is known to make a choice, even if no layer can take it."""
    _check_names("key in a space rule", rule, (*KNOBS, *_SELECTORS))
    found = {knob: _listed(rule, knob) for knob in rule if knob in KNOBS}
    for knob, options in found.items():
        if knob in CATEGORIES:
            _check_names(knob, options, CATEGORIES[knob])
        else:
            for option in options:
                Choice(**{knob: option, _HOW[knob]: _some_way(_HOW[knob], option)})
    return found


def _some_way(how: str, option: object) -> str:
    """A category with which the option makes a choice, if there is one; of quantizers the first that has the width."""
    fallback = CATEGORIES[how][0] if how in QUANTIZERS else CATEGORIES[how][-1]
    return next((name for name, widths in QUANTIZERS.get(how, {}).items() if option in widths), fallback)


def _listed(rule: Mapping[str, Any], key: str) -> list[Any]:
    value = rule[key]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"The options of `{key}` must be a list, but are {value!r}; write [{value}].")
    return list(value)


def _check_names(kind: str, names: Iterable[object], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, str(name), known)


def _matching(rule: Mapping[str, Any], workload: Workload) -> list[str]:
    """The layers that a rule is about; never none."""
    ops = _listed(rule, "ops") if "ops" in rule else list(_OPS)
    positions = [rule["position"]] if "position" in rule else []
    _check_names("kind of layer", ops, tuple(_OPS))
    _check_names("position", positions, tuple(_POSITIONS))
    ends = {workload.names[_POSITIONS[position]] for position in positions} or set(workload.names)
    fits = np.isin(workload.op, [_OPS[op] for op in ops])
    pattern = str(rule.get("match", "*"))
    names = [name for name, fit in zip(workload.names, fits, strict=True) if fit and name in ends and fnmatchcase(name, pattern)]
    if not names:
        selected = ", ".join(f"{key}={rule[key]}" for key in _SELECTORS if key in rule)
        raise ConfigError(f"Each rule of a space must fit a layer, but the rule for {selected} fits none of {', '.join(workload.names)}.")
    return names


def _knobs(layer: str, wanted: Mapping[str, list[Any]], possible: set[tuple[str, str]]) -> list[Knob]:
    """A switch and its how-knob for each pair that leaves something to decide."""
    knobs = []
    for how, switch in SWITCHES.items():
        ways = [way for way in wanted.get(how, USUAL[how]) if (how, way) in possible]
        options = wanted.get(switch, [])
        if not ways or not options or options == [DEFAULTS[switch]]:
            continue
        knobs += [Knob(layer, switch, tuple(options)), Knob(layer, how, tuple(ways))]
    return knobs
