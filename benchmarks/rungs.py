"""Early stopping: what a search finds for the same image passes with and without it, and how many passes it needs for the same.

The digits network on the default FPGA; trials as the product runs them, one after the other, without polish. The budget of a run is
what `TRIALS` trials cost that are never stopped; a profile costs the same with and without and is left out. Learning curves are kept
in the user's cache, because a configuration is always trained with the same seed.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from autocomp import cache, searchers
from autocomp.choice import Configuration
from autocomp.evaluate import Measurement
from autocomp.pareto import ParetoFront
from autocomp.rungs import Rungs
from autocomp.searchers import Searcher
from autocomp.trial import Status, Trial
from benchmarks.record import record
from benchmarks.search.cases import Case, posed

TRIALS, SEEDS = 32, (0, 1, 2)
WITHIN = (1 / 9, 1 / 3)  # parts of an epoch that are measured
RULES = {
    "eta 2 at 0, 1": (2, (0.0, 1.0)),
    "eta 3 at 0": (3, (0.0,)),
    "eta 2 at 1": (2, (1.0,)),
    "eta 3 at 1/9, 1/3, 1": (3, (*WITHIN, 1.0)),
}
SEARCHERS = ("RandomSearcher", "AnnealingSearcher")


class Curves:
    """Learning curves of configurations."""

    def __init__(self, case: Case) -> None:
        self.case = case
        for _ in case.evaluator.run(Configuration({}), seed=0):  # the teacher answers once
            pass
        self.path = cache.directory() / "curves" / f"{case._key}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.known = {row["key"]: [Measurement(**m) for m in row["curve"]] for row in map(json.loads, lines)}

    def of(self, configuration: Configuration) -> Iterator[Measurement]:
        """One measurement after the other, computed where it is not known."""
        key = configuration.key
        if key in self.known:
            yield from self.known[key]
            return
        curve = []
        for _, measured in self.case.evaluator.run(configuration, seed=0, levels=WITHIN):
            curve.append(measured)
            yield measured
        self.known[key] = curve
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "curve": [vars(m) | {"metrics": dict(m.metrics)} for m in curve]}) + "\n")

    def passes(self, measured: Measurement, levels: Sequence[float]) -> float:
        """What it cost without the parts of an epoch that a rule does not look at."""
        spared = sum(level <= measured.fidelity and level not in levels for level in WITHIN)
        return measured.image_passes - spared * len(self.case.evaluator.validation)


def run(curves: Curves, searcher: Searcher, rungs: Rungs | None, stop: Callable[[int, float], bool]) -> list[tuple[float, float, float]]:
    """Passes, hypervolume and fidelity after each trial, until ``stop`` of the number of trials and the passes."""
    problem, levels = curves.case.problem, rungs.levels if rungs else ()
    front, spent, course = ParetoFront(problem.objectives), 0.0, list[tuple[float, float, float]]()
    for number in itertools.count():
        configuration = None if stop(number, spent) else searcher.ask(number)
        if configuration is None:
            return course
        for measured in curves.of(configuration):
            looks = rungs is not None and not measured.is_last and (measured.fidelity not in WITHIN or measured.fidelity in levels)
            if looks and rungs and not rungs.report(number, measured.fidelity, measured.metrics):
                break
        spent += curves.passes(measured, levels)
        status = Status.COMPLETE if measured.is_last else Status.PRUNED
        trial = Trial(number, configuration, status, measured.metrics, measured.fidelity)
        searcher.tell(trial)
        front.add(trial)
        course.append((spent, curves.case.hypervolume(front), measured.fidelity))
    return course


def compare(curves: Curves, name: str, seed: int) -> dict[str, Any]:
    """Every rule on one searcher and seed."""
    problem = curves.case.problem
    make = getattr(searchers, name)
    whole = run(curves, make(problem, seed=seed, trials=TRIALS), None, lambda number, spent: number >= TRIALS)
    budget, goal, _ = whole[-1]
    courses = {"none": whole}
    for rule, (eta, levels) in RULES.items():
        rungs = Rungs(problem.objectives, eta, levels)
        courses[rule] = run(curves, make(problem, seed=seed, trials=TRIALS), rungs, lambda number, spent: spent >= budget)
        print(name, seed, rule, figures(curves, courses[rule], budget, goal), flush=True)  # noqa: T201 it takes long
    return {rule: figures(curves, course, budget, goal) for rule, course in courses.items()}


def figures(curves: Curves, course: Sequence[tuple[float, float, float]], budget: float, goal: float) -> dict[str, float]:
    """What became of a run; a run that never reaches the goal counts with twice the budget."""
    return {
        "trials": len(course),
        "complete": sum(fidelity == curves.case.evaluator.finetune.epochs for _, _, fidelity in course),
        "hypervolume": round(max(volume for spent, volume, _ in course if spent <= budget), 4),
        "passes_to_same": round(next((spent / budget for spent, volume, _ in course if volume >= goal), 2.0), 3),
    }


def mean(by_seed: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure, over the seeds."""
    return {key: round(float(np.mean([found[key] for found in by_seed])), 4) for key in by_seed[0]}


def main(names: Sequence[str] = SEARCHERS) -> None:
    """All searchers, rules and seeds."""
    curves = Curves(posed("digits", ())())
    runs = {name: {seed: compare(curves, name, seed) for seed in SEEDS} for name in names}
    means = {name: {rule: mean([r[rule] for r in by_seed.values()]) for rule in ("none", *RULES)} for name, by_seed in runs.items()}
    record("rungs", {"trials": TRIALS, "seeds": list(SEEDS), "means": means, "runs": runs})


if __name__ == "__main__":
    main(sys.argv[1:] or SEARCHERS)
