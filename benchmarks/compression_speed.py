"""How long it takes to make a configuration of ResNet-20 measurable, and what compression costs in training, on one core.

Making: compress, trace, re-estimate batch norm (and fit the steps of activations), with factors of earlier trials in the cache, on as
many images as a trial's calibration uses by default. Training: a step forward, backward and of Adam, in turns with that of the plain
network of the same shapes; what is compared is the median of the ratios.

Usage: ``python -m benchmarks.compression_speed``; images and weights are random, which no time depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import PruningSettings, calibrate, compress, default_methods
from autocomp.distill import FineTuning
from autocomp.models import build
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from benchmarks.low_rank import seconds
from benchmarks.pricing import RULES
from benchmarks.record import record

SHAPE = (3, 32, 32)
CONFIGURATIONS, STEPS = 12, 20
BATCH = FineTuning().batch_size


def making(network: fx.GraphModule, images: Tensor) -> dict[str, Any]:
    """Seconds of each part for configurations drawn from the whole space; the parts of one that was made before."""
    workload, methods = trace(network, SHAPE), default_methods(channel_map(network, SHAPE))
    space = build_space(RULES, workload, methods)
    taken: dict[str, list[float]] = {"compress": [], "trace": [], "calibrate": [], "all": []}
    for vector in space.sample(np.random.default_rng(0), CONFIGURATIONS):
        configuration = space.decode(vector)
        compress(network, configuration, methods)  # fills the caches
        made: list[nn.Module] = []
        parts = {
            "compress": seconds(lambda c=configuration, m=made: m.append(compress(network, c, methods))),  # type: ignore[misc]
            "trace": seconds(lambda m=made: trace(m[0], SHAPE)),  # type: ignore[misc]
            "calibrate": seconds(lambda m=made: calibrate(m[0], images)),  # type: ignore[misc]
        }
        for name, value in {**parts, "all": sum(parts.values())}.items():
            taken[name].append(value)
    return {name: {"median_s": round(float(np.median(v)), 3), "most_s": round(max(v), 3)} for name, v in taken.items()}


def everywhere(network: nn.Module, **knobs: Any) -> Configuration:
    """The same for every layer but the first and the last."""
    return Configuration(dict.fromkeys(trace(network, SHAPE).names[1:-1], Choice(**knobs)))


KINDS: Mapping[str, dict[str, Any]] = {
    "single weights pruned": {"sparsity": 0.5, "pattern": "fine"},
    "weights of 4 bit": {"weight_bits": 4},
    "ternary weights": {"weight_bits": 2, "weight_quantizer": "ternary"},
    "codebooks of 16": {"weight_bits": 4, "weight_quantizer": "kmeans"},
    "activations of 4 bit": {"activation_bits": 4},
    "weights and activations of 4 bit": {"weight_bits": 4, "activation_bits": 4},
    "pruned, weights and activations of 4 bit": {"sparsity": 0.5, "pattern": "fine", "weight_bits": 4, "activation_bits": 4},
}


def training(network: fx.GraphModule, images: Tensor) -> dict[str, Any]:
    """How many times as long a step takes as one of the plain network."""
    methods = default_methods(channel_map(network, SHAPE))
    labels = torch.arange(BATCH) % 10
    plain = compress(network, Configuration({}), methods)
    students = {name: compress(network, everywhere(network, **knobs), methods) for name, knobs in KINDS.items()}
    surgery = default_methods(channel_map(network, SHAPE), PruningSettings(dynamics="surgery"))
    students["pruned by dynamic surgery"] = compress(network, everywhere(network, sparsity=0.5, pattern="fine"), surgery)
    for student in students.values():
        calibrate(student, images[:BATCH])
    steps = {name: partial(_step, *_trained(student), images[:BATCH], labels) for name, student in {"": plain, **students}.items()}
    taken = [{name: seconds(step) for name, step in steps.items()} for _ in range(STEPS + 2)][2:]
    return {name: {"ratio": round(float(np.median([run[name] / run[""] for run in taken])), 2)} for name in students}


def _trained(network: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
    network.train()
    return network, torch.optim.Adam(network.parameters())


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def main() -> None:
    """Measure both."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = normalize(build("resnet20", classes=10, input_shape=SHAPE).eval(), SHAPE)
    assert network is not None
    images = torch.randn(FineTuning().calibration_images, *SHAPE).contiguous(memory_format=torch.channels_last)
    record("compression_speed", {"making": making(network, images), "images": len(images), "training": training(network, images)})


if __name__ == "__main__":
    main()
