"""Cases: problems that searchers are compared on, each with a real network behind it; what was measured is kept in the cache."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from autocomp import cache
from autocomp.choice import Configuration
from autocomp.evaluate import Evaluator, Measurement
from autocomp.models import arrays
from autocomp.pareto import ParetoFront
from autocomp.problem import Problem
from autocomp.profile import content_key
from autocomp.profile_plan import ProfilePlan
from autocomp.sensitivity import Sensitivity

VERSION = 2  # of what is kept in the cache


@dataclass(frozen=True, eq=False)
class Case:
    """A problem and the means to carry out its trials.

    Attributes:
        name: of the case.
        evaluator: carries out trials.
        plan: of the profile.
        in_teachers_box: whether hypervolume is counted in units of the box between the reference and a network as good as the teacher
            that costs nothing; otherwise in units of the reference point.
    """

    name: str
    evaluator: Evaluator
    plan: ProfilePlan
    in_teachers_box: bool = True

    @cached_property
    def problem(self) -> Problem:
        """The problem with its sensitivity."""
        return self.evaluator.knowing(self.sensitivity, self.untouched).problem

    @cached_property
    def untouched(self) -> Measurement | None:
        """Where a device disturbs the numbers, what it does to the network as it is."""
        return self.evaluator.untouched()

    @property
    def profile_passes(self) -> float:
        """Images that go through a network before the first trial of a searcher that makes use of the profile."""
        return self.sensitivity.image_passes + (self.untouched.image_passes if self.untouched else 0.0)

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """The profile, measured here if it is not in the cache."""
        prober = self.evaluator.prober(self.plan.images, seed=self.plan.seed)
        path = cache.directory() / "cases" / f"{content_key(prober)}-{self._key}.json"
        if not path.exists():
            found = prober(self.plan.configurations(self.evaluator.problem.space))
            passes = sum(probe.image_passes for probe in found.probes)
            sensitivity = Sensitivity(found.accuracy, len(prober.images), passes, found.probes)
            cache.write(path, lambda part: part.write_text(json.dumps(sensitivity.to_record()), encoding="utf-8"))
        return Sensitivity.from_record(json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def _key(self) -> str:
        """Everything that a trial's outcome depends on."""
        weights = arrays(self.evaluator.network)
        space = [[knob.layer, knob.name, [str(o) for o in knob.options]] for knob in self.evaluator.problem.space.knobs]
        return cache.digest(VERSION, self.name, space, str(self.evaluator.finetune), list(weights), *weights.values())

    @cached_property
    def _kept(self) -> sqlite3.Connection:
        folder: Path = cache.directory() / "cases"
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / f"{self._key}.sqlite", timeout=60)
        connection.execute("create table if not exists trials (configuration text primary key, outcome text)")
        return connection

    def hypervolume(self, front: ParetoFront) -> float:
        """What a front covers."""
        problem = self.evaluator.problem
        return front.hypervolume(problem.reference_point, problem.baseline if self.in_teachers_box else None)

    def measure(self, configuration: Configuration) -> tuple[Mapping[str, float], float, float]:
        """Metrics, image passes and fidelity of a trial; always with the same seed, so that a configuration is measured once."""
        row = self._kept.execute("select outcome from trials where configuration = ?", (configuration.key,)).fetchone()
        if row is None:
            *_, (_, last) = self.evaluator.run(configuration, seed=0)
            row = (json.dumps([dict(last.metrics), last.image_passes, last.fidelity]),)
            with self._kept as connection:
                connection.execute("insert or replace into trials values (?, ?)", (configuration.key, row[0]))
        metrics, passes, fidelity = json.loads(row[0])
        return metrics, passes, fidelity


def posed(name: str, settings: tuple[str, ...], **plan: Any) -> Callable[[], Case]:
    """A case that is a product's own search with some settings, as on its command line."""

    def make() -> Case:
        from autocomp.cli.building import build
        from autocomp.cli.composing import ConfigTree
        from autocomp.pose import pose
        from autocomp.progress import Progress

        config = ConfigTree().compose(settings)
        torch.set_num_threads(1)
        evaluator = pose(config, task=build(config, "task"), hardware=build(config, "hw"), progress=Progress())
        return Case(name, evaluator, ProfilePlan(**{**config["profile"], **plan}))

    return make
