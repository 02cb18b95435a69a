"""SearchSpace: which choices each layer may take, and the integer vectors that searchers work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.choice import CATEGORIES, DEFAULTS, KNOBS, SWITCHES, TOGETHER, Choice, Choices, Configuration, Designs, is_of_device
from autocomp.errors import ConfigError

Vectors = NDArray[np.int64]


@dataclass(frozen=True)
class Knob:
    """One decision: a layer, what is decided, and the options from mildest to strongest.

    A parameter of the device has ``hw`` in place of the layer. Its options go up where they are numbers; none is milder
    than another, because accuracy does not depend on it.

    Attributes:
        layer: whose decision it is; of layers that decide together the first.
        name: one of `KNOBS`, or a parameter of the device.
        options: what can be chosen.
        others: further layers that take the same choice.
    """

    layer: str
    name: str
    options: tuple[Any, ...]
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in KNOBS and not self.is_of_device:
            raise ConfigError(f"A knob is one of {', '.join(KNOBS)}, but layer '{self.layer}' has '{self.name}'.")
        if not self.options or len(set(self.options)) != len(self.options):
            raise ConfigError(f"A knob needs options that differ, but {self.layer}/{self.name} has {list(self.options)}.")
        if self.is_of_device:
            if all(isinstance(option, Real) for option in self.options):
                object.__setattr__(self, "options", tuple(sorted(self.options)))
        elif self.name not in CATEGORIES:
            if not all(isinstance(option, Real) for option in self.options):
                raise ConfigError(f"The options of {self.layer}/{self.name} must be numbers, but are {list(self.options)}.")
            mildest_first = sorted(self.options, reverse=self.name != "sparsity")
            object.__setattr__(self, "options", tuple(mildest_first))

    @property
    def is_of_device(self) -> bool:
        """Whether a parameter of the device is decided."""
        return is_of_device(self.layer, self.name)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that takes the choice."""
        return (self.layer, *self.others)

    def value(self, configuration: Configuration) -> Any:
        """What a configuration decides, in the first of its layers; None where it leaves a parameter of the device as it is."""
        if self.is_of_device:
            return configuration.device.get(self.name)
        return getattr(configuration.choice(self.layer), self.name)


@dataclass(frozen=True)
class SearchSpace:
    """The options of every knob of every layer, and of the device.

    A configuration is encoded as a vector of ``k`` option indices, one per knob; index 0 is the mildest option.
    Everything that the space yields it contains.

    Attributes:
        layers: every layer that can be decided on, in execution order.
        knobs: the decisions, in the order of the layers; those about the device are the last.
        frozen: layers without decisions that keep their shapes and, in training, their weights.

    Raises:
        ConfigError: if a knob names an unknown or frozen layer, stands twice, an option is out of range, or only one of two knobs that
            belong together is shared.
    """

    layers: tuple[str, ...]
    knobs: tuple[Knob, ...]
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [(layer, knob.name) for knob in self.knobs for layer in knob.layers]
        if len(set(names)) != len(names):
            raise ConfigError("Each knob stands once in a search space; two rules gave the same layer the same knob.")
        for knob in self.knobs:
            self._check_layers(knob)
        for layer in self.layers:
            strongest = dict.fromkeys(self._options[layer], -1)
            for name, options in self._options[layer].items():
                # against the strongest others, so that every way to remove something meets something to remove
                for i in range(len(options)):
                    for others in self._others(layer, name):
                        self._layer_choice(layer, strongest | others | {name: i})

    def _check_layers(self, knob: Knob) -> None:
        for layer in knob.layers if not knob.is_of_device else ():
            if layer not in self.layers:
                raise ConfigError(f"A knob belongs to a layer of the network, but '{layer}' is none.")
            if layer in self.frozen:
                raise ConfigError(f"A frozen layer has nothing to decide, but {layer} has `{knob.name}`.")
        switch = SWITCHES.get(knob.name)
        for other in self.knobs:
            if other.name == switch and {*other.layers} & {*knob.layers} and other.layers != knob.layers:
                raise ConfigError(f"`{knob.name}` and `{switch}` are shared by the same layers, but {knob.layer} shares only one of them.")

    def _others(self, layer: str, name: str) -> Iterator[dict[str, int]]:
        """What one knob of a layer is checked against: every option of the knobs that it can be at odds with."""
        names = [other for other in TOGETHER.get(name, ()) if other in self._options[layer]]
        for indices in product(*(range(len(self._options[layer][other])) for other in names)):
            yield dict(zip(names, indices, strict=True))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The knobs as ``layer/knob``, keys of `Configuration.flatten`; one that several layers share has the name of the first."""
        return tuple(f"{knob.layer}/{knob.name}" for knob in self.knobs)

    @cached_property
    def decisions(self) -> tuple[Knob, ...]:
        """The knobs with those that several layers share once for each layer."""
        return tuple(replace(knob, layer=layer, others=()) for knob in self.knobs for layer in knob.layers)

    @cached_property
    def cardinalities(self) -> Vectors:
        """Options per knob, ``k``."""
        return np.array([len(knob.options) for knob in self.knobs], np.int64)

    @cached_property
    def _options(self) -> Mapping[str, dict[str, tuple[Any, ...]]]:
        table: dict[str, dict[str, tuple[Any, ...]]] = {layer: {} for layer in self.layers}
        for knob in self.knobs:
            for layer in knob.layers if not knob.is_of_device else ():
                table[layer][knob.name] = knob.options
        return table

    @cached_property
    def of_device(self) -> tuple[int, ...]:
        """Which vector entries are parameters of the device."""
        return tuple(i for i, knob in enumerate(self.knobs) if knob.is_of_device)

    @cached_property
    def of_layers(self) -> tuple[int, ...]:
        """Which vector entries are about a layer: those that accuracy depends on."""
        return tuple(i for i, knob in enumerate(self.knobs) if not knob.is_of_device)

    @cached_property
    def _owners(self) -> Vectors:
        """Which layer each entry belongs to, a number (``k``); the parameters of the device have one of their own."""
        owners = ["" if knob.is_of_device else knob.layer for knob in self.knobs]
        return np.unique(np.array(owners, str), return_inverse=True)[1].astype(np.int64)

    def mates(self, entries: Vectors, generator: np.random.Generator) -> Vectors:
        """For each of ``b`` entries another free one of the same layer, drawn at random, ``b``; itself where there is none."""
        is_mate = (self._owners == self._owners[entries, None]) & (self.cardinalities > 1)
        is_mate[np.arange(len(entries)), entries] = False
        mate = np.where(is_mate, generator.random(is_mate.shape), -1.0).argmax(1)
        return np.where(is_mate.any(1), mate, entries)

    @cached_property
    def _columns(self) -> Mapping[str, tuple[int, ...]]:
        """Which vector entries belong to a layer."""
        return {layer: tuple(i for i in self.of_layers if layer in self.knobs[i].layers) for layer in self.layers}

    def _layer_choice(self, layer: str, indices: Mapping[str, int]) -> Choice:
        picked = {name: self._options[layer][name][i] for name, i in indices.items()}
        return Choice(**picked)

    @cached_property
    def _decoded(self) -> dict[tuple[str, tuple[int, ...]], Choice]:
        """Choices that were decoded before; a search meets the same ones again and again."""
        return {}

    def decode(self, vector: Vectors) -> Configuration:
        """The configuration of one vector (``k``)."""
        entries = vector.tolist()
        choices = {}
        for layer, columns in self._columns.items():
            indices = tuple(entries[i] for i in columns)
            choice = self._decoded.get((layer, indices))
            if choice is None:
                choice = self._layer_choice(layer, {self.knobs[c].name: i for c, i in zip(columns, indices, strict=True)})
                self._decoded[layer, indices] = choice
            choices[layer] = choice
        return Configuration(choices, {self.knobs[i].name: self.knobs[i].options[entries[i]] for i in self.of_device})

    def encode(self, configurations: Sequence[Configuration]) -> Vectors:
        """The canonical vectors of some configurations, ``b x k``.

        Raises:
            ConfigError: if a configuration is not in the space.
        """
        unknown = {layer for c in configurations for layer in c} - set(self.layers)
        if unknown:
            raise ConfigError(f"The space has no layer '{min(unknown)}'; it has {', '.join(self.layers)}.")
        vectors = np.zeros((len(configurations), len(self.knobs)), np.int64)
        for row, configuration in zip(vectors, configurations, strict=True):
            for i, knob in enumerate(self.knobs):
                row[i] = self._index(knob, configuration)
            if self.decode(row) != configuration:
                raise ConfigError(f"The configuration changes a knob that the space does not have; see `SearchSpace.names`{self._unlike}.")
        return vectors

    @property
    def _unlike(self) -> str:
        return ", or treats layers unlike that decide together" if any(knob.others for knob in self.knobs) else ""

    @staticmethod
    def _index(knob: Knob, configuration: Configuration) -> int:
        switch = SWITCHES.get(knob.name)
        if switch and getattr(configuration.choice(knob.layer), switch) == DEFAULTS[switch]:
            return 0
        value = knob.value(configuration)
        if value not in knob.options:
            raise ConfigError(f"{knob.layer}/{knob.name} must be one of {list(knob.options)}, but is {value}.")
        return knob.options.index(value)

    def contains(self, configuration: Configuration) -> bool:
        """Whether the space can yield this configuration."""
        try:
            self.encode([configuration])
        except ConfigError:
            return False
        return True

    @cached_property
    def _dependent(self) -> tuple[Vectors, Vectors]:
        """Of each knob (``k``) the switch knob of its layer and the index at which that is off; -1 where the knob always counts."""
        place = {(k.layer, k.name): i for i, k in enumerate(self.knobs)}
        switches, off = np.arange(len(self.knobs)), np.full(len(self.knobs), -1)
        for (layer, name), how in place.items():
            switch = place.get((layer, SWITCHES.get(name, "")))
            if switch is not None and DEFAULTS[SWITCHES[name]] in self.knobs[switch].options:
                switches[how], off[how] = switch, self.knobs[switch].options.index(DEFAULTS[SWITCHES[name]])
        return switches, off

    def canonical(self, vectors: Vectors) -> Vectors:
        """The same configurations with every knob that has no effect at index 0; equal networks get equal vectors."""
        switches, off = self._dependent
        return np.asarray(vectors * (vectors[..., switches] != off))

    @cached_property
    def _codes(self) -> tuple[Vectors, Vectors, NDArray[np.float64]]:
        """Of every decision about a layer: its vector entry, its place among the ``l * knobs`` codes, and the code of each option."""
        layers = {layer: i for i, layer in enumerate(self.layers)}
        columns = [i for i in self.of_layers for _ in self.knobs[i].layers]
        places = [layers[layer] * len(KNOBS) + KNOBS.index(self.knobs[i].name) for i in self.of_layers for layer in self.knobs[i].layers]
        codes = np.zeros((len(columns), int(self.cardinalities.max(initial=1))))
        for row, column in zip(codes, columns, strict=True):
            knob = self.knobs[column]
            known = CATEGORIES.get(knob.name)
            row[: len(knob.options)] = [known.index(option) if known else option for option in knob.options]
        return np.array(columns, np.int64), np.array(places, np.int64), codes

    def table(self, vectors: Vectors) -> Choices:
        """The choices of many vectors, ``b x k`` in, ``b x l`` arrays out."""
        columns, places, codes = self._codes
        table = np.tile(np.array(Choice().codes, np.float64), (len(vectors), len(self.layers)))
        table[:, places] = codes[np.arange(len(columns)), vectors[:, columns]]
        return Choices.from_codes(table.reshape(len(vectors), len(self.layers), len(KNOBS)), self.layers)

    def designs(self, vectors: Vectors) -> Designs:
        """The devices of many vectors, ``b x k`` in, ``b`` values for each parameter out."""
        chosen = {self.knobs[i].name: (self.knobs[i].options, vectors[:, i].tolist()) for i in self.of_device}
        return {parameter: [options[index] for index in indices] for parameter, (options, indices) in chosen.items()}

    def sample(self, generator: np.random.Generator, n: int) -> Vectors:
        """Vectors drawn uniformly, ``n x k``, canonical."""
        return self.canonical(generator.integers(0, self.cardinalities, (n, len(self.knobs))))

    def neighbours(self, vector: Vectors, generator: np.random.Generator, n: int) -> Vectors:
        """``n`` vectors that each differ from the given one in one random knob, ``n x k``, canonical; equal to it if no knob is free."""
        result = np.repeat(vector[None], n, axis=0)
        switches, off = self._dependent
        free = np.flatnonzero((self.cardinalities > 1) & (vector[switches] != off))
        if free.size:
            knob = generator.choice(free, n)
            step = generator.integers(1, self.cardinalities[knob])
            result[np.arange(n), knob] = (result[np.arange(n), knob] + step) % self.cardinalities[knob]
        return self.canonical(result)
