"""From a task and a configuration file to the problem and its evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autocomp.channels import channel_map, normalize
from autocomp.choice import Configuration
from autocomp.compression import BlockConvolution, PruningSettings, default_methods
from autocomp.distill import FineTuning
from autocomp.evaluate import Evaluator
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.space_rules import build_space
from autocomp.tasks.base import Task
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import trace
from hwmodels import HardwareModel
from hwmodels.design import Adjustable

DENSITY_IMAGES = 64  # training images on which the density of activations is measured


def pose(config: Mapping[str, Any], *, task: Task, hardware: HardwareModel, progress: Progress) -> Evaluator:
    """Load the data, get the teacher, measure and price it, and pose the problem.

    Args:
        config: the resolved settings; reads ``space``, ``objectives``, ``finetune`` and, if they are there, ``pruning`` and ``block``.
        task: data and teacher.
        hardware: the price list.
        progress: is told what is going on.

    Raises:
        UsageError: if data, checkpoint or settings cannot be used.
    """
    progress.stage(f"loading the data and the teacher of {task.name}")
    train, validation = task.train(), task.validation()
    teacher = task.teacher()
    network = normalize(teacher, task.input_shape)
    if network is None:
        progress.note("the network's graph cannot be traced: whole filters are left alone, every other method is used")
    channels = channel_map(network, task.input_shape) if network is not None else None
    pruning = PruningSettings(**config.get("pruning", {}))
    methods = default_methods(channels, pruning)
    sample = to_input(train.images[:DENSITY_IMAGES], task.mean, task.std)
    workload = trace(teacher, task.input_shape, sample).replace(batch=1)
    problem = Problem(
        workload=workload,
        space=build_space(config["space"]["rules"], workload, methods, hardware.axes if isinstance(hardware, Adjustable) else None),
        methods=methods,
        hardware=hardware,
        objectives=tuple(Objective(metric, **settings) for metric, settings in config["objectives"].items()),
        baseline={},
    )
    accuracy, loss = evaluate(teacher, validation, mean=task.mean, std=task.std)
    baseline = {"accuracy": accuracy, "loss": loss, **problem.metrics_of(Configuration({}))}
    if config.get("block") is not None:  # of every candidate, but not of the teacher
        methods = default_methods(channels, pruning, BlockConvolution.of(teacher if network is None else network, config["block"]))
    return Evaluator(
        problem=replace(problem, baseline=baseline, methods=methods),
        network=teacher if network is None else network,
        train=train,
        validation=validation,
        mean=task.mean,
        std=task.std,
        finetune=FineTuning(**config["finetune"]),
    )
