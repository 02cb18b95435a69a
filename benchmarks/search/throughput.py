"""How long searchers take to ask when much is known, and whether they keep many workers busy.

Usage: ``python -m benchmarks.search.throughput [SEARCHER ...]``, by default all that are compared but `UNTIMED`.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choices, Configuration
from autocomp.compression import default_methods
from autocomp.models import build
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.searchers import Searcher
from autocomp.searchers.feasible import spread_sample
from autocomp.sensitivity import Probe, Sensitivity, singles
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from autocomp.trial import Status, Trial
from benchmarks.pricing import RULES, SHAPE
from benchmarks.record import RESULTS, record
from benchmarks.search.searchers import SEARCHERS
from hwmodels import load_device

FINISHED, ASKS = 1_000, 8
MIXTURES = 32  # in the profile
WORKERS, TRIAL_S, SIMULATED = 256, 60.0, 1_024
SLOW_S = 1.0  # for an ask; a searcher that takes longer is not simulated
UNTIMED = ("gp",)  # takes seconds for an ask with 27 knobs and a hundred trials


def large_problem() -> Problem:
    """A ResNet of 62 layers on an FPGA: prune, factorize and quantize each; with a profile, as searchers that use one have it."""
    network = normalize(build("resnet56", classes=10, input_shape=SHAPE, blocks=(10, 10, 10)), SHAPE)
    assert network is not None
    workload, methods = trace(network, SHAPE).replace(batch=1), default_methods(channel_map(network, SHAPE))
    objectives = (Objective("accuracy", "max"), Objective("latency_s"), Objective("energy_j"))
    problem = Problem(workload, build_space(RULES, workload, methods), methods, load_device("zcu102"), objectives, {})
    baseline = {"accuracy": 0.9, "loss": 0.4, **problem.metrics_of(Configuration({}))}
    problem = replace(problem, baseline=baseline)
    mixtures = spread_sample(problem.space, np.random.default_rng(1), MIXTURES)
    probed = [*singles(problem.space), *(problem.space.decode(vector) for vector in mixtures)]
    probes = tuple(Probe(c, damage(problem, c), 0.9 * (1 - damage(problem, c))) for c in probed)
    return replace(problem, sensitivity=Sensitivity(baseline["accuracy"], 256, 0.0, probes))


def damage(problem: Problem, configuration: Configuration) -> float:
    """A made-up loss, the mean of what each layer's choices do; no network has it, but searchers take as long with it."""
    table = Choices.of([configuration], problem.workload.names)
    bits = 4.0 ** (2 - table.weight_bits.astype(float)) + 4.0 ** (2 - table.activation_bits.astype(float))
    return float((table.sparsity**2 + (1 - table.rank) ** 2 + bits).mean() / 3)


def outcome(problem: Problem, number: int, configuration: Configuration) -> Trial:
    """A trial whose accuracy falls with its mean strength; what a searcher does with it takes as long as with a real one."""
    loss = damage(problem, configuration)
    metrics = {**problem.metrics_of(configuration), "accuracy": 0.9 * (1 - loss), "loss": 0.4 + loss}
    return Trial(number, configuration, Status.COMPLETE, metrics, fidelity=3.0)


def seconds_per_ask(problem: Problem, make: Callable[..., Searcher]) -> dict[str, float]:
    """Of asks, and of the tells that follow, when `FINISHED` trials are known."""
    searcher = make(problem=problem, seed=0, trials=2 * FINISHED)
    for number, vector in enumerate(spread_sample(problem.space, np.random.default_rng(0), FINISHED)):
        searcher.tell(outcome(problem, number, problem.space.decode(vector)))
    asks, tells = [], []
    for number in range(FINISHED, FINISHED + ASKS):
        begin = time.perf_counter()
        configuration = searcher.ask(number)
        asks.append(time.perf_counter() - begin)
        assert configuration is not None
        trial = outcome(problem, number, configuration)
        begin = time.perf_counter()
        searcher.tell(trial)
        tells.append(time.perf_counter() - begin)
    return {"first_ask_s": round(asks[0], 3), "ask_s": round(float(np.median(asks[1:])), 3), "tell_s": round(float(np.median(tells)), 3)}


def busy(problem: Problem, make: Callable[..., Searcher]) -> dict[str, float]:
    """Share of the time that `WORKERS` workers are busy, once all have begun, with trials of about `TRIAL_S` seconds; and asks a second.

    A simulation of the clock; what the searcher takes is measured and delays every worker that waits for it.
    """
    generator = np.random.default_rng(0)
    lengths = TRIAL_S * generator.lognormal(0, 0.3, SIMULATED)
    searcher = make(problem=problem, seed=0, trials=SIMULATED)
    ends: list[tuple[float, int, Configuration]] = []
    driver, spent, worked, idle = 0.0, 0.0, 0.0, 0.0
    for number in range(SIMULATED):
        free = 0.0
        if len(ends) == WORKERS:
            free, ended, configuration = heapq.heappop(ends)
            trial = outcome(problem, ended, configuration)
            driver = max(driver, free)
            begin = time.perf_counter()
            searcher.tell(trial)
        else:
            begin = time.perf_counter()
        asked = searcher.ask(number)
        took = time.perf_counter() - begin
        driver, spent = driver + took, spent + took
        assert asked is not None
        if number >= WORKERS:
            idle, worked = idle + driver - free, worked + float(lengths[number])
        heapq.heappush(ends, (driver + float(lengths[number]), number, asked))
    return {"busy_share": round(worked / (worked + idle), 3), "asks_and_tells_per_s": round(SIMULATED / spent, 1)}


def main() -> None:
    """Time every searcher, or those that are named; what is on record of the others stays."""
    torch.set_num_threads(1)
    problem = large_problem()
    kept = RESULTS / "search_throughput.json"
    figures: dict[str, object] = json.loads(kept.read_text(encoding="utf-8"))["figures"] if kept.exists() else {}
    figures |= {"layers": len(problem.space.layers), "knobs": len(problem.space.knobs), "finished": FINISHED}
    for name in sys.argv[1:] or [name for name in SEARCHERS if name not in UNTIMED]:
        taken = seconds_per_ask(problem, SEARCHERS[name])
        figures[name] = taken | (busy(problem, SEARCHERS[name]) if taken["ask_s"] < SLOW_S else {})
        print(name, figures[name], flush=True)  # noqa: T201
    record("search_throughput", figures | {"workers": WORKERS, "trial_s": TRIAL_S})


if __name__ == "__main__":
    main()
