"""Profile: the sensitivity of a network, measured before a search, spread over all workers and kept in the cache.

A probe depends on the teacher's weights, the images and how a network is compressed, but on nothing else of a search: searches with
another space, device, seed or searcher share what was measured, and measure only what is new.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import autocomp
from autocomp import cache
from autocomp.choice import Configuration
from autocomp.cluster import Cluster, spread
from autocomp.errors import AutocompError
from autocomp.evaluate import Evaluator
from autocomp.files import new_file
from autocomp.models import arrays
from autocomp.probing import Prober
from autocomp.profile_plan import ProfilePlan
from autocomp.progress import Progress
from autocomp.sensitivity import Probe, Sensitivity, of_layers

MEASURE = 2  # version of what a probe is; another one makes all cached profiles void
FILE = "profile.json"
MOST = 16  # probes of a task: seconds, so that starting it costs little and an interruption loses little
TASKS = 4  # at least, for each worker, so that all of them end at about the same time


@dataclass(frozen=True)
class Profile:
    """A sensitivity, and what it took.

    Attributes:
        sensitivity: what was measured; its ``image_passes`` are those of all its probes, whenever they were measured.
        spent: image passes of this run, 0 where everything came from the cache.
        failed: probes that are missing, because they could not be measured.
    """

    sensitivity: Sensitivity
    spent: float
    failed: int

    def to_record(self) -> dict[str, Any]:
        """Plain JSON data: `Sensitivity.to_record`, the passes spent, and the rank correlation of mixtures with the sums of singles."""
        more = {"spent_passes": self.spent, "failed": self.failed, "rank_correlation": self.sensitivity.rank_correlation()}
        return self.sensitivity.to_record() | more


def measure_profile(
    evaluator: Evaluator, plan: ProfilePlan, *, cluster: Cluster, workers: int, progress: Progress, folder: Path | None = None
) -> Profile | None:
    """Measure what the cache does not hold yet, as Ray tasks over all workers.

    What arrives is written down at once, so that an interruption loses only the tasks that are under way. A probe that fails is
    noted and left out.

    Args:
        evaluator: of the search; compresses as its trials do.
        plan: what is measured.
        cluster: where; Ray is connected.
        workers: tasks at a time.
        progress: is told how far it is.
        folder: of the run; gets `FILE`.

    Returns:
        None if there is nothing to decide, or nothing could be measured.
    """
    planned = plan.configurations(evaluator.problem.space)
    if not planned:
        return None
    progress.stage("profiling: what each choice costs alone")
    prober = evaluator.prober(plan.images, seed=plan.seed)
    store = _Store(cache.directory() / "profiles" / f"{content_key(prober)}.json", folder, images=len(prober.images))
    missing = [configuration for configuration in planned if of_layers(configuration).key not in store.probes]
    done, reasons = len(planned) - len(missing), Counter[str]()
    progress.profiling(len(planned), done)
    try:
        for chunk, found in spread(prober, _chunks(missing, list(prober.shares), workers), cluster=cluster):
            if isinstance(found, Exception):
                reasons[f"{type(found).__name__}: {found}".splitlines()[0]] += len(chunk)
            else:
                reasons.update(found.failures.values())
                store.add(found.accuracy, found.probes)
            done += len(chunk)
            progress.profiling(len(planned), done)
    finally:
        profile = store.profile(planned)
    for reason, times in reasons.items():
        progress.note(f"{times} of the {len(planned)} probes of the sensitivity profile failed and are left out: {reason}")
    return profile


def content_key(prober: Prober) -> str:
    """The name of everything that its probes depend on."""
    network = prober.network
    weights = arrays(network)
    about = {
        "measure": [MEASURE, autocomp.__version__],
        "network": [str(network), str(getattr(network, "code", "")), list(weights)],
        "methods": [_described(method) for method in prober.methods],
        "repair": [prober.reconstruct, prober.correct_bias, *prober.frozen],
        "has_labels": prober.labels is not None,
    }
    seen = [prober.images.numpy(), *([] if prober.labels is None else [prober.labels.numpy()])]
    return cache.digest(about, *weights.values(), *seen)


def _described(method: object) -> list[Any]:
    """A method with its plain settings; what else it holds comes from the network."""
    settings = {f.name: getattr(method, f.name) for f in fields(method)} if is_dataclass(method) else {}
    return [type(method).__qualname__, {name: value for name, value in settings.items() if isinstance(value, str | float | int | None)}]


def _chunks(configurations: Iterable[Configuration], layers: Sequence[str], workers: int) -> list[tuple[Configuration, ...]]:
    """Tasks whose members begin to differ at the same layer; those of the first layers, which take longest, come first."""
    order = {layer: i for i, layer in enumerate(layers)}

    def first(configuration: Configuration) -> int:
        return min((order.get(layer, 0) for layer in configuration), default=0)

    rows = sorted(configurations, key=first)
    size = min(max(len(rows) // (TASKS * workers), 1), MOST)
    groups = (list(group) for _, group in itertools.groupby(rows, first))
    return [tuple(group[i : i + size]) for group in groups for i in range(0, len(group), size)]


class _Store:
    """Probes by configuration: in a file of the cache that is written anew whenever some arrive, and in the folder of a run."""

    def __init__(self, path: Path, folder: Path | None, *, images: int) -> None:
        self.path, self.folder, self.images = path, folder, images
        self.probes: dict[str, Probe] = {}
        self.accuracy = float("nan")
        self.spent = 0.0
        earlier = _read(folder / FILE) if folder else {}
        if earlier.get("key") == path.stem:  # of an earlier part of this run
            self.spent = float(earlier["spent_passes"])
            self._take(earlier)
        self._take(_read(path))

    def _take(self, record: Mapping[str, Any]) -> None:
        if record:
            known = Sensitivity.from_record(record)
            self.accuracy = known.accuracy
            self.probes.update({of_layers(probe.configuration).key: probe for probe in known.probes})

    def add(self, accuracy: float, probes: Iterable[Probe]) -> None:
        """Take in what was measured and write it down."""
        new = {of_layers(probe.configuration).key: replace(probe, configuration=of_layers(probe.configuration)) for probe in probes}
        self.accuracy = accuracy
        self.probes.update(new)
        self.spent += sum(probe.image_passes for probe in new.values())
        text = json.dumps(self._sensitivity(self.probes.values()).to_record())
        cache.store(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    def profile(self, planned: Sequence[Configuration]) -> Profile | None:
        """What there is of a plan, in its order; also written to the run's folder."""
        found = {c: self.probes[of_layers(c).key] for c in planned if of_layers(c).key in self.probes}
        if not found:
            return None
        sensitivity = self._sensitivity(replace(probe, configuration=c) for c, probe in found.items())
        profile = Profile(sensitivity, self.spent, len(planned) - len(found))
        if self.folder:
            with new_file(self.folder / FILE) as part:
                part.write_text(json.dumps({"key": self.path.stem} | profile.to_record(), indent=1) + "\n", encoding="utf-8")
        return profile

    def _sensitivity(self, probes: Iterable[Probe]) -> Sensitivity:
        several = tuple(probes)
        return Sensitivity(self.accuracy, self.images, sum(probe.image_passes for probe in several), several)


def _read(path: Path) -> dict[str, Any]:
    """What a file holds; nothing if it cannot be read, for it can be made again."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        Sensitivity.from_record(record)
    except (OSError, ValueError, KeyError, TypeError, AutocompError):
        return {}
    return record
