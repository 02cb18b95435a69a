"""What low-bit weights and activations cost a trained ResNet-20 on CIFAR-10 at one budget of distillation.

Every network is compressed, calibrated and distilled as a trial is, with the same budget, seed and learning rate. The first and the last
layer have 8 bits, as is usual. The learning rate is chosen by validation images, for one network of ternary weights and one of 2 bits at
a part of the budget; test images are read once for each network, at the end.

Usage: ``python -m benchmarks.low_bits DATA CHECKPOINT``: a folder of CIFAR-10's Parquet files and the weights of a ResNet-20.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from autocomp.channels import normalize
from autocomp.choice import FLOAT_BITS, Choice, Configuration
from autocomp.compression import default_methods
from autocomp.distill import FineTuning
from autocomp.evaluate import Evaluator
from autocomp.problem import Problem
from autocomp.space import SearchSpace
from autocomp.tasks.classification import ClassificationTask
from autocomp.tasks.images import accuracy
from autocomp.tracing import trace
from benchmarks.low_rank import MEAN, SHAPE, STD
from benchmarks.record import record
from hwmodels import load_device

SEED, DEVICE = 0, "eyeriss"
BUDGET = FineTuning(epochs=1, images_per_epoch=32_000, alpha=0.7, calibration_images=512, noise_draws=0)
"""Each image is seen once at most."""

RATES, TRIED, TUNING_IMAGES = (5e-4, 1e-3, 2e-3), ("trained ternary", "2/2 bit"), 6_400

WEIGHTS = {"trained ternary": (2, "trained_ternary"), "ternary": (2, "ternary"), "power of two, 5 bit": (5, "power_of_two")}
INNER: Mapping[str, Choice] = {
    **{name: Choice(weight_bits=bits, weight_quantizer=quantizer) for name, (bits, quantizer) in WEIGHTS.items()},
    **{f"{bits}/{bits} bit": Choice(weight_bits=bits, activation_bits=bits) for bits in (4, 3, 2)},
}
"""What becomes of all layers but the first and the last."""

RECALLED_DROPS = {
    "trained ternary": 0.6,  # Zhu 2016, ResNet-20 on CIFAR-10, first and last layer in floating point
    "4/4 bit": 0.3,  # this and the next two: Choi 2018 (PACT), ResNet-20 on CIFAR-10
    "3/3 bit": 0.5,
    "2/2 bit": 1.9,
    "power of two, 5 bit": -0.7,  # Zhou 2017, ResNet-18 on ImageNet
}
"""Percentage points of papers, quoted from memory; hundreds of epochs there."""


def configuration(names: tuple[str, ...], inner: Choice) -> Configuration:
    """The choice for all layers but the first and the last, which have 8 bits where it has fewer than 32."""
    outer = Choice(weight_bits=8, activation_bits=8 if inner.activation_bits < FLOAT_BITS else FLOAT_BITS)
    return Configuration({name: outer if name in (names[0], names[-1]) else inner for name in names})


def trained(evaluator: Evaluator, inner: Choice) -> tuple[nn.Module, list[float]]:
    """The network after the budget, and its accuracy on validation images before and after."""
    course = list[float]()
    for network, measured in evaluator.run(configuration(evaluator.problem.workload.names, inner), seed=SEED):  # noqa: B007 the last counts
        course.append(measured.metrics["accuracy"])
    return network, course


def tuned(evaluator: Evaluator) -> tuple[float, dict[str, dict[str, float]]]:
    """The learning rate with the best sum of validation accuracies, and all of them, in percent."""
    found: dict[str, dict[str, float]] = {}
    for rate in RATES:
        short = replace(evaluator, finetune=replace(BUDGET, learning_rate=rate, images_per_epoch=TUNING_IMAGES))
        found[str(rate)] = {name: round(100 * trained(short, INNER[name])[1][-1], 2) for name in TRIED}
        print(rate, found[str(rate)], flush=True)  # noqa: T201 it takes long
    return float(max(found, key=lambda rate: sum(found[rate].values()))), found


def main(data: str, checkpoint: str) -> None:
    """Every network of `INNER`."""
    torch.set_num_threads(1)
    task = ClassificationTask(name="cifar10", data=data, model="resnet20", checkpoint=checkpoint, classes=10, mean=MEAN, std=STD)
    teacher = normalize(task.teacher(), SHAPE)
    assert teacher is not None
    workload = trace(teacher, SHAPE)
    problem = Problem(workload, SearchSpace(workload.names, ()), default_methods(None), load_device(DEVICE), (), {})
    evaluator = Evaluator(problem, teacher, task.train(), task.validation(), task.mean, task.std, BUDGET)
    rate, rates = tuned(evaluator)
    evaluator = replace(evaluator, finetune=replace(BUDGET, learning_rate=rate))

    def tested(network: nn.Module) -> float:
        return 100 * accuracy(network, task.test(), mean=task.mean, std=task.std)

    whole = tested(teacher)
    figures: dict[str, Any] = {
        "network": "resnet20",
        "seed": SEED,
        "images_trained_on": BUDGET.images_per_epoch,
        "learning_rate": rate,
        "validation_accuracy_by_learning_rate": {"images_trained_on": TUNING_IMAGES, **rates},
        "first_and_last_layer_bits": 8,
        "teacher_test_accuracy": round(whole, 2),
    }
    for name, inner in INNER.items():
        start = time.process_time()
        network, course = trained(evaluator, inner)
        after = tested(network)
        figures[name] = {
            "test_accuracy": round(after, 2),
            "drop": round(whole - after, 2),
            "drop_recalled": RECALLED_DROPS.get(name),
            "validation_accuracy": {"calibrated": round(100 * course[0], 2), "trained": round(100 * course[-1], 2)},
            "cpu_seconds": round(time.process_time() - start),
        }
        print(name, figures[name], flush=True)  # noqa: T201 it takes long
    record("low_bits", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
