"""How long `Problem.price` takes for 1 000 configurations of ResNet-20, on each family's default device."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from autocomp.channels import channel_map, normalize
from autocomp.compression import default_methods
from autocomp.models import build
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from benchmarks.record import record
from hwmodels import load_device

SHAPE = (3, 32, 32)
CONFIGURATIONS, REPEATS = 1_000, 20
RULES = [
    {
        "sparsity": [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75],
        "pattern": ["filter", "fine"],
        "rank": [1.0, 0.5, 0.25],
        "weight_bits": [3, 4, 5, 6, 8],
        "activation_bits": [4, 6, 8],
    }
]


def seconds(work: Callable[[], object]) -> dict[str, float]:
    """The fastest and the median of some runs, in ms."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - start))
    return {"best_ms": round(min(taken), 2), "median_ms": round(float(np.median(taken)), 2)}


def main() -> None:
    """Price the same configurations on every device."""
    network = normalize(build("resnet20", classes=10, input_shape=SHAPE), SHAPE)
    assert network is not None
    workload = trace(network, SHAPE)
    methods = default_methods(channel_map(network, SHAPE))
    space = build_space(RULES, workload, methods)
    vectors = space.sample(np.random.default_rng(0), CONFIGURATIONS)
    configurations = [space.decode(vector) for vector in vectors]
    figures: dict[str, object] = {"configurations": CONFIGURATIONS, "layers": len(workload.names), "knobs": len(space.knobs)}
    for device in ("zcu102", "cambricon_x", "isaac"):
        problem = Problem(workload, space, methods, load_device(device), (Objective("latency_s"),), {})
        figures[device] = {
            "price": seconds(lambda problem=problem: problem.price(configurations)),  # type: ignore[misc]
            "paper_metrics": seconds(lambda problem=problem: problem.paper_metrics(vectors)),  # type: ignore[misc]
        }
    record("pricing", figures)


if __name__ == "__main__":
    main()
