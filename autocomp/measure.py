"""Measure: bytes, parameters, multiply-accumulates and milliseconds of an exported network, beside its teacher's."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.errors import UsageError
from autocomp.export import PROGRAM, bake, load_program, read_record, trace_program
from autocomp.export.quantizers import arguments, constant_of, operation
from autocomp.export.reading import LAYERS, read_program
from autocomp.exporting import model_folder, require_onnx
from autocomp.models import MODELS, build

RUNS, LEAST_RUNS, WARM_UP = 200, 5, 3
SECONDS = 2.0
"""For one engine with one number of threads, both networks together; at least `LEAST_RUNS` runs of each."""

Run = Callable[[], object]


@dataclass(frozen=True)
class Side:
    """A network that is ready to be timed: its program and its ONNX file."""

    program: torch.export.ExportedProgram
    onnx: Path


def measure_folder(folder: Path, *, threads: Sequence[int] = (), batch: int = 1, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure the network of a folder and, in turns with it, the network that it was compressed from.

    Args:
        folder: of a pulled model or a run.
        threads: numbers of threads to time with; one and all processors if none is given.
        batch: images per pass.
        seconds: for one engine with one number of threads, both networks together.

    Returns:
        JSON data; docs/export.md lists the keys.

    Raises:
        UsageError: if the folder holds no model, ONNX is not installed, or threads or batch are no positive numbers.
    """
    counts = list(dict.fromkeys(threads)) or sorted({1, os.cpu_count() or 1})
    if batch < 1 or min(counts) < 1:
        raise UsageError(f"Threads and images per pass must be at least 1, but are {', '.join(map(str, counts))} and {batch}.")
    require_onnx()
    folder = model_folder(folder)
    record, program = read_record(folder), load_program(folder)
    teacher = _teacher(record, program)
    images = np.random.default_rng(0).standard_normal((batch, *record["input_shape"])).astype(np.float32)
    programs = {"network": program} | ({} if teacher is None else {"teacher": teacher})
    with tempfile.TemporaryDirectory(prefix="autocomp-") as scratch:
        sides = {name: _prepared(p, Path(scratch) / name) for name, p in programs.items()}
        found: dict[str, Any] = {name: _size(side, Path(scratch) / name) for name, side in sides.items()}
        for engine, prepare in (("onnxruntime", _in_onnx_runtime), ("torch", _in_torch)):
            rows = [timed({name: prepare(side, images, n) for name, side in sides.items()}, n, seconds) for n in counts]
            for name in sides:
                found[name][engine] = [row[name] for row in rows]
    found.setdefault("teacher", None)
    return {"batch": batch, "threads": counts, **found, "ratio": None if teacher is None else _ratios(found)}


def _teacher(record: Mapping[str, Any], program: torch.export.ExportedProgram) -> torch.export.ExportedProgram | None:
    """The network before compression with weights of its own: neither its size nor its time depends on their values."""
    data, shape = record.get("data") or {}, tuple(record["input_shape"])
    if data.get("model") not in MODELS:
        return None
    with torch.inference_mode():
        classes = program.module()(torch.zeros(2, *shape)).shape[-1]
    with torch.random.fork_rng(devices=[]):
        network = build(data["model"], classes=classes, input_shape=shape, **(data.get("model_options") or {}))
    return trace_program(bake(network), shape)


def _prepared(program: torch.export.ExportedProgram, folder: Path) -> Side:
    from autocomp.export.integer import write_integer

    folder.mkdir()
    model, _ = write_integer(read_program(program))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    torch.export.save(program, folder / PROGRAM)
    return Side(program, folder / "model.onnx")


def _size(side: Side, folder: Path) -> dict[str, Any]:
    weights = [value for name, value in side.program.named_parameters() if not name.endswith(".log_step")]
    return {
        "bytes": {"onnx": side.onnx.stat().st_size, "pt2": (folder / PROGRAM).stat().st_size},
        "parameters": sum(w.numel() for w in weights),
        "nonzero": sum(int(torch.count_nonzero(w)) for w in weights),
        "macs": count_macs(side.program),
    }


def count_macs(program: torch.export.ExportedProgram) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one image."""
    network, total = read_program(program), 0
    for node in network.graph.nodes:
        if operation(node) in LAYERS:
            weight = constant_of(network, arguments(node)["weight"])
            sizes = [size for size in node.meta["val"].shape[1:]]
            per_result = 0 if weight is None else weight[0].numel()
            total += int(np.prod(sizes)) * per_result
    return total


def _in_onnx_runtime(side: Side, images: NDArray[np.float32], threads: int) -> Run:
    from autocomp.export.running import open_onnx

    session = open_onnx(side.onnx, threads=threads)
    given = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, given)


def _in_torch(side: Side, images: NDArray[np.float32], threads: int) -> Run:
    network: nn.Module = side.program.module()
    given = torch.from_numpy(images)

    def run() -> Tensor:
        with torch.inference_mode():
            scores: Tensor = network(given)
        return scores

    return run


def timed(runs: Mapping[str, Run], threads: int, seconds: float) -> dict[str, dict[str, float]]:
    """Time some runs in turns, so that whatever else the machine does falls on all of them alike.

    Returns:
        For each, ``threads``, ``median_ms``, ``iqr_ms`` (from the first to the third quartile) and ``runs``.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    times: dict[str, list[float]] = {name: [] for name in runs}
    try:
        for run in list(runs.values()) * WARM_UP:
            run()
        end = time.perf_counter() + seconds
        for number in range(RUNS):
            if number >= LEAST_RUNS and time.perf_counter() > end:
                break
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
    return {name: _statistics(values, threads) for name, values in times.items()}


def _statistics(times: Sequence[float], threads: int) -> dict[str, float]:
    first, median, third = np.percentile(times, [25, 50, 75])
    return {"threads": threads, "median_ms": float(median), "iqr_ms": float(third - first), "runs": len(times)}


def _ratios(found: Mapping[str, Any]) -> dict[str, Any]:
    """The teacher's figures by the network's: how many times smaller and faster it is."""
    network, teacher = found["network"], found["teacher"]
    plain = {key: teacher[key] / network[key] for key in ("parameters", "macs")}
    sizes = {"bytes": {kind: teacher["bytes"][kind] / size for kind, size in network["bytes"].items()}}
    engines = {
        engine: [t["median_ms"] / n["median_ms"] for t, n in zip(teacher[engine], network[engine], strict=True)]
        for engine in ("onnxruntime", "torch")
    }
    return {**plain, **sizes, **engines}
