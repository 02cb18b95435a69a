"""To which power losses add up: ``python -m benchmarks.search.powers --cases digits27``; how badly the curve of the surrogate fits."""

from __future__ import annotations

import argparse

import numpy as np

from autocomp.searchers.knowledge import Knowledge
from autocomp.searchers.surrogate import POWERS, Observations, misfit
from benchmarks.record import RESULTS, machine
from benchmarks.search.__main__ import CASES, keep, runs
from benchmarks.search.cases import Case
from benchmarks.search.compare import run
from benchmarks.search.searchers import SEARCHERS

RECORD = RESULTS / "search_powers.json"
TRIALS = 64  # of the uniform sweep


def measure(case: Case) -> dict[str, dict[str, float]]:
    """Misfits at each power: of the profile's mixtures, which a search chooses by, of trials of the sweep, and of both with one curve."""
    knowledge = Knowledge(case.problem)
    surrogate = knowledge.surrogates[0]
    trials = run(case, SEARCHERS["uniform"], seed=0, trials=TRIALS).trials
    vectors = case.problem.space.encode([trial.configuration for trial in trials])
    fall = surrogate.fall(np.array([trial.metrics[surrogate.metric] for trial in trials]))
    tried = Observations(knowledge.composition.features(vectors), np.ones(len(fall)), fall)
    sets = {"mixtures": surrogate.probes, "trials": tried, "mixtures and trials": surrogate.probes + tried}
    return {name: {f"{power}": round(misfit(observed, power), 1) for power in POWERS} for name, observed in sets.items()}


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.powers")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["digits27"])
    for name in parser.parse_args().cases:
        record = runs(RECORD)
        record["runs"][name] = measure(CASES[name]())
        keep(RECORD, record | {"machine": machine()})
        print(name, record["runs"][name], flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
