"""How well guesses made early in a run foresee the trials of other runs: ``python -m benchmarks.search.forecasts --cases digits27``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from autocomp.searchers.gain import GainModel
from autocomp.searchers.knowledge import Knowledge
from autocomp.trial import Trial
from benchmarks.record import RESULTS, machine
from benchmarks.search.__main__ import CASES, keep, runs
from benchmarks.search.cases import Case
from benchmarks.search.compare import run
from benchmarks.search.searchers import SEARCHERS

RECORD = RESULTS / "search_forecasts.json"
BEGINNINGS = (4, 8, 14, 20)  # trials that are known
LENGTH = 24  # trials of a run
CHOSEN = 10  # of the trials that promise most


def known(case: Case, ended: Sequence[Trial]) -> Knowledge:
    """What these trials teach."""
    knowledge, vectors = Knowledge(case.problem), case.problem.space.encode([t.configuration for t in ended])
    for trial, vector in zip(ended, vectors, strict=True):
        knowledge.learn(trial, vector)
    return knowledge


def foreseen(case: Case, before: Sequence[Trial], others: Sequence[Trial]) -> dict[str, float]:
    """How guesses by some trials compare with what others came to, in units of the box between reference and teacher.

    Values are cut off at 1, where a network is so bad that it does not matter how bad.
    """
    knowledge = known(case, before)
    tried = {trial.configuration for trial in before}
    unseen = {trial.configuration: trial for trial in others if trial.configuration not in tried}
    real = known(case, [*unseen.values()])
    guess, place = knowledge.forecast(real.vectors), knowledge.measured[0]
    off = np.clip(guess.values[:, place], -1, 1) - np.clip(real.values[:, place], -1, 1)
    promised = knowledge.gain_model()(guess.values, guess.deviations)
    added = GainModel(knowledge.values, guessed=place)(real.values, np.zeros(len(real.values)))
    return {
        "rms": float(np.sqrt((off**2).mean())),
        "bias": float(off.mean()),
        "rank_correlation": float(spearmanr(promised, added).statistic),
        "gain_of_promising": float(added[np.argsort(-promised, kind="stable")[:CHOSEN]].mean()),
        "gain_of_all": float(added.mean()),
    }


def measure(case: Case, seeds: int) -> dict[str, float]:
    """Means over runs of annealing and rl and over their beginnings."""
    makes = (SEARCHERS["annealing"], SEARCHERS["rl"])
    courses = [run(case, make, seed=seed, trials=LENGTH).trials for make in makes for seed in range(seeds)]
    found = [
        foreseen(case, course[:count], [trial for other in courses if other is not course for trial in other])
        for course in courses
        for count in BEGINNINGS
    ]
    return {name: round(float(np.nanmean([row[name] for row in found])), 4) for name in found[0]}


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.forecasts")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["digits27"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name in options.cases:
        record = runs(RECORD)
        record["runs"][name] = measure(CASES[name](), options.seeds) | {"seeds": options.seeds}
        keep(RECORD, record | {"machine": machine()})
        print(name, record["runs"][name], flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
