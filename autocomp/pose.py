"""From a task and a configuration file to the problem and its evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from autocomp.channels import ChannelMap, channel_map, normalize
from autocomp.choice import Configuration
from autocomp.compression import BlockConvolution, FactorizationSettings, Method, PruningSettings, default_methods
from autocomp.compression.coded_size import Beside
from autocomp.distill import FineTuning
from autocomp.errors import ConfigError
from autocomp.evaluate import Evaluator
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.space import SearchSpace
from autocomp.space_rules import build_space
from autocomp.storage import packed_size
from autocomp.student import StudentSettings, taught, untaught_student
from autocomp.tasks.base import ImageSet, Task
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import trace
from hwmodels import HardwareModel, Workload
from hwmodels.design import Adjustable

DENSITY_IMAGES = 64  # training images on which the density of activations is measured


def pose(config: Mapping[str, Any], *, task: Task, hardware: HardwareModel, progress: Progress) -> Evaluator:
    """Load the data, get the teacher, measure and price it, and pose the problem.

    Args:
        config: the resolved settings; reads ``space``, ``objectives``, ``finetune`` and, if they are there, ``pruning``,
            ``factorization``, ``block`` and ``student``.
        task: data and teacher.
        hardware: the price list.
        progress: is told what is going on.

    Raises:
        UsageError: if data, checkpoint or settings cannot be used.
    """
    progress.stage(f"loading the data and the teacher of {task.name}")
    train, validation = task.train(), task.validation()
    network, settings = task.teacher(), StudentSettings(**config.get("student", {}))
    teacher = _Whole.of(network, train, task, progress)
    student = untaught_student(settings, task)
    origin = teacher if student is None else _Whole.of(student, train, task, progress)
    methods = origin.methods(config)
    axes = hardware.axes if isinstance(hardware, Adjustable) else None
    space = build_space(config["space"]["rules"], origin.workload, methods, axes)
    if space.frozen and config["finetune"].get("equalize"):
        raise ConfigError("A frozen layer keeps its weights, but finetune.equalize=true scales those of all layers; set it to false.")
    accuracy, loss = evaluate(network, validation, mean=task.mean, std=task.std)
    priced = Problem(teacher.workload, SearchSpace(teacher.workload.names, ()), (), hardware, (), {}, beside=teacher.beside)
    baseline = {"accuracy": accuracy, "loss": loss, **priced.metrics_of(Configuration({}))}
    objectives = _objectives(config["objectives"], baseline, hardware.name)
    lessons = Evaluator(priced, teacher.network, train, validation, task.mean, task.std, FineTuning(**config["finetune"]))
    if student is not None:
        origin = _Whole.of(taught(student, settings, lessons, progress), train, task, progress)  # what it computes is known only now
    problem = Problem(origin.workload, space, methods, hardware, objectives, baseline, beside=origin.beside)
    return replace(lessons, problem=problem, student=None if student is None else origin.network)


def _objectives(stated: Mapping[str, Any], teacher: Mapping[str, float], hardware: str) -> tuple[Objective, ...]:
    """What is wanted, in the units of the metrics; what this hardware has no model of is left out unless something is wanted of it."""
    wanted = [Objective.stated(metric, **settings) for metric, settings in stated.items()]
    for objective in wanted:
        asked = objective.optimised or objective.limit is not None or objective.share is not None
        if asked and objective.metric not in teacher:
            metric = objective.metric
            raise ConfigError(f"`objectives.{metric}` must be left alone with hardware '{hardware}', which has no model of its {metric}.")
    return tuple(objective.against(teacher) for objective in wanted if objective.metric in teacher)


@dataclass(frozen=True, eq=False)
class _Whole:
    """A network that is to be compressed, or to be compared with.

    Attributes:
        network: normalised, if its graph can be traced.
        channels: None if it cannot.
        workload: its layers, for one image.
    """

    network: nn.Module
    channels: ChannelMap | None
    workload: Workload

    @classmethod
    def of(cls, network: nn.Module, train: ImageSet, task: Task, progress: Progress) -> _Whole:
        """What is known of a network in evaluation mode."""
        normal = normalize(network, task.input_shape)
        if normal is None:
            progress.note("the network's graph cannot be traced: whole filters are left alone, every other method is used")
        sample = to_input(train.images[:DENSITY_IMAGES], task.mean, task.std)
        workload = trace(network, task.input_shape, sample).replace(batch=1)
        channels = None if normal is None else channel_map(normal, task.input_shape)
        return cls(network if normal is None else normal, channels, workload)

    @property
    def beside(self) -> Beside:
        """What its file holds beside the layers' weights."""
        return Beside.of(self.workload, *packed_size(self.network))

    def methods(self, config: Mapping[str, Any]) -> tuple[Method, ...]:
        """What can be done to it, in order."""
        block = config.get("block")
        return default_methods(
            self.channels,
            PruningSettings(**config.get("pruning", {})),
            None if block is None else BlockConvolution.of(self.network, block),
            FactorizationSettings(**config.get("factorization", {})),
        )
