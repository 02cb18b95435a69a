"""What a trial costs beside its own work: Ray Tune, journal, searcher and MLflow, per trial, on one worker."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autocomp import searchers
from autocomp.pareto import ParetoFront
from autocomp.progress import Progress
from autocomp.search import search
from autocomp.tasks import DigitsTask
from autocomp.trial import Trial
from benchmarks.record import record
from hwmodels import load_device

TRIALS, WARM_UP = 60, 10


class Stopwatch(Progress):
    """Notes when each trial ended and how long its own work took."""

    def __init__(self) -> None:
        self.ended: list[float] = []
        self.worked: list[float] = []

    def finished(self, trial: Trial, front: ParetoFront) -> None:
        """Note one."""
        self.ended.append(time.perf_counter())
        self.worked.append(trial.duration_s)

    def overhead_ms(self) -> float:
        """Mean time between two ends that was not work, after the first trials."""
        between = self.ended[-1] - self.ended[WARM_UP - 1]
        return 1e3 * (between - sum(self.worked[WARM_UP:])) / (len(self.ended) - WARM_UP)


def settings(folder: Path, *, tracked: bool) -> dict[str, Any]:
    """A run whose trials only calibrate and measure."""
    return {
        "name": "overhead",
        "seed": 0,
        "trials": TRIALS,
        "workers": 1,
        "space": {"rules": [{"sparsity": [0.0, 0.25, 0.5], "weight_bits": [4, 8], "activation_bits": [4, 8]}]},
        "objectives": {"accuracy": {"direction": "max"}, "latency_s": {}, "energy_j": {}},
        "finetune": {"epochs": 0, "polish_epochs": 0},
        "tracking": {"enabled": tracked, "uri": f"sqlite:///{folder}/mlflow.db"},
        "cluster": {"address": None, "cpus_per_trial": 1},
        "early_stopping": {"enabled": False, "eta": 3, "rungs": None},
        "best": {"max_drop": 0.01, "costs": None},
    }


def measure(searcher: str, *, tracked: bool) -> float:
    """Overhead of one run in ms per trial."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        search(
            settings(folder, tracked=tracked),
            task=DigitsTask(),
            hardware=load_device("zcu102"),
            searcher=partial(getattr(searchers, searcher)),
            out=folder / "run",
            progress=watch,
        )
    return round(watch.overhead_ms(), 1)


def main(names: Sequence[str] = ("RandomSearcher", "AnnealingSearcher", "ReinforcementSearcher")) -> None:
    """Every searcher without MLflow, and one with it."""
    figures: dict[str, Any] = {"trials": TRIALS - WARM_UP, "unit": "ms per trial"}
    figures |= {name: measure(name, tracked=False) for name in names}
    figures["RandomSearcher with MLflow"] = measure("RandomSearcher", tracked=True)
    record("overhead", figures)


if __name__ == "__main__":
    main()
