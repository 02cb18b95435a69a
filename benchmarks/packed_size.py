"""How far the size that a search expects is from the packed file, on random configurations.

Usage: ``python -m benchmarks.packed_size CASE...``, cases of `benchmarks.search`; digits need no data.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.record import record
from benchmarks.search.__main__ import CASES
from benchmarks.search.cases import Case

CONFIGURATIONS = 16


def compared(case: Case) -> dict[str, Any]:
    """Expected over real bytes, after an epoch of fine-tuning."""
    evaluator = case.evaluator
    problem, ratios = evaluator.problem, []
    for vector in problem.space.sample(np.random.default_rng(0), CONFIGURATIONS):
        configuration = problem.space.decode(vector)
        *_, (_, last) = evaluator.run(configuration, seed=0, epochs=1)
        ratios.append(problem.metrics_of(configuration)["size_bytes"] / last.metrics["size_bytes"])
    found = np.array(ratios)
    figures = {"mean": found.mean(), "least": found.min(), "most": found.max()}
    return {"configurations": len(ratios), **{name: round(float(value), 3) for name, value in figures.items()}}


def main(names: list[str]) -> None:
    """Compare on some cases."""
    record("packed_size", {name: compared(CASES[name]()) for name in names or ["digits-fpga"]})


if __name__ == "__main__":
    main(sys.argv[1:])
