"""What fronts are worth on devices that nobody searched on: ``python -m benchmarks.search.fresh --case cifar10-rram``.

Where a device disturbs the numbers, a search keeps the trials that were lucky with theirs, and a longer one is lucky more often.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from autocomp.compression.devices import on_device
from autocomp.pareto import ParetoFront
from autocomp.tasks.images import evaluate
from autocomp.trial import Trial
from benchmarks.record import RESULTS, machine
from benchmarks.search.__main__ import CASES, keep, runs
from benchmarks.search.cases import Case
from benchmarks.search.compare import run
from benchmarks.search.searchers import SEARCHERS

RECORD = RESULTS / "search_fresh.json"
FIRST = 100  # number of the first device; trials have the first few
DEVICES = 16


def remeasured(case: Case, trial: Trial) -> Trial:
    """A trial's network, trained again to the same weights, with its mean accuracy on other devices and the same images."""
    evaluator = case.evaluator
    device = evaluator.nonidealities(trial.configuration)
    if device is None:
        return trial
    *_, (student, _) = evaluator.run(trial.configuration, seed=0, only_last=True)
    settings = {"fit_adc": evaluator.finetune.fit_adc, "remap": evaluator.finetune.remap}
    built = (on_device(student, device, draw=draw, **settings) for draw in range(FIRST, FIRST + DEVICES))
    found = [evaluate(network, evaluator.validation, mean=evaluator.mean, std=evaluator.std)[0] for network in built]
    return replace(trial, metrics={**trial.metrics, "accuracy": float(np.mean(found))})


def measure(case: Case, searcher: str, *, seed: int, trials: int) -> dict[str, float]:
    """Hypervolume of a run's front as its trials were measured, and as its members are on other devices."""
    objectives = case.evaluator.problem.objectives
    claimed = ParetoFront(objectives, run(case, SEARCHERS[searcher], seed=seed, trials=trials).trials)
    members = [remeasured(case, trial) for trial in claimed.trials]
    lost = [trial.metrics["accuracy"] - again.metrics["accuracy"] for trial, again in zip(claimed.trials, members, strict=True)]
    return {
        "trials": trials,
        "members": len(members),
        "claimed": round(case.hypervolume(claimed), 4),
        "fresh": round(case.hypervolume(ParetoFront(objectives, members)), 4),
        "accuracy_lost": round(float(np.mean(lost)), 4),
    }


def main() -> None:
    """Measure what is missing and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.fresh")
    parser.add_argument("--case", choices=list(CASES), default="cifar10-rram")
    parser.add_argument("--searchers", nargs="+", choices=list(SEARCHERS), default=["annealing", "rl"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=8)
    options = parser.parse_args()
    case = CASES[options.case]()
    for searcher in options.searchers:
        for seed in range(options.seeds):
            name = f"{options.case} {searcher} {seed} {options.trials}"
            if name in runs(RECORD)["runs"]:
                continue
            found = measure(case, searcher, seed=seed, trials=options.trials)
            record = runs(RECORD)
            record["runs"][name] = found
            keep(RECORD, record | {"devices": DEVICES, "machine": machine()})
            print(name, found, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
