"""What a sensitivity profile measures: every single choice, some pairs, and mixtures from mild to strong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autocomp.choice import Configuration
from autocomp.errors import ConfigError
from autocomp.sensitivity import changed, of_layers, singles
from autocomp.space import SearchSpace

GOLDEN = (5**0.5 - 1) / 2
_LOWEST = {"images": 2, "mixtures": 0, "pairs": 0, "seed": 0}


@dataclass(frozen=True)
class ProfilePlan:
    """How much is measured before a search.

    Attributes:
        enabled: whether anything is, for a searcher that makes use of it.
        images: to measure on, of those that trials learn from; all where there are fewer.
        mixtures: configurations of all layers together; what they cost in loss and in accuracy says how single losses add up.
        pairs: of two single choices.
        seed: of images, pairs and mixtures, and not that of the search: searches with different seeds share a profile.

    Raises:
        ConfigError: if a value is out of range.
    """

    enabled: bool = True
    images: int = 256
    mixtures: int = 32
    pairs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in _LOWEST.items():
            if not getattr(self, name) >= low:
                raise ConfigError(f"`profile.{name}` must be at least {low}, but is {getattr(self, name)}.")

    def configurations(self, space: SearchSpace) -> list[Configuration]:
        """Everything that is measured, each once: single choices layer by layer, pairs, mixtures."""
        alone = singles(space)
        planned = [*alone, *self._pairs(alone), *self._mixtures(space)]
        return list({of_layers(configuration).key: configuration for configuration in planned if changed(configuration)}.values())

    def _pairs(self, alone: Sequence[Configuration]) -> Iterator[Configuration]:
        """Two choices of different parts."""
        parts = {tuple(changed(configuration)) for configuration in alone}
        for i in range(self.pairs if len(parts) > 1 else 0):
            generator = np.random.default_rng([self.seed, 0, i])
            first = alone[int(generator.integers(len(alone)))]
            others = [configuration for configuration in alone if changed(configuration) != changed(first)]
            yield Configuration.unflatten({**first.flatten(), **others[int(generator.integers(len(others)))].flatten()})

    def _mixtures(self, space: SearchSpace) -> Iterator[Configuration]:
        """Choices for all layers at once; every other one treats layers alike.

        The overall strength s follows the golden ratio, so that any number of mixtures spreads evenly, and is squared, because a
        network without training bears little. Knobs, or kinds of knobs, lie around it, from Beta(1 + 4 s, 5 - 4 s).
        """
        kinds = {knob.name: column for column, knob in enumerate(space.knobs)}
        for i in range(self.mixtures if space.knobs else 0):
            generator = np.random.default_rng([self.seed, 1, i])
            s = ((i + 0.5) * GOLDEN % 1) ** 2
            strengths = generator.beta(1 + 4 * s, 5 - 4 * s, len(space.knobs))
            if i % 2:
                strengths = strengths[[kinds[knob.name] for knob in space.knobs]]
            yield space.decode(space.canonical(np.rint(strengths * (space.cardinalities - 1)).astype(np.int64)))
