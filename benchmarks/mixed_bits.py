"""Bits of each layer of a ResNet-20 on a device whose speed follows the widths, as HAQ (Wang 2019) chooses them, against 8 bit throughout.

The device is BitFusion with 8 x 8 instead of 16 x 32 units, so that multiplying takes longer than moving data, as on HAQ's own devices;
with all its units a ResNet-20 waits for memory, and 4 bit throughout are only 1.2 times as fast as 8 bit. The search is the product's own,
with bits as the only choices. Members of the front are distilled on 16 000 images and measured once on test images.

Usage: ``python -m benchmarks.mixed_bits DATA CHECKPOINT [RUN]``: a folder of CIFAR-10's Parquet files, the weights of a ResNet-20, and
the run folder, which is made, resumed, or only read where the run has ended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from autocomp.channels import normalize
from autocomp.models import build
from autocomp.tracing import trace
from benchmarks.low_rank import SHAPE
from benchmarks.record import record
from benchmarks.searched import searched
from hwmodels import load_device

DEVICE, UNITS = "bitfusion", {"rows": 8, "cols": 8}
TRIALS, FASTER = 32, 1.9
ASKED = (
    *("--hw", DEVICE, "--task", "cifar10", "--space", "bits", "--trials", f"{TRIALS}", "--workers", "1"),
    *(f"hw.parameters.{name}={value}" for name, value in UNITS.items()),
    "objectives.energy_j.optimised=false",
    "task.validation_fraction=0.04",
    "finetune.epochs=1",
    "finetune.images_per_epoch=2000",
    "finetune.polish_epochs=8",
    "finetune.polish_members=5",
    "tracking=none",
)


def uniform(bits: int) -> float:
    """Latency with all weights and activations of one width, seconds for an image."""
    network = normalize(build("resnet20", classes=10, input_shape=SHAPE), SHAPE)
    assert network is not None
    workload = trace(network, SHAPE)
    widths = np.full(len(workload.names), bits)
    report = load_device(DEVICE, UNITS).estimate(workload.replace(weight_bits=widths, activation_bits=widths))
    return float(report.total_latency_s)


def main() -> None:
    """Search and record."""
    data, checkpoint, *rest = sys.argv[1:]
    eight = uniform(8)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(rest[0]) if rest else Path(folder) / "run"
        summary = searched(run, *ASKED, f"task.data={data}", f"task.checkpoint={checkpoint}")
    teacher = summary["teacher"]["test_accuracy"]
    fast = [member for member in summary["front"] if FASTER * member["latency_s"] <= eight]

    def row(member: dict[str, Any]) -> dict[str, float]:
        return {
            "times_faster_than_8_bit": round(eight / member["latency_s"], 2),
            "drop_points": round(100 * (teacher - member["test_accuracy"]), 2),
            "size_bytes": member["size_bytes"],
        }

    record(
        "mixed_bits",
        {
            "device": {DEVICE: UNITS},
            "uniform_times_faster_than_8_bit": {f"{bits}": round(eight / uniform(bits), 2) for bits in (4, 2)},
            "teacher_test_accuracy": round(100 * teacher, 2),
            f"most_accurate_on_validation_images_at_{FASTER}": row(max(fast, key=lambda m: float(m["accuracy"]))),
            "front": [row(member) for member in sorted(summary["front"], key=lambda m: float(m["latency_s"]))],
            "trials": summary["trials"],
            "image_passes": summary["image_passes"],
            "seed": summary["seed"],
        },
    )


if __name__ == "__main__":
    main()
