"""Designs: a device some of whose parameters are open, priced at many of their values at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwmodels.batching import joined
from hwmodels.cost import CostReport, HardwareModel, price
from hwmodels.device_files import field_of, read_device, si_fields
from hwmodels.errors import DeviceError
from hwmodels.parameters import parameter_types, takes_arrays
from hwmodels.workload import Workload

Value: TypeAlias = int | float | str | bool
Columns: TypeAlias = Mapping[str, Sequence[Any] | NDArray[Any]]
Places: TypeAlias = NDArray[np.int64]

CONTRADICTION: Final = "exceptions to the rules between its parameters"  # a resource of which every device has none


@runtime_checkable
class Adjustable(HardwareModel, Protocol):
    """A hardware model with open parameters; `estimate` prices the device as it is."""

    @property
    def axes(self) -> Mapping[str, Sequence[Value]]:
        """The open parameters, each with the values that it may take."""

    def estimate_designs(self, columns: Columns, workload: Workload) -> CostReport:
        """Prices of ``b`` designs, see `DesignSpace.estimate_designs`."""

    def disturb_designs(self, columns: Columns, workload: Workload) -> Mapping[str, NDArray[np.float64]]:
        """`nonidealities` of ``b`` designs, see `DesignSpace.disturb_designs`."""


@dataclass(frozen=True, eq=False)
class DesignSpace:
    """A device some of whose parameters are open.

    Attributes:
        base: the device as it is, a model of one of the families.
        axes: keys of the device file, each with the values that it may take, in the unit of the key.
        fixed: keys that were decided before, which no axis may name.

    Raises:
        DeviceError: if an axis names an unknown key or one that is fixed, or its values are out of range or do not differ.
    """

    base: HardwareModel
    axes: Mapping[str, Sequence[Value]]
    fixed: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not is_dataclass(self.base):
            raise DeviceError(f"Only a device of a family has axes, but '{self.base.name}' is a {type(self.base).__name__}.")
        fixed = {self._field(key) for key in self.fixed}
        for key, values in self.axes.items():
            if not isinstance(values, Sequence) or isinstance(values, str):
                raise DeviceError(f"{self._source}: `{key}` must be a list of values, but is {values!r}.")
            for value in values:
                si_fields(type(self.base), {key: value}, self._source)
            if len(set(values)) != max(len(values), 1):
                raise DeviceError(f"{self._source}: `{key}` must be a list of values that differ, but is {list(values)}.")
            if self._field(key) in fixed:
                raise DeviceError(f"{self._source}: `{key}` is given one value and is an axis, too; keep one of both.")
        object.__setattr__(self, "axes", {key: tuple(values) for key, values in self.axes.items()})

    @property
    def name(self) -> str:
        """The device's."""
        return self.base.name

    def estimate(self, workload: Workload) -> CostReport:
        """Prices on the device as it is."""
        return self.base.estimate(workload)

    def nonidealities(self, workload: Workload) -> Mapping[str, Any] | None:
        """Those of the device as it is."""
        return self.base.nonidealities(workload)

    def estimate_designs(self, columns: Columns, workload: Workload) -> CostReport:
        """Price a workload on ``b`` designs, each the device with some keys replaced.

        Designs that differ in numbers are priced together, as arrays; those that differ in a word (a dataflow, a mode), or in a
        number that the model uses as one (see `hwmodels.parameters.Count`), are priced word by word. A design that breaks a rule
        between parameters is infeasible and has the prices of the device as it is.

        Args:
            columns: keys of the device file, in its units, each with one value per design (``b``); None is the device's own.
            workload: one network (``l``), or one candidate per design (``b x l``).

        Returns:
            Prices ``b x l``, in the order of the designs.

        Raises:
            DeviceError: if the columns or the workload differ in length, or a key or value is wrong.
        """
        groups, count = self._groups(columns)
        if workload.shape[:-1] not in {(), (1,), (count,)}:
            raise DeviceError(f"{count} designs need one workload, or {count} candidates, but it has shape {workload.shape}.")
        reports = [_report(model or self.base, workload, places) for places, model in groups]
        if any(model is None for _, model in groups):
            reports = [_marked(report, model is not None) for report, (_, model) in zip(reports, groups, strict=True)]
        return reports[0] if len(groups) == 1 else joined([(p, r) for (p, _), r in zip(groups, reports, strict=True)], count)

    def disturb_designs(self, columns: Columns, workload: Workload) -> dict[str, NDArray[np.float64]]:
        """The `nonidealities` of ``b`` designs, ``b`` values each; empty where the device computes exactly.

        Args:
            columns: as for `estimate_designs`; a design that breaks a rule has those of the device as it is.
            workload: as for `estimate_designs`.

        Raises:
            DeviceError: if the columns differ in length, or a key or value is wrong.
        """
        groups, count = self._groups(columns)
        found: dict[str, NDArray[np.float64]] = {}
        for places, model in groups:
            for name, value in ((model or self.base).nonidealities(_candidates(workload, places)) or {}).items():
                found.setdefault(name, np.zeros(count))[places] = np.ravel(value)
        return found

    def _groups(self, columns: Columns) -> tuple[list[tuple[Places, HardwareModel | None]], int]:
        """Designs that one model stands for: their places, and the model, None where it would break a rule; and their number."""
        table = {key: self._filled(key, values) for key, values in columns.items()}
        counts = {len(values) for values in table.values()}
        if len(counts) != 1:
            raise DeviceError(f"Each parameter must have one value per design, but there are {sorted(counts) or 'no'} values.")
        (count,) = counts
        if not count:
            return [(np.zeros(0, np.int64), self.base)], 0
        kind, kinds = type(self.base), parameter_types(type(self.base))
        axes = {key for key in table if takes_arrays(kinds.get(self._field(key)))}
        arrays = si_fields(kind, {key: np.array(table[key]) for key in table if key in axes}, self._source)
        groups: list[tuple[Places, HardwareModel | None]] = []
        for named, places in _members({key: values for key, values in table.items() if key not in axes}, count):
            words = si_fields(kind, named, self._source)
            groups += self._models(words, {name: values[places] for name, values in arrays.items()}, places)
        return groups, count

    def _filled(self, key: str, values: Sequence[Any] | NDArray[Any]) -> list[Any]:
        plain: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
        return [own_value(self.base, key) if value is None else value for value in plain] if None in plain else plain

    def _models(
        self, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], places: Places
    ) -> Iterator[tuple[Places, HardwareModel | None]]:
        """One model for all designs that share their words, unless it refuses some of them, or takes no arrays here."""
        try:
            yield places, self._model({**words, **arrays})
            return
        except DeviceError:
            designs = list(_members({name: values[:, 0].tolist() for name, values in arrays.items()}, len(places)))
        possible = np.zeros(len(places), bool)
        for design, members in designs:
            possible[members] = self._is_possible({**words, **design})
        if possible.all():
            for design, members in designs:
                yield places[members], self._model({**words, **design})
            return
        yield places[~possible], None
        if possible.any():
            yield from self._models(words, {name: values[possible] for name, values in arrays.items()}, places[possible])

    def _model(self, fields: Mapping[str, Any]) -> HardwareModel:
        return replace(self.base, **fields)  # type: ignore[type-var]  # checked to be a dataclass

    def _is_possible(self, fields: Mapping[str, Any]) -> bool:
        """Whether one design breaks no rule between parameters."""
        key = tuple(fields.items())
        if key not in self._known:
            try:
                self._model(fields)
                self._known[key] = True
            except DeviceError:
                self._known[key] = False
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[tuple[str, Any], ...], bool]:
        """What `_is_possible` found; a search asks for the same designs again and again."""
        return {}

    def _field(self, key: str) -> str:
        return field_of(key, parameter_types(type(self.base)))[0]

    @property
    def _source(self) -> str:
        return f"Axes of device '{self.name}'"


def estimate_designs(device: str, columns: Columns, workload: Workload, *, parameters: Mapping[str, object] | None = None) -> CostReport:
    """Price a workload on ``b`` variants of a device, see `DesignSpace.estimate_designs`.

    Args:
        device: a shipped device's name, or the path of a YAML file.
        columns: keys of the device file, in its units, each with one value per design (``b``).
        workload: one network (``l``), or one candidate per design (``b x l``).
        parameters: keys that have one other value in all designs.

    Raises:
        DeviceError: if the columns differ in length, or a key or value is wrong.
    """
    return DesignSpace(read_device(device, parameters), {}).estimate_designs(columns, workload)


def grid(axes: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    """Every combination of the axes' values, a column of ``b`` values for each axis; the last one changes fastest."""
    designs = list(itertools.product(*axes.values()))
    return {key: [design[i] for design in designs] for i, key in enumerate(axes)}


def own_value(model: HardwareModel, key: str) -> Value:
    """What a model has for a key of its device file, in the unit of the key."""
    name, factor = field_of(key, parameter_types(type(model)))
    value: Value = getattr(model, name)
    return value if factor == 1 or isinstance(value, str) else float(f"{value / factor:.12g}")  # without the rounding of the factor


def _members(columns: Mapping[str, list[Any]], count: int) -> Iterator[tuple[dict[str, Any], Places]]:
    """The different rows of some columns, each with the places where it stands."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(zip(*columns.values(), strict=True) if columns else [()] * count):
        found.setdefault(row, []).append(place)
    for row, places in found.items():
        yield dict(zip(columns, row, strict=True)), np.array(places)


def _report(model: HardwareModel, workload: Workload, places: Places) -> CostReport:
    """The prices of the candidates at some places, each with figures of its own (``n x l``, ``n``)."""
    report = price(model, _candidates(workload, places))
    per_layer, per_design = (len(places), len(workload.names)), (len(places),)
    return replace(
        report,
        latency_s=np.broadcast_to(report.latency_s, per_layer),
        energy_parts_j=_each(report.energy_parts_j, per_layer),
        cycles=np.broadcast_to(report.cycles, per_layer),
        utilization=np.broadcast_to(report.utilization, per_layer),
        dram_bytes=np.broadcast_to(report.dram_bytes, per_layer),
        area_mm2=np.broadcast_to(report.area_mm2, per_design),
        resources=_each(report.resources, per_design),
        limits=_each(report.limits, per_design),
    )


def _each(table: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, NDArray[np.float64]]:
    return {name: np.broadcast_to(np.asarray(value, np.float64), shape) for name, value in table.items()}


def _candidates(workload: Workload, places: Places) -> Workload:
    """The candidates at some places; a single one stands for all."""
    taken = {name: array[places] for name, array in workload.arrays().items() if array.ndim == 2 and len(array) > 1}
    return workload.replace(**taken) if taken else workload


def _marked(report: CostReport, possible: bool) -> CostReport:
    """A report whose candidates are infeasible if they are not possible."""
    need = np.full(report.latency_s.shape[:1], 0.0 if possible else 1.0)
    resources, limits = {**report.resources, CONTRADICTION: need}, {**report.limits, CONTRADICTION: np.zeros_like(need)}
    return replace(report, resources=resources, limits=limits)
