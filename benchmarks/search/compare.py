"""Ask, measure, tell: what a searcher finds on a case, trial by trial."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from autocomp.cli.building import SearcherRecipe
from autocomp.pareto import ParetoFront
from autocomp.searchers import Searcher
from autocomp.trial import Status, Trial
from benchmarks.search.cases import Case

CHECKPOINTS = (1, 2, 3, 5, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 120, 160)


@dataclass(frozen=True)
class Course:
    """What became of a run.

    Attributes:
        hypervolume: after each trial.
        passes: images that went through a network up to then, the profile's among them if the searcher uses one.
        ask_s: seconds of each ask and tell together.
        errors: of the surrogate on each trial before it was measured, in units of its deviation, and in accuracy; none without one.
        trials: as they ended.
    """

    hypervolume: tuple[float, ...]
    passes: tuple[float, ...]
    ask_s: tuple[float, ...]
    errors: tuple[tuple[float, float], ...]
    trials: tuple[Trial, ...]

    def to_record(self) -> dict[str, Any]:
        """Figures at checkpoints, plain JSON data."""
        at = [n for n in CHECKPOINTS if n <= len(self.hypervolume)]
        record: dict[str, Any] = {
            "trials": at,
            "hypervolume": [round(self.hypervolume[n - 1], 4) for n in at],
            "image_passes": [round(self.passes[n - 1]) for n in at],
            "seconds_per_trial": round(float(np.mean(self.ask_s)), 4),
        }
        if self.errors:
            off, missed = np.array(self.errors).T
            record["surrogate"] = {
                "rms_in_deviations": round(float(np.sqrt((off**2).mean())), 2),
                "rms": round(float(np.sqrt((missed**2).mean())), 4),
            }
        return record


def run(case: Case, make: Callable[..., Searcher], *, seed: int, trials: int, concurrent: int = 1) -> Course:
    """Let a searcher work on a case.

    Args:
        case: what is searched.
        make: the searcher from ``problem``, ``seed`` and ``trials``.
        seed: of the searcher.
        trials: how many.
        concurrent: trials that are under way at the same time; the oldest ends first.
    """
    problem = case.problem
    searcher = make(problem=problem, seed=seed, trials=trials)
    passes = case.profile_passes if uses_profile(make) else 0.0
    front = ParetoFront(problem.objectives)
    volumes: list[float] = []
    spent: list[float] = []
    seconds: list[float] = []
    running: deque[Trial] = deque()
    told: list[Trial] = []
    for number in range(trials):
        begin = time.perf_counter()
        configuration = searcher.ask(number)
        asked = time.perf_counter() - begin
        if configuration is not None:
            running.append(Trial(number, configuration))
            seconds.append(asked)
        while running and (len(running) >= concurrent or number == trials - 1 or configuration is None):
            trial = running.popleft()
            metrics, cost, fidelity = case.measure(trial.configuration)
            passes += cost
            ended = Trial(trial.id, trial.configuration, Status.COMPLETE, metrics, fidelity)
            begin = time.perf_counter()
            searcher.tell(ended)
            seconds[len(volumes)] += time.perf_counter() - begin  # the oldest ends first
            told.append(ended)
            front.add(ended)
            volumes.append(case.hypervolume(front))
            spent.append(passes)
        if configuration is None:
            break
    return Course(tuple(volumes), tuple(spent), tuple(seconds), _errors(searcher), tuple(told))


def uses_profile(make: Callable[..., Searcher]) -> bool:
    """Whether a search with it would measure a profile first, by the product's own rule."""
    return SearcherRecipe(partial(make)).uses_profile


def _errors(searcher: Any) -> tuple[tuple[float, float], ...]:
    """How far the guesses of a guided searcher were off."""
    known = getattr(searcher, "known", None)
    if known is None or not known.surrogates:
        return ()
    guesses, values = known.guesses[:, 0], known.readings[:, 0]
    off = values - guesses[:, 0]
    return tuple(zip((off / guesses[:, 1]).tolist(), off.tolist(), strict=True))
