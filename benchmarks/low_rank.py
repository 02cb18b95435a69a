"""What each kind of factorization saves and costs, on a trained ResNet-20 at equal MACs, and how long its factors take.

For every kind the rank fraction (one for all layers but the first and the last) is looked for that leaves half of the network's MACs.
Then: how much faster the network is on one core than the whole one (the best of some runs, all networks in turn); the test accuracy
after re-estimating batch norm, without any training, with factors of the weights and with factors fitted to answers; and how long it
takes to factorize the network for the first time and again.

Usage: ``python -m benchmarks.low_rank DATA CHECKPOINT``: a folder of CIFAR-10's Parquet files and the weights of a ResNet-20.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autocomp.channels import normalize
from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import Calibration, Factorization, compress, reestimate_batch_norm
from autocomp.compression.decompositions import tucker2
from autocomp.compression.kinds import KINDS
from autocomp.tasks.base import ImageSet
from autocomp.tasks.classification import ClassificationTask
from autocomp.tasks.images import evaluate, to_input
from autocomp.tracing import trace
from benchmarks.record import record
from hwmodels import Workload

LEFT = 0.5
"""Share of the MACs."""

TIMED, REPEATS = 32, 15
"""Images in a batch, and batches."""

CALIBRATION, TEST = 200, 1000
"""Images."""

FRACTIONS = np.round(np.geomspace(0.01, 0.99, 300), 4)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPE = (3, 32, 32)


def configuration(workload: Workload, kind: str, fraction: float) -> Configuration:
    """The same for every layer but the first and those that the kind does not split."""
    able = Factorization().supported(workload)["factorization", kind]
    names = [name for name, can in zip(workload.names[1:], able[1:], strict=True) if can]
    return Configuration(dict.fromkeys(names, Choice(rank=fraction, factorization=kind)))


def at_equal_macs(workload: Workload, kind: str) -> tuple[float, float]:
    """The fraction that leaves what is nearest to the wanted share of MACs, and that share."""
    candidates = [configuration(workload, kind, float(fraction)) for fraction in FRACTIONS]
    macs = Factorization().lower(workload, Choices.of(candidates, workload.names)).macs.sum(-1) / workload.macs.sum()
    best = int(np.abs(macs - LEFT).argmin())
    return float(FRACTIONS[best]), float(macs[best])


def seconds(work: Callable[[], object]) -> float:
    """Of the one core that a run takes, however busy the machine is."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.inference_mode()
def in_turn(networks: dict[str, nn.Module], images: Tensor) -> dict[str, float]:
    """Seconds of each network for one batch, the best of some runs; in turn, so that what disturbs one disturbs all alike."""
    runs = [{name: seconds(partial(network, images)) for name, network in networks.items()} for _ in range(REPEATS)]
    return {name: min(run[name] for run in runs) for name in networks}


def accuracy(network: nn.Module, images: Tensor, test: ImageSet) -> float:
    """On test images, once batch norm fits the network."""
    reestimate_batch_norm(network, images)
    return evaluate(network, test, mean=MEAN, std=STD)[0]


def of_kind(kind: str, teacher: nn.Module, images: Tensor, test: ImageSet) -> tuple[nn.Module, dict[str, Any]]:
    """The network that a kind makes of the teacher, and its figures; the images are those to calibrate on."""
    workload = trace(teacher, SHAPE)
    fraction, left = at_equal_macs(workload, kind)
    chosen = configuration(workload, kind, fraction)
    factorize = partial(compress, teacher, chosen, (Factorization(),))
    first, again = seconds(factorize), min(seconds(factorize) for _ in range(REPEATS))
    student = factorize()
    fitted = compress(teacher, chosen, (Factorization(responses=True),), Calibration(images))
    return student, {
        "rank": fraction,
        "speedup_in_macs": round(1 / left, 2),
        "accuracy": {"weights": accuracy(student, images, test), "answers": accuracy(fitted, images, test)},
        "factorize_ms": {"first": round(1e3 * first, 1), "again": round(1e3 * again, 1)},
    }


def main(data: str, checkpoint: str) -> None:
    """Every kind that splits convolutions."""
    torch.set_num_threads(1)
    task = ClassificationTask(
        name="cifar10", data=data, model="resnet20", checkpoint=checkpoint, classes=10, mean=MEAN, std=STD, limit=TEST
    )
    teacher = normalize(task.teacher(), SHAPE)
    assert teacher is not None
    images, test = to_input(task.train().images[:CALIBRATION], MEAN, STD), task.test()
    figures: dict[str, Any] = {"network": "resnet20", "images": TEST, "accuracy": accuracy(teacher, images, test)}
    networks: dict[str, nn.Module] = {"whole": teacher.eval()}
    for kind, way in KINDS.items():
        if not way.is_linear:
            networks[kind], figures[kind] = of_kind(kind, teacher, images, test)
            networks[kind].eval()
    taken = in_turn(networks, images[:TIMED])
    figures["whole_ms"] = round(1e3 * taken["whole"], 1)
    for kind in set(networks) - {"whole"}:
        figures[kind]["measured_speedup"] = round(taken["whole"] / taken[kind], 2)
    kernel = torch.randn(256, 9, 256, dtype=torch.double)
    figures["tucker2_of_256x256x3x3_s"] = round(min(seconds(partial(tucker2, kernel)) for _ in range(5)), 3)
    record("low_rank", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
