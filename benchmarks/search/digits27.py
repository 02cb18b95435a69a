"""A search on digits without fine-tuning: six convolutions and a linear layer, three knobs each, toy prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from autocomp import cache
from autocomp.channels import channel_map, normalize
from autocomp.choice import Configuration
from autocomp.compression import default_methods
from autocomp.distill import FineTuning
from autocomp.evaluate import Evaluator
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.profile_plan import ProfilePlan
from autocomp.space import Knob, SearchSpace
from autocomp.tasks.base import ImageSet
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import trace
from benchmarks.search.cases import Case
from hwmodels import CostReport, Workload

SHAPE = (1, 8, 8)
MEAN, STD = (0.0,), (1.0,)
WIDTHS = ((1, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))  # inputs, filters, stride
EPOCHS, BATCH, RATE = 15, 64, 2e-3


class RelativePrices:
    """Shares of the teacher's cycles and energy: MACs that are left, half a cycle each at 4 bits or less, energy as bits^1.25."""

    name = "relative"

    def __init__(self, macs: float) -> None:
        self.macs = macs

    def estimate(self, workload: Workload) -> CostReport:
        """Prices in shares; what is called seconds and joules is one for the untouched network at 8 bits."""
        share = workload.macs / self.macs
        bits = np.minimum(np.broadcast_to(workload.weight_bits, share.shape), 8)
        cycles = share * np.where(bits <= 4, 0.5, 1.0)
        energy = share * (bits / 8) ** 1.25
        return CostReport(workload.names, cycles, {"mac": energy}, cycles, np.ones_like(cycles), np.zeros_like(cycles))

    def nonidealities(self, workload: Workload) -> None:
        """Nothing is disturbed."""


def network() -> nn.Sequential:
    """Six convolutions with batch norm, global average pooling, a linear layer."""
    layers: list[nn.Module] = []
    for inputs, filters, stride in WIDTHS:
        layers += [nn.Conv2d(inputs, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def images() -> tuple[ImageSet, ImageSet]:
    """1 000 for training and calibration, 797 for measuring."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)[order][:, None]
    both = ImageSet(pixels, digits.target.astype(np.int64)[order])
    return both.subset(slice(0, 1000)), both.subset(slice(1000, None))


def trained(train: ImageSet) -> nn.Sequential:
    """The teacher, from the cache or trained now."""
    torch.manual_seed(0)
    teacher = network()
    path = cache.directory() / "cases" / "digits27.pt"
    if path.exists():
        teacher.load_state_dict(torch.load(path, weights_only=True))
        return teacher.eval()
    x, labels = to_input(train.images, MEAN, STD), torch.from_numpy(train.labels)
    adam = torch.optim.Adam(teacher.parameters(), RATE)
    for _ in range(EPOCHS):
        for chunk in torch.split(torch.randperm(len(train)), BATCH):
            adam.zero_grad()
            F.cross_entropy(teacher(x[chunk]), labels[chunk]).backward()  # type: ignore[no-untyped-call]
            adam.step()
    cache.write(path, lambda part: torch.save(teacher.state_dict(), part))
    return teacher.eval()


def knobs(layers: tuple[str, ...]) -> tuple[Knob, ...]:
    """Filters, ranks and bits of each layer; the last one keeps its outputs."""
    found = []
    for layer in layers:
        is_last = layer == layers[-1]
        pruning = [] if is_last else [Knob(layer, "sparsity", tuple(i / 10 for i in range(10))), Knob(layer, "pattern", ("filter",))]
        ranks = [
            Knob(layer, "rank", tuple(i / 10 for i in range(10, 0, -1))),
            Knob(layer, "factorization", ("svd" if is_last else "svd_out",)),
        ]
        bits = [Knob(layer, "weight_bits", tuple(range(8, 1, -1))), Knob(layer, "weight_quantizer", ("uniform_per_tensor",))]
        found += [*pruning, *ranks, *bits]
    return tuple(found)


def digits27() -> Case:
    """The case; hypervolume counts from half of the images right."""
    torch.set_num_threads(1)
    train, rest = images()
    teacher = trained(train)
    whole = normalize(teacher, SHAPE)
    assert whole is not None
    workload = trace(teacher, SHAPE).replace(batch=1)
    accuracy, loss = evaluate(teacher, rest, mean=MEAN, std=STD)
    problem = Problem(
        workload=workload,
        space=SearchSpace(workload.names, knobs(workload.names)),
        methods=default_methods(channel_map(whole, SHAPE)),
        hardware=RelativePrices(float(workload.macs.sum())),
        objectives=(Objective("accuracy", "max"), Objective("latency_s"), Objective("energy_j")),
        baseline={},
        floor=0.5 / accuracy,
    )
    baseline = {"accuracy": accuracy, "loss": loss, **problem.metrics_of(Configuration({}))}
    settings = FineTuning(epochs=0, calibration_images=256)
    evaluator = Evaluator(replace(problem, baseline=baseline), whole, train, rest, MEAN, STD, settings)
    return Case("digits27", evaluator, ProfilePlan(), in_teachers_box=False)
