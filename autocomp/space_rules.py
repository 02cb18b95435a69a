"""From the rules of a space file to the search space of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

import numpy as np

from autocomp.choice import CATEGORIES, DEFAULTS, DEVICE, KNOBS, QUANTIZERS, SWITCHES, USUAL, Choice, Choices, Configuration
from autocomp.compression.base import Bounded, Method
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.space import Knob, SearchSpace
from hwmodels import Op, Workload

_SELECTORS = ("match", "ops", "position")
_OPS = {op.name.lower(): op for op in Op}
_POSITIONS = {"first": 0, "last": -1}
_HOW = {switch: how for how, switch in SWITCHES.items()}
FILTER = ("pattern", "filter")


def build_space(
    rules: Sequence[Mapping[str, Any]], workload: Workload, methods: Sequence[Method], axes: Mapping[str, Sequence[Any]] | None = None
) -> SearchSpace:
    """The space that rules describe, without the options that no method can carry out on a layer.

    Args:
        rules: each has ``match`` (a pattern of layer names), maybe ``ops`` (conv, linear) and ``position`` (first, last), and options by
            knob, a list or a single one. A later rule replaces an earlier one's options, knob by knob. With ``together`` (true, or a
            name that several rules share) its layers take the same choice for the knobs that it names, or for all if it names none; a
            knob goes with the one that says how. ``frozen`` leaves layers, and the channels that they read and write, as they are.
        workload: the network's layers.
        methods: what can be done.
        axes: open parameters of the device with their options.

    Raises:
        UnknownNameError: on an unknown key, kind of layer, position or category.
        ConfigError: on a rule that fits no layer, or whose layers can take none of the ways that it names, an option out of range, a
            codebook larger than its layer, layers that have nothing in common to decide together, or a parameter of the device that
            cannot be told from a layer's knob.
    """
    wanted = {name: _Wanted() for name in workload.names}
    for number, rule in enumerate(rules):
        if not isinstance(rule, Mapping):
            raise ConfigError(f"A rule of a space must be a mapping with keys such as `match` and `weight_bits`, but is {rule!r}.")
        said = _said(rule, number)
        for name in _matching(rule, workload):
            wanted[name].add(said)
    frozen = tuple(name for name in workload.names if wanted[name].frozen)
    if len(frozen) == len(workload.names):
        raise ConfigError("A search needs a layer that is not frozen, but all are.")
    able = {key: mask for method in methods for key, mask in method.supported(workload).items()}
    for rule in rules:
        _check_ways(rule, _matching(rule, workload), able, workload)
    kept_whole = _kept_whole(frozen, wanted, workload, methods)
    parts: list[_Part] = []
    for i, name in enumerate(workload.names):
        possible = {(knob, category) for (knob, category), mask in able.items() if mask[i]}
        if name in kept_whole:
            possible.discard(FILTER)
        parts += _parts(name, wanted[name], possible)
    _check_codebooks(parts, workload, methods)
    knobs = [knob for part in _joined(parts) for knob in part.knobs()]
    return SearchSpace(workload.names, (*knobs, *_device_knobs(axes or {})), frozen)


@dataclass
class _Wanted:
    """What one rule says, or all rules together say, about a layer.

    Attributes:
        options: by knob.
        groups: by switch, the name of those layers that decide together.
        frozen: whether nothing is done to it; None if that is not said.
    """

    options: dict[str, list[Any]] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    frozen: bool | None = None

    def add(self, later: _Wanted) -> None:
        """Take in what a later rule says."""
        self.options |= later.options
        self.groups |= later.groups
        self.frozen = self.frozen if later.frozen is None else later.frozen


@dataclass(frozen=True)
class _Part:
    """A switch with the knob that says how, of one layer or of several that decide together."""

    layers: tuple[str, ...]
    switch: str
    options: tuple[Any, ...]
    how: str
    ways: tuple[str, ...]
    group: str | None

    def knobs(self) -> list[Knob]:
        """Both knobs; none where there is nothing to decide."""
        if self.options == (DEFAULTS[self.switch],):
            return []
        first, *others = self.layers
        return [Knob(first, name, values, tuple(others)) for name, values in ((self.switch, self.options), (self.how, self.ways))]


def _check_ways(rule: Mapping[str, Any], names: Sequence[str], able: Mapping[tuple[str, str], Any], workload: Workload) -> None:
    """Raise where a rule names ways to do something, and no layer that it fits can take any of them."""
    rows = [workload.names.index(name) for name in names]
    for how in SWITCHES:
        ways = [(how, way) for way in _listed(rule, how)] if how in rule else []
        if ways and all(key in able and not np.broadcast_to(able[key], len(workload.names))[rows].any() for key in ways):
            raise ConfigError(
                f"A rule of a space must name a `{how}` that one of its layers can take, but {', '.join(way for _, way in ways)} "
                f"can be done to none of {', '.join(names)}."
            )


def _check_codebooks(parts: Sequence[_Part], workload: Workload, methods: Sequence[Method]) -> None:
    """Raise where a layer has fewer weights, or sub-vectors, than a codebook of some of its options has entries."""
    widest = {key: most for method in methods if isinstance(method, Bounded) for key, most in method.widest(workload).items()}
    bounded = ((part, way, widest[part.how, way]) for part in parts for way in part.ways if (part.how, way) in widest)
    for part, way, bits in bounded:
        (layer,) = part.layers
        most = int(np.broadcast_to(bits, len(workload.names))[workload.names.index(layer)])
        wrong = [option for option in part.options if most < option != DEFAULTS[part.switch]]
        if wrong:
            raise ConfigError(
                f"A codebook must not be larger than its layer, but `{way}` of {max(wrong)} bits is for layer '{layer}'; "
                f"give it a rule with {f'at most {most} bits or ' if most else ''}another `{part.how}`."
            )


def _said(rule: Mapping[str, Any], number: int) -> _Wanted:
    """What a rule says, once it is known to make sense."""
    options = _options(rule)
    together, frozen = rule.get("together", False), rule.get("frozen")
    if not isinstance(together, bool | str):
        raise ConfigError(f"`together` in a space rule must be true, false or a name, but is {together!r}.")
    if not isinstance(frozen, bool | None):
        raise ConfigError(f"`frozen` in a space rule must be true or false, but is {frozen!r}.")
    decided = [key for key in rule if key not in (*_SELECTORS, "frozen")]
    if frozen and decided:
        raise ConfigError(f"A frozen layer has nothing to decide, but the rule that freezes it has `{decided[0]}`, too.")
    group = f"name {together}" if isinstance(together, str) else f"rule {number}" if together else None
    switches = {SWITCHES.get(knob, knob) for knob in options} or (SWITCHES.values() if "together" in rule else ())
    return _Wanted(options, dict.fromkeys(switches, group), frozen)


def _kept_whole(frozen: Sequence[str], wanted: Mapping[str, _Wanted], workload: Workload, methods: Sequence[Method]) -> frozenset[str]:
    """Layers whose filters stay, because a frozen layer would lose channels with them."""
    pruning = [method for method in methods if FILTER in method.supported(workload)]
    most = {name: max(wanted[name].options.get("sparsity", ()), default=0) for name in workload.names}
    layers = [name for name in workload.names if most[name]]
    if not (frozen and layers and pruning):
        return frozenset()
    cut = workload
    for method in pruning:
        able = method.supported(workload)[FILTER]
        chosen = [{name: Choice(sparsity=most[name], pattern="filter")} if able[workload.names.index(name)] else {} for name in layers]
        cut = method.lower(cut, Choices.of([Configuration(choices) for choices in chosen], workload.names))
    rows = [workload.names.index(name) for name in frozen]
    changes = np.zeros((len(layers), len(rows)), bool)
    for side in ("in_channels", "out_channels"):
        before, after = (np.broadcast_to(getattr(w, side), (len(layers), len(workload.names))) for w in (workload, cut))
        changes |= (before != after)[:, rows]
    return frozenset(layers[i] for i in np.flatnonzero(changes.any(axis=1)))


def _joined(parts: Sequence[_Part]) -> list[_Part]:
    """The same with one part for those that decide together, where the first of them is."""
    groups: dict[tuple[str | None, str, str], list[_Part]] = {}
    for part in parts:
        alone = part.layers[0] if part.group is None else ""
        groups.setdefault((part.group, alone, part.switch), []).append(part)
    return [_shared(group) for group in groups.values()]


def _shared(parts: Sequence[_Part]) -> _Part:
    """One part with what all have in common."""
    first = parts[0]
    options = _common(first.switch, {part.layers[0]: part.options for part in parts})
    ways = _common(first.how, {part.layers[0]: part.ways for part in parts})
    return replace(first, layers=tuple(part.layers[0] for part in parts), options=options, ways=ways)


def _common(knob: str, options: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    """The options that all layers have, in the order of the first."""
    first, *others = options.values()
    common = tuple(option for option in first if all(option in other for other in others))
    if first and not common:
        own = ", ".join(f"{layer} has {list(values)}" for layer, values in options.items())
        raise ConfigError(f"Layers that decide together need an option of `{knob}` that all of them have, but {own}.")
    return common


def _device_knobs(axes: Mapping[str, Sequence[Any]]) -> list[Knob]:
    for parameter in axes:
        if parameter in KNOBS:
            raise ConfigError(f"A search cannot decide on the device's `{parameter}`, because every layer has a knob of that name.")
    return [Knob(DEVICE, parameter, tuple(options)) for parameter, options in axes.items()]


def _options(rule: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The options of a rule, once every option is known to make a choice, even if no layer can take it."""
    _check_names("key in a space rule", rule, (*KNOBS, *_SELECTORS, "together", "frozen"))
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
    if isinstance(value, str | Real):  # a fixed choice
        return [value]
    if not isinstance(value, Sequence):
        raise ConfigError(f"The options of `{key}` must be a list or a single one, but are {value!r}.")
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


def _parts(layer: str, wanted: _Wanted, possible: set[tuple[str, str]]) -> list[_Part]:
    """A switch and its how-knob for each pair that leaves something to decide."""
    found = []
    for how, switch in SWITCHES.items() if not wanted.frozen else ():
        ways = [way for way in wanted.options.get(how, USUAL[how]) if (how, way) in possible]
        options = wanted.options.get(switch, [])
        if ways and options and options != [DEFAULTS[switch]]:
            found.append(_Part((layer,), switch, tuple(options), how, tuple(ways), wanted.groups.get(switch)))
    return found
