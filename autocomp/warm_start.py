"""Warm start: what a run takes over from earlier ones.

Prices are computed anew, so that a trial of an earlier run can be told to the searcher as long as its accuracy would be the same here:
same teacher, data and training, and, where the hardware disturbs the numbers, same disturbances. Otherwise the best of the earlier run
is merely tried first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.cache import digest
from autocomp.choice import Configuration
from autocomp.errors import UsageError
from autocomp.evaluate import Evaluator
from autocomp.files import new_file
from autocomp.journal import JOURNAL, Journal
from autocomp.models import arrays
from autocomp.objective import MEASURED_METRICS
from autocomp.pareto import covering, nondominated, points
from autocomp.problem import Problem
from autocomp.tables import SPREAD
from autocomp.tasks.base import ImageSet
from autocomp.trial import Status, Trial

ORIGIN, FILE = "origin.json", "warm_start.json"
IMAGES = 256  # of each set that its name is made from, beside all labels
OTHERWISE = ("polish_epochs", "polish_members", "polish_share")  # settings that no trial depends on
LATER = ("shift", "flip")  # settings that earlier runs do not have, all of them off


def origin(evaluator: Evaluator, config: Mapping[str, Any]) -> dict[str, str]:
    """What the accuracy of a trial depends on beside its configuration, as short names by topic."""
    problem, network = evaluator.problem, evaluator.network
    weights = arrays(network)
    training = {key: value for key, value in config["finetune"].items() if key not in OTHERWISE and (value or key not in LATER)}
    is_disturbed = evaluator.nonidealities(Configuration({})) is not None
    disturbances = problem.hardware.nonidealities(problem.workload) if is_disturbed else None
    return {
        "teacher": digest([str(network), list(weights)], *weights.values()),
        "data": digest([evaluator.mean, evaluator.std], *_seen(evaluator.train), *_seen(evaluator.validation)),
        "training": digest([training, config.get("pruning"), config.get("block"), problem.space.frozen, *_further(evaluator, config)]),
        "disturbances": digest(sorted((name, float(value)) for name, value in (disturbances or {}).items())),
    }


def _further(evaluator: Evaluator, config: Mapping[str, Any]) -> list[Any]:
    """What says something only where it differs from the default, so that earlier runs keep their names."""
    factorization, student = config.get("factorization") or {}, evaluator.student
    weights = {} if student is None else arrays(student)
    return ([factorization] if any(factorization.values()) else []) + ([digest(list(weights), *weights.values())] if weights else [])


def _seen(images: ImageSet) -> tuple[NDArray[Any], NDArray[Any]]:
    chosen = np.unique(np.linspace(0, len(images) - 1, IMAGES).astype(np.int64))
    return images.images[chosen], images.labels


def write_origin(folder: Path, told: Mapping[str, str]) -> None:
    """Leave in a run's folder what later runs need to know."""
    with new_file(folder / ORIGIN) as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class WarmStart:
    """What is taken over.

    Attributes:
        told: trials that the searcher learns from before its first ask, priced anew, numbered -1, -2, ...; they are none of the run's.
        proposals: configurations that the run tries first.
        lines: what there is to say about each earlier run.
    """

    told: tuple[Trial, ...] = ()
    proposals: tuple[Configuration, ...] = ()
    lines: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Leave it in the run's folder, so that the run can be resumed when the earlier one is gone."""
        record = {
            "lines": list(self.lines),
            "told": [trial.to_record() for trial in self.told],
            "proposals": [configuration.flatten() for configuration in self.proposals],
        }
        with new_file(folder / FILE) as part:
            part.write_text(json.dumps(record) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> WarmStart:
        """The inverse of `write`; nothing where nothing was written."""
        if not (folder / FILE).is_file():
            return cls()
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        told, proposals = map(Trial.from_record, record["told"]), map(Configuration.unflatten, record["proposals"])
        return cls(tuple(told), tuple(proposals), tuple(record["lines"]))


def earlier_runs(config: Mapping[str, Any]) -> list[Path]:
    """Folders of the runs that the settings name to begin with.

    Raises:
        UsageError: if one of them holds no run.
    """
    named = config.get("warm_start") or []
    folders = [Path(folder) for folder in ([named] if isinstance(named, str) else named)]
    for folder in folders:
        if not (folder / JOURNAL).is_file():
            raise UsageError(f"`warm_start` names folders of earlier runs, but '{folder}' holds no run: it has no {JOURNAL}.")
    return folders


def take_over(folders: Sequence[Path], evaluator: Evaluator, here: Mapping[str, str], most: int) -> WarmStart:
    """What a run takes over from the runs in some folders.

    Args:
        folders: of the earlier runs; where they know the same configuration, the trial that was trained longest counts, of equals the last.
        evaluator: of the run that begins.
        here: its `origin`.
        most: proposals from each earlier run.
    """
    told: dict[Configuration, Trial] = {}
    proposals: dict[Configuration, None] = {}
    lines = []
    for folder in folders:
        trials = Journal(folder / JOURNAL).trials()
        known = list(_priced(evaluator.problem, folder, trials))
        differing = _differing(folder, here)
        if differing:
            best = _best(evaluator.problem, known, most)
            proposals |= dict.fromkeys(best)
            lines.append(f"warm start from {folder}: its {len(best)} best configurations are tried first, because {differing}")
        else:
            for trial in known:
                if trial.configuration not in told or trial.fidelity >= told[trial.configuration].fidelity:
                    told[trial.configuration] = trial
            lines.append(f"warm start from {folder}: {len(known)} of its {len(trials)} trials are told to the searcher")
    numbered = tuple(replace(trial, id=-1 - i) for i, trial in enumerate(told.values()))
    return WarmStart(numbered, tuple(c for c in proposals if c not in told), tuple(lines))


def _differing(folder: Path, here: Mapping[str, str]) -> str:
    """What makes accuracies incomparable, in words; empty if nothing does."""
    path = folder / ORIGIN
    if not path.is_file():
        return "it does not say what its accuracies depend on"
    there = json.loads(path.read_text(encoding="utf-8"))
    names = [name for name in here if here[name] != there.get(name)]
    return f"{' and '.join(names)} differ{'' if len(names) > 1 or names == ['disturbances'] else 's'}" if names else ""


def _priced(problem: Problem, folder: Path, trials: Iterable[Trial]) -> Iterable[Trial]:
    """The measured trials that lie in the space, with prices of here."""
    for trial in trials:
        if trial.status in (Status.COMPLETE, Status.PRUNED) and problem.space.contains(trial.configuration):
            measured = {name: value for name, value in trial.metrics.items() if name in (*MEASURED_METRICS, SPREAD)}
            metrics = measured | problem.metrics_of(trial.configuration)
            yield replace(trial, metrics=metrics, image_passes=0.0, duration_s=0.0, reason=f"trial {trial.id} of {folder}")


def _best(problem: Problem, trials: Sequence[Trial], most: int) -> list[Configuration]:
    """Up to ``most`` configurations that are allowed here: the front of what was measured there, as far as it covers much hypervolume."""
    complete = [trial for trial in trials if trial.status is Status.COMPLETE and not problem.reasons(trial.configuration)]
    values = points([trial.metrics for trial in complete], problem.goals)
    front = np.flatnonzero(nondominated(values))
    chosen = covering(values[front], points([problem.reference_point], problem.goals)[0], most)
    return [complete[front[i]].configuration for i in chosen]
