"""Which reinforcement-learning searcher a name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.amc import AmcSearcher
from autocomp.searchers.arguments import check
from autocomp.searchers.base import Searcher
from autocomp.searchers.haq import HaqSearcher
from autocomp.searchers.reinforcement import ReinforcementSearcher

PRESETS: Mapping[str, type[AmcSearcher] | type[HaqSearcher]] = {"amc": AmcSearcher, "haq": HaqSearcher}


def make_reinforcement(
    problem: Problem,
    *,
    seed: int,
    trials: int,
    preset: str | None = None,
    surrogate: bool = True,
    budget: float | None = None,
    warmup: float | None = None,
    **settings: Any,
) -> Searcher:
    """A reinforcement-learning searcher.

    Args:
        problem: what is searched.
        seed: of everything random.
        trials: planned number of trials.
        preset: ``amc`` or ``haq`` for the published agents; None for the one of this project.
        surrogate: whether that one looks before it asks; the published ones never do.
        budget: of a published agent; None for its own.
        warmup: of a published agent; None for its own.
        settings: further arguments of the searcher.

    Raises:
        ConfigError: if there is no such preset, or its searcher does not take the settings.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"`searcher.preset` must be one of {', '.join(PRESETS)} or null, but is '{preset}'.")
    made = PRESETS[preset] if preset else ReinforcementSearcher
    of_preset = {name: value for name, value in (("budget", budget), ("warmup", warmup)) if value is not None}
    if of_preset and not preset:
        raise ConfigError(f"`searcher.{min(of_preset)}` is for a published agent; choose one with searcher.preset=amc or haq.")
    own = of_preset if preset else {"surrogate": surrogate}
    check(made, own | settings, problem, seed=seed, trials=trials)
    return made(problem, seed=seed, trials=trials, **own, **settings)


make_reinforcement.uses_profile = True  # type: ignore[attr-defined]
