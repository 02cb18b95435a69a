"""How fast hwmodels prices many compressed variants of a network, how much memory that takes, and what its import costs.

Every device is timed on one core in a process of its own, on 10^4 variants of 50 layers; the memory of one device per family is
measured at 10^4 and at 10^5 variants.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from hwmodels import CostReport, Op, Pattern, Workload, device_names, load_device
from hwmodels.networks import load_network, select

CANDIDATES, MANY = 10_000, 100_000
REPEATS = 3
PARTS = {"mobilenet_v1": 27, "resnet50": 23}  # layers of each: depthwise, pointwise, 3x3 and 7x7 convolutions, 50 in all
ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
IMPORTS = {
    "numpy": "import numpy",
    "hwmodels": "import hwmodels",
    "hwmodels_and_a_device": "import hwmodels; hwmodels.load_device('zcu102')",
}


def fifty_layers(*, linear: bool) -> Workload:
    """The layers that are varied; as matrix-vector products where a device runs nothing else."""
    parts = [select(load_network(name), load_network(name).names[:count]) for name, count in PARTS.items()]
    names = tuple(f"{name}/{layer}" for name, part in zip(PARTS, parts, strict=True) for layer in part.names)
    fields = {
        field: np.concatenate([np.broadcast_to(getattr(part, field), part.shape) for part in parts])
        for field, array in parts[0].arrays().items()
        if array.ndim
    }
    if linear:
        fields = {field: fields[field] for field in ("in_channels", "out_channels")} | {"op": np.array(Op.LINEAR)}
    return Workload(names=names, **fields)


def variants(candidates: int, *, linear: bool = False) -> Workload:
    """Channels, widths, densities and patterns drawn for each layer of each candidate."""
    rng, layers = np.random.default_rng(0), fifty_layers(linear=linear)
    shape = (candidates, len(layers.names))
    depthwise = layers.groups > 1
    inputs, outputs = (
        np.maximum(np.rint(channels * kept(rng, shape)), 1).astype(np.int64) for channels in (layers.in_channels, layers.out_channels)
    )
    np.copyto(outputs, inputs, where=depthwise)
    pattern = rng.integers(0, len(Pattern), shape)
    return layers.replace(
        in_channels=inputs,
        out_channels=outputs,
        groups=np.where(depthwise, inputs, 1),
        weight_bits=rng.integers(2, 9, shape),
        activation_bits=rng.integers(4, 9, shape),
        weight_density=np.where(pattern == Pattern.DENSE, 1.0, rng.uniform(0.1, 1.0, shape)),
        activation_density=rng.uniform(0.3, 1.0, shape),
        pattern=pattern,
        index_bits=np.where(pattern == Pattern.FINE, 4, 0),
    )


def kept(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Shares of channels that pruning leaves, in eighths."""
    return rng.integers(2, 9, shape) / 8


def supported(device: str, candidates: int) -> tuple[Workload, partial[CostReport]]:
    """Variants that a device can run, and the question to ask."""
    model = load_device(device)
    workload = variants(candidates, linear=Op.CONV not in getattr(model, "supports", frozenset(Op)))
    return workload, partial(model.estimate, workload)


def speed(device: str, candidates: int) -> dict[str, float]:
    """Seconds for all variants, the best of some runs, and layers per second."""
    workload, estimate = supported(device, candidates)
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        estimate()
        taken.append(time.perf_counter() - start)
    return {"seconds": round(min(taken), 3), "layer_candidates_per_s": round(np.prod(workload.shape) / min(taken), -3)}


def memory(device: str, candidates: int) -> dict[str, float]:
    """Largest resident size of this process in MB, once the variants are there and once they are priced."""
    _, estimate = supported(device, candidates)
    with_workload = resident_mb()
    estimate()
    return {"workload_mb": with_workload, "peak_mb": resident_mb()}


def resident_mb() -> float:
    """Largest so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def in_own_process(question: str, device: str, candidates: int) -> dict[str, Any]:
    """What a run of this module on one core prints; the last line of what went wrong where it fails."""
    command = [sys.executable, "-m", "benchmarks.hwmodels_speed", question, device, str(candidates)]
    done = subprocess.run(command, env=os.environ | ONE_CORE, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout) if not done.returncode else {"failed": done.stderr.strip().splitlines()[-1]}
    return found


def import_seconds() -> dict[str, Any]:
    """The best of some fresh processes for each import, and whether torch came along."""
    figures: dict[str, Any] = {}
    for name, statement in IMPORTS.items():
        code = f"import sys, time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t, 'torch' in sys.modules)"
        runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() for _ in range(11)]
        figures[name] = round(min(float(seconds) for seconds, _ in runs), 4)
        figures["torch"] = figures.get("torch", False) or any(torch == "True" for _, torch in runs)
    return figures


def main() -> None:
    """Every device, one per family for its memory, and the imports."""
    families = device_names()
    one_each = {family: device for device, family in reversed(families.items())}
    figures = {
        "candidates": CANDIDATES,
        "layers": sum(PARTS.values()),
        "import_s": import_seconds(),
        "speed": {device: {"family": family, **in_own_process("speed", device, CANDIDATES)} for device, family in families.items()},
        "memory": {
            family: {"device": device} | {str(count): in_own_process("memory", device, count) for count in (CANDIDATES, MANY)}
            for family, device in one_each.items()
        },
    }
    from benchmarks.record import record  # only now: torch in this process would count in the memory of its children

    record("hwmodels_speed", figures)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        question, device, candidates = sys.argv[1:]
        print(json.dumps({"speed": speed, "memory": memory}[question](device, int(candidates))))  # noqa: T201 answers the process that asked
    else:
        main()
