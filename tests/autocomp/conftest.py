"""A toy problem: a small convolutional network, hardware that counts bit operations, and an accuracy in closed form; the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from autocomp.choice import Choices, Configuration
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.searchers import Searcher
from autocomp.space import Knob, SearchSpace
from autocomp.trial import Status, Trial
from hwmodels import CostReport, Workload

ROOT = Path(__file__).parents[2]
BITS = (8, 7, 6, 5, 4, 3, 2)
SPARSITIES = tuple(i / 10 for i in range(10))
RANKS = tuple(i / 10 for i in range(10, 0, -1))
KNOBS = {
    "sparsity": SPARSITIES,
    "pattern": ("fine", "filter"),
    "rank": RANKS,
    "factorization": ("svd",),
    "weight_bits": BITS,
    "activation_bits": (8,),
}


class ToyCompression:
    """Sparsity, rank and bits, each to the letter on paper; no network behind it."""

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        return workload.replace(
            weight_density=(1 - choices.sparsity) * choices.rank,
            weight_bits=choices.weight_bits,
            activation_bits=choices.activation_bits,
        )

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        return model

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        return {}


class ToyHardware:
    """A device that takes 1 ns for a MAC (half at 4 bits or less), 1 pJ for a MAC of 8 bits, and holds ``words`` weights."""

    name = "toy"

    def __init__(self, words: float) -> None:
        self.words = words

    def estimate(self, workload: Workload) -> CostReport:
        work = workload.macs * workload.weight_density
        latency = work * np.where(workload.weight_bits <= 4, 0.5, 1.0) * 1e-9
        return CostReport(
            names=workload.names,
            latency_s=latency,
            energy_parts_j={"mac": work * (workload.weight_bits / 8) ** 1.25 * 1e-12},
            cycles=latency * 1e9,
            utilization=np.ones_like(latency),
            dram_bytes=np.zeros_like(latency),
            resources={"words": np.asarray(workload.nonzeros.sum(-1), np.float64)},
            limits={"words": self.words},
        )

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        return None


def make_workload(layers: int) -> Workload:
    """Convolutions of growing width on shrinking maps."""
    width = 16 * 2 ** (np.arange(layers) * 3 // layers)
    size = 16 // 2 ** (np.arange(layers) * 3 // layers)
    return Workload(
        names=tuple(f"conv{i}" for i in range(layers)),
        in_channels=np.concatenate([[1], width[:-1]]),
        out_channels=width,
        kernel_h=np.array(3),
        kernel_w=np.array(3),
        in_h=size,
        in_w=size,
        out_h=size,
        out_w=size,
    )


def make_problem(layers: int = 6, *, words: float = 1e9, knobs: tuple[Knob, ...] | None = None, **limits: float) -> Problem:
    """Accuracy against latency and energy; ``limits`` by metric."""
    workload = make_workload(layers)
    if knobs is None:
        knobs = tuple(Knob(layer, name, options) for layer in workload.names for name, options in KNOBS.items())
    objectives = (
        Objective("accuracy", "max", limits.get("accuracy")),
        Objective("latency_s", limit=limits.get("latency_s")),
        Objective("energy_j", limit=limits.get("energy_j")),
        Objective("size_bytes", limit=limits.get("size_bytes"), optimised=False),
    )
    space = SearchSpace(workload.names, knobs)
    problem = Problem(workload, space, (ToyCompression(),), ToyHardware(words), objectives, {})
    teacher = problem.metrics_of(Configuration({}))
    energy = teacher["energy_j"] / 4**1.25  # an 8-bit teacher
    baseline = teacher | {"accuracy": 0.99, "energy_j": energy}
    return Problem(workload, space, (ToyCompression(),), ToyHardware(words), objectives, baseline, floor=0.5)


def measure(problem: Problem, trial_id: int, configuration: Configuration) -> Trial:
    """A complete trial: every layer adds damage of its own sensitivity, and accuracy falls exponentially in the sum."""
    table = Choices.of([configuration], problem.workload.names)
    sensitivity = (0.3 + 2 * np.abs(np.sin(7.0 * np.arange(len(table.layers))))) / len(table.layers)
    damage = 2 * table.sparsity**3 + (1 - table.rank) ** 3 + 0.7 * 4.0 ** (2 - table.weight_bits.astype(float))
    accuracy = 0.1 + 0.89 * np.exp(-float((sensitivity * damage[0]).sum()))
    metrics = problem.metrics_of(configuration) | {"accuracy": accuracy, "loss": -np.log(accuracy)}
    return Trial(trial_id, configuration, Status.COMPLETE, metrics)


def play(searcher: Searcher, problem: Problem, trials: range) -> list[Trial]:
    """Ask, measure and tell, one trial after the other."""
    told = []
    for i in trials:
        configuration = searcher.ask(i)
        if configuration is None:
            break
        told.append(measure(problem, i, configuration))
        searcher.tell(told[-1])
    return told


@pytest.fixture(scope="session")
def toy() -> Callable[..., Problem]:
    """Builds toy problems, see `make_problem`."""
    return make_problem


@pytest.fixture(scope="session", name="measure")
def measure_fixture() -> Callable[[Problem, int, Configuration], Trial]:
    """See `measure`."""
    return measure


@pytest.fixture(scope="session", name="play")
def play_fixture() -> Callable[[Searcher, Problem, range], list[Trial]]:
    """See `play`."""
    return play


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autocomp.cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def autocomp(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a folder, to its end."""
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=600, check=False)


def stop_after(cwd: Path, trials: int, sent: signal.Signals, *arguments: str) -> tuple[int, str, list[str]]:
    """Start a search, send its process group a signal once some trials are complete; exit code, output and journal lines."""
    journal = cwd / "run" / "journal.jsonl"
    with (cwd / "log").open("w+") as log:
        process = subprocess.Popen(
            command("search", "--out", "run", *arguments),
            cwd=cwd,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
        )
        deadline = time.monotonic() + 240
        while not (journal.exists() and journal.read_text().count("COMPLETE") >= trials):
            assert process.poll() is None, (cwd / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if sent is signal.SIGKILL:
            process.kill()  # the driver alone, as the kernel would when memory runs out
        else:
            os.killpg(process.pid, sent)  # as a terminal does
        code = process.wait(60)
    return code, (cwd / "log").read_text(), [line for line in journal.read_text().splitlines() if "COMPLETE" in line]


@pytest.fixture(scope="session", name="autocomp")
def autocomp_fixture() -> Callable[..., subprocess.CompletedProcess[str]]:
    """See `autocomp`."""
    return autocomp


@pytest.fixture(scope="session", name="stop_after")
def stop_after_fixture() -> Callable[..., tuple[int, str, list[str]]]:
    """See `stop_after`."""
    return stop_after
