"""Problem: workload, space, methods, hardware and objectives; the question, without weights or data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autocomp.choice import Choices, Configuration, Designs, designs_of
from autocomp.compression.base import Method
from autocomp.compression.coded_size import NOTHING, Beside, packed_bytes
from autocomp.errors import ConfigError
from autocomp.objective import PAPER_METRICS, Objective
from autocomp.sensitivity import Sensitivity
from autocomp.space import SearchSpace, Vectors
from hwmodels import CostReport, HardwareModel, Workload
from hwmodels.design import Adjustable
from hwmodels.guarded import Guarded

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """What a searcher is asked to solve; cheap to price and to ship.

    Attributes:
        workload: the teacher's layers (``l``).
        space: the choices.
        methods: in the order in which they are applied.
        hardware: the price list; where the space has knobs of the device, an `Adjustable` one.
        objectives: metrics, directions and limits.
        baseline: the teacher's metrics, measured and priced the same way as a trial's.
        floor: share of the teacher's accuracy below which a network is of no use; where the reference point lies.
        sensitivity: what single choices cost alone; None where it was not measured.
        untouched: accuracy and loss of the untouched network on the hardware, without training, where this disturbs the numbers and they
            were measured; otherwise empty, and the teacher's count.
        beside: what the file of a packed network holds beside its layers' weights.
    """

    workload: Workload
    space: SearchSpace
    methods: tuple[Method, ...]
    hardware: HardwareModel
    objectives: tuple[Objective, ...]
    baseline: Mapping[str, float]
    floor: float = 0.9
    sensitivity: Sensitivity | None = None
    untouched: Mapping[str, float] = field(default_factory=dict)
    beside: Beside = NOTHING

    @cached_property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives that shape the front (``m``)."""
        return tuple(o for o in self.objectives if o.optimised)

    @cached_property
    def reference_point(self) -> dict[str, float]:
        """The corner that hypervolume is measured to: the teacher's cost, the `floor` of its accuracy."""
        return {o.metric: self.baseline[o.metric] * (1.0 if o.direction == "min" else self.floor) for o in self.goals}

    def lower(self, choices: Choices) -> Workload:
        """The compressed workloads of ``b`` choices, ``b x l``."""
        workload = self.workload
        for method in self.methods:
            workload = method.lower(workload, choices)
        return workload

    def price(self, configurations: Sequence[Configuration]) -> CostReport:
        """Prices of ``b`` configurations, each on the device that it decides on."""
        return self._price(self.lower(Choices.of(configurations, self.workload.names)), designs_of(configurations))

    def _price(self, workload: Workload, designs: Designs) -> CostReport:
        """Prices of ``b`` workloads, each on its device; candidates that the model fails on are infeasible."""
        if not designs:
            return Guarded(self.hardware).estimate(workload)
        if not isinstance(self.hardware, Adjustable):
            raise ConfigError(f"Hardware '{self.hardware.name}' has no axes, but a configuration decides on its {', '.join(designs)}.")
        return self.hardware.estimate_designs(designs, workload)

    def paper_metrics(self, vectors: Vectors) -> tuple[dict[str, Floats], CostReport]:
        """Everything that is known before training about ``b x k`` vectors: `PAPER_METRICS` (``b`` each) and the prices."""
        return self._measure_on_paper(self.space.table(vectors), self.space.designs(vectors))

    def metrics_of(self, configuration: Configuration) -> dict[str, float]:
        """The paper metrics of one configuration."""
        metrics, _ = self._measure_on_paper(Choices.of([configuration], self.workload.names), designs_of([configuration]))
        return {name: float(values[0]) for name, values in metrics.items()}

    def _measure_on_paper(self, choices: Choices, designs: Designs) -> tuple[dict[str, Floats], CostReport]:
        workload = self.lower(choices)
        report = self._price(workload, designs)
        totals = (
            report.total_latency_s,
            report.total_energy_j,
            packed_bytes(workload, choices, self.beside),
            workload.macs.sum(-1),
            workload.nonzeros.sum(-1),
            report.area_mm2,
        )
        shape = (len(choices.sparsity),)
        metrics = {n: np.broadcast_to(np.asarray(t, np.float64), shape) for n, t in zip(PAPER_METRICS, totals, strict=True)}
        return {name: metrics[name] for name in self._priced}, report

    @cached_property
    def _priced(self) -> tuple[str, ...]:
        """The paper metrics that the device has a model of."""
        has_area = np.any(Guarded(self.hardware).estimate(self.workload).area_mm2)
        return tuple(name for name in PAPER_METRICS if has_area or name != "area_mm2")

    def violation(self, vectors: Vectors) -> Floats:
        """How far each of ``b x k`` vectors is from what the limits and the device allow; 0 where it is feasible (``b``)."""
        return self.assess(vectors)[1]

    def assess(self, vectors: Vectors) -> tuple[dict[str, Floats], Floats]:
        """`paper_metrics` and `violation` of ``b x k`` vectors, priced once."""
        metrics, report = self.paper_metrics(vectors)
        total = np.zeros(len(vectors))
        for objective in self.objectives:
            if objective.metric in metrics:
                total = total + objective.excess(metrics[objective.metric])
        for name, need in report.resources.items():
            limit = np.asarray(report.limits[name])
            total = total + np.maximum(need - limit, 0) / np.where(limit > 0, limit, 1)
        return metrics, total

    def feasible(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Which of ``b x k`` vectors break no limit that can be known on paper and fit the device (``b``)."""
        return np.asarray(self.violation(vectors) == 0)

    def reasons(self, configuration: Configuration) -> tuple[str, ...]:
        """Why a configuration is infeasible, a line for each broken limit; empty where it is feasible."""
        metrics, report = self._measure_on_paper(Choices.of([configuration], self.workload.names), designs_of([configuration]))
        broken = tuple(
            f"{o.metric} {metrics[o.metric][0]:.4g} breaks the limit {o.limit:.4g}"
            for o in self.objectives
            if o.metric in metrics and o.limit is not None and o.excess(metrics[o.metric])[0] > 0
        )
        return broken + report.reasons((0,))
