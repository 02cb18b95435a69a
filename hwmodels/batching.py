"""in_chunks: price many candidates a few at a time, so that temporaries stay in the cache and memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import wraps
from math import prod
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwmodels.cost import CostReport
from hwmodels.errors import DeviceError
from hwmodels.workload import Workload

Model = TypeVar("Model")
Arrays = dict[str, NDArray[Any]]

CHUNK: Final = 16_384  # layers priced at once: 128 KiB in each temporary


def in_chunks(estimate: Callable[[Model, Workload], CostReport]) -> Callable[[Model, Workload], CostReport]:
    """Decorate the ``estimate`` of a model (a dataclass) that is written for ``l`` and ``c x l`` workloads.

    The model sees at most `CHUNK` layers at once. Where device parameters are arrays, one value per candidate (``b x 1``), it sees
    the workload's layers repeated for each of them, and of the arrays the values that belong to the chunk.

    Raises:
        DeviceError: if workload and parameters have different numbers of candidates.
    """

    @wraps(estimate)
    def batched(model: Model, workload: Workload) -> CostReport:
        arrays = array_parameters(model)
        lead, layers = workload.shape[:-1], workload.shape[-1]
        if not arrays and (len(lead) == 0 or (len(lead) == 1 and prod(workload.shape) <= CHUNK)):
            return estimate(model, workload)
        workload = _aligned(workload, arrays)
        candidates = workload.shape[0]
        step = max(CHUNK // max(layers, 1), 1)
        parts = (
            (slice(start, start + step), estimate(_sliced(model, arrays, start, start + step), workload.part(start, start + step)))
            for start in range(0, max(candidates, 1), step)
        )
        report = joined(parts, candidates)
        return report if arrays or len(lead) == 1 else _reshaped(report, lead)

    return batched


def array_parameters(model: Any) -> Arrays:
    """The parameters of a device that hold one value per candidate."""
    return {f.name: value for f in fields(model) if isinstance(value := getattr(model, f.name), np.ndarray)}


def _sliced(model: Model, arrays: Arrays, start: int, stop: int) -> Model:
    """The device of some of the candidates."""
    if not arrays:
        return model
    taken: Any = {name: values[start:stop] if len(values) > 1 else values for name, values in arrays.items()}
    return replace(model, **taken)  # type: ignore[type-var]


def _aligned(workload: Workload, arrays: Arrays) -> Workload:
    """The workload as ``b x l``, as many candidates as the array parameters have."""
    if len(workload.shape) > 2:
        flat = {n: np.broadcast_to(a, workload.shape).reshape(-1, workload.shape[-1]) for n, a in workload.arrays().items() if a.ndim > 1}
        workload = workload.replace(**flat)
    counts = {len(values) for values in arrays.values()} | set(workload.shape[:-1])
    most = max(counts)
    if counts - {1, most}:
        raise DeviceError(f"Array parameters and the workload must have as many candidates, but have {sorted(counts)}.")
    if workload.shape[:-1] == (most,):
        return workload
    return workload.replace(in_channels=np.broadcast_to(workload.in_channels, (most, workload.shape[-1])))


def joined(parts: Iterator[tuple[Any, CostReport]] | list[tuple[Any, CostReport]], candidates: int) -> CostReport:
    """One report of ``b`` candidates from reports of some of them, each with the places (an index or slice) of its candidates."""
    filled: dict[str, Any] = {}
    report = None
    for places, report in parts:
        for name, array in _leaves(report).items():
            if np.ndim(array) == 0:  # the same for every candidate
                filled[name] = array
                continue
            shape = (candidates, *np.shape(array)[-1:]) if np.ndim(array) == report.latency_s.ndim else (candidates,)
            filled.setdefault(name, np.zeros(shape))[places] = array  # 0 where a part has no such resource or energy
    assert report is not None
    return _rebuilt(report, filled)


def _leaves(report: CostReport) -> dict[str, Any]:
    """Every array of a report under a flat name."""
    plain = {name: getattr(report, name) for name in ("latency_s", "cycles", "utilization", "dram_bytes", "area_mm2")}
    nested = ("energy_parts_j", "resources", "limits")
    return plain | {f"{name}/{key}": value for name in nested for key, value in getattr(report, name).items()}


def _rebuilt(report: CostReport, leaves: Mapping[str, Any]) -> CostReport:
    """The inverse of `_leaves`."""
    changes: dict[str, Any] = {"energy_parts_j": {}, "resources": {}, "limits": {}}
    for name, array in leaves.items():
        outer, _, key = name.partition("/")
        if key:
            changes[outer][key] = array
        else:
            changes[outer] = array
    return replace(report, **changes)


def _reshaped(report: CostReport, lead: tuple[int, ...]) -> CostReport:
    """The candidates of a report laid out along several axes."""
    leaves = _leaves(report).items()
    return _rebuilt(report, {n: np.reshape(a, (*lead, *np.shape(a)[1:])) if np.ndim(a) else a for n, a in leaves})
