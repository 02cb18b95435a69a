"""Sensitivity: what each single choice costs alone, and what some choices cost together; measured once, before a search."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.choice import DEFAULTS, SWITCHES, Choice, Configuration
from autocomp.errors import ConfigError
from autocomp.space import SearchSpace, Vectors

Floats = NDArray[np.float64]
HOWS = {switch: how for how, switch in SWITCHES.items()}
FEWEST = 3  # mixtures that a rank correlation is worth naming for


@dataclass(frozen=True)
class Part:
    """The knobs of a layer that one method reads: how much, and how.

    Attributes:
        layer: its name; of layers that decide together the first.
        switch: the knob that says how much, such as ``sparsity``.
        columns: entries of a vector that the part takes: of the switch, and of the knob that says how, if the space has it.
        options: how many options each of these has.
        choices: what the options amount to, in the order of the options, the last column fastest; None for one that needs another
            part to be switched on, too.
        others: further layers that take the same choice.
    """

    layer: str
    switch: str
    columns: tuple[int, ...]
    options: tuple[int, ...]
    choices: tuple[Choice | None, ...]
    others: tuple[str, ...] = ()

    @property
    def configurations(self) -> tuple[Configuration | None, ...]:
        """Each choice alone in an otherwise untouched network; None where one cannot stand alone."""
        layers = (self.layer, *self.others)
        return tuple(None if choice is None else Configuration(dict.fromkeys(layers, choice)) for choice in self.choices)

    @property
    def by_layer(self) -> tuple[Part, ...]:
        """The part as it would be in each of the layers that share it."""
        return tuple(replace(self, layer=layer, others=()) for layer in self.others and (self.layer, *self.others))

    def numbers(self, vectors: Vectors) -> Vectors:
        """Which of the choices each of ``b x k`` vectors makes, ``b``."""
        return np.ravel_multi_index(tuple(vectors[:, c] for c in self.columns), self.options)


def parts(space: SearchSpace) -> tuple[Part, ...]:
    """The parts of a space (``p``), layer by layer."""
    place = {(knob.layer, knob.name): i for i, knob in enumerate(space.knobs)}
    return tuple(
        _part(space, layer, switch, [place[layer, name] for name in (switch, how) if (layer, name) in place])
        for layer, (switch, how) in product(space.layers, HOWS.items())
        if (layer, switch) in place
    )


def _part(space: SearchSpace, layer: str, switch: str, columns: Sequence[int]) -> Part:
    knobs = [space.knobs[c] for c in columns]
    values = product(*(knob.options for knob in knobs))
    choices = tuple(_alone({knob.name: value for knob, value in zip(knobs, row, strict=True)}) for row in values)
    return Part(layer, switch, tuple(columns), tuple(len(k.options) for k in knobs), choices, knobs[0].others)


def _alone(knobs: Mapping[str, Any]) -> Choice | None:
    try:
        return Choice(**knobs)
    except ConfigError:  # ternary factors need a factorization
        return None


def singles(space: SearchSpace) -> list[Configuration]:
    """Every single choice that changes something, alone, each once; one that several layers share also in each of them."""
    own = (one for part in parts(space) for one in (part, *part.by_layer))
    found = (c for part in own for c in part.configurations if c is not None and changed(c))
    return list({configuration.key: configuration for configuration in found}.values())


@dataclass(frozen=True)
class Probe:
    """One configuration, measured without training.

    Attributes:
        configuration: what was done to the network.
        loss: Kullback-Leibler divergence of its answers from the teacher's, nats per image.
        accuracy: on the labels of the same images, 0 to 1; agreement with the teacher where there are no labels.
        image_passes: compute that it took, one per image that goes forward through the whole network.
    """

    configuration: Configuration
    loss: float
    accuracy: float
    image_passes: float = 0.0


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The probes of one network.

    Attributes:
        accuracy: the teacher's, on the images of the probes.
        images: how many these are.
        image_passes: compute spent on the probes, one per image forward.
        probes: single choices, and choices of several layers together.
    """

    accuracy: float
    images: int
    image_passes: float
    probes: tuple[Probe, ...]

    @cached_property
    def _by_key(self) -> Mapping[str, Probe]:
        return {of_layers(probe.configuration).key: probe for probe in self.probes}

    def probe(self, configuration: Configuration) -> Probe | None:
        """What was measured of a configuration, on whatever device, if anything; an untouched network costs nothing."""
        if not changed(configuration):
            return Probe(configuration, 0.0, self.accuracy)
        return self._by_key.get(of_layers(configuration).key)

    def singles(self) -> tuple[Probe, ...]:
        """The probes of one choice alone."""
        return tuple(probe for probe in self.probes if len(changed(probe.configuration)) == 1)

    def mixtures(self) -> tuple[Probe, ...]:
        """The probes of several choices together."""
        return tuple(probe for probe in self.probes if len(changed(probe.configuration)) > 1)

    def expected(self, configuration: Configuration) -> float:
        """The sum of what each choice of a configuration costs alone, nats; NaN where one of them was not measured."""
        found = [None if single is None else self.probe(single) for single in separated(configuration)]
        return sum((probe.loss if probe else float("nan") for probe in found), 0.0)

    def interaction(self, *, least: int = 2, most: int | None = None) -> tuple[Floats, Floats]:
        """`expected` and measured loss of every mixture of so many choices that were all measured alone, ``n`` each."""
        sizes = range(least, (most or sys.maxsize) + 1)
        mixtures = [probe for probe in self.mixtures() if len(changed(probe.configuration)) in sizes]
        both = [(self.expected(probe.configuration), probe.loss) for probe in mixtures]
        table = np.array([pair for pair in both if not np.isnan(pair[0])]).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def rank_correlation(self, *, least: int = 3) -> float | None:
        """Spearman's, between the losses of mixtures and the sums of their singles; None where there are too few.

        Args:
            least: choices of a mixture; pairs add up nearly always.
        """
        from scipy.stats import spearmanr  # takes longer to load than everything else here

        expected, measured = self.interaction(least=least)
        if len(expected) < FEWEST or np.ptp(expected) == 0 or np.ptp(measured) == 0:
            return None
        return float(spearmanr(expected, measured).statistic)

    def losses(self, part: Part) -> Floats:
        """The loss of each choice of a part alone, NaN where it was not measured."""
        found = (None if c is None else self.probe(c) for c in part.configurations)
        return np.array([np.nan if probe is None else probe.loss for probe in found])

    def to_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        probes = [
            {"configuration": p.configuration.flatten(), "loss": p.loss, "accuracy": p.accuracy, "image_passes": p.image_passes}
            for p in self.probes
        ]
        return {"accuracy": self.accuracy, "images": self.images, "image_passes": self.image_passes, "probes": probes}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Sensitivity:
        """The inverse of `to_record`; whatever else is in the record is left aside."""
        probes = tuple(Probe(**{**p, "configuration": Configuration.unflatten(p["configuration"])}) for p in record["probes"])
        return cls(record["accuracy"], record["images"], record["image_passes"], probes)


def of_layers(configuration: Configuration) -> Configuration:
    """The same without its device, on which accuracy does not depend."""
    return Configuration(configuration) if configuration.device else configuration


def changed(configuration: Configuration) -> list[tuple[str, str]]:
    """The parts that a configuration changes, as layer and switch."""
    return [(layer, switch) for layer, choice in configuration.items() for switch in HOWS if getattr(choice, switch) != DEFAULTS[switch]]


def separated(configuration: Configuration) -> list[Configuration | None]:
    """Each choice of a configuration alone; None for one that cannot stand alone."""
    alone = [
        (layer, _alone({s: getattr(configuration[layer], s) for s in (switch, HOWS[switch])})) for layer, switch in changed(configuration)
    ]
    return [None if choice is None else Configuration({layer: choice}) for layer, choice in alone]
