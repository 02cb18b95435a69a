"""ResNet-56 on CIFAR-10 at half of its MACs, the comparison of AMC (He 2018), which loses 0.9 points by pruned channels.

The search is the product's own, with accuracy as the only goal and a limit on MACs: filters may go and kernels may be split into a column
and a row, in floating point. The best network is distilled on 300 000 images, moved and mirrored, and measured once on test images.

Usage: ``python -m benchmarks.half_macs DATA CHECKPOINT [RUN]``: a folder of CIFAR-10's Parquet files, the weights of a ResNet-56, and the
run folder, which is made, resumed, or only read where the run has ended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.record import record
from benchmarks.searched import searched

TRIALS = 8
RANKS = "[1.0, 0.375, 0.3125, 0.25, 0.1875, 0.125]"  # a 3 x 3 layer has 100, 75, 62, 50, 38, 25 % of its MACs
RULES = (
    f"{{match: '*', sparsity: [0, 0.125, 0.25, 0.375, 0.5], pattern: [filter], rank: {RANKS}, factorization: [spatial]}}",
    "{position: first, sparsity: [0], rank: [1.0]}",
    "{position: last, sparsity: [0], rank: [1.0]}",
)
SETTINGS = (
    f"space.rules=[{', '.join(RULES)}]",
    "objectives.latency_s.optimised=false",
    "objectives.energy_j.optimised=false",
    "objectives.macs.limit=50%",
    "best.rule=accurate",
    "profile.images=128",
    "profile.mixtures=16",
    "profile.pairs=8",
    "task.validation_fraction=0.02",
    "finetune.epochs=1",
    "finetune.images_per_epoch=1000",
    "finetune.shift=4",
    "finetune.flip=true",
    "finetune.polish_epochs=300",
    "finetune.polish_members=1",
    "tracking=none",
)


def main() -> None:
    """Search and record."""
    data, checkpoint, *rest = sys.argv[1:]
    network = ("--task", "cifar10", "task.model=resnet56", f"task.data={data}", f"task.checkpoint={checkpoint}")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(rest[0]) if rest else Path(folder) / "run"
        summary = searched(run, *network, "--trials", f"{TRIALS}", "--workers", "1", *SETTINGS)
    teacher, best = summary["teacher"], summary["best"]
    record(
        "half_macs",
        {
            "network": "resnet56",
            "macs_share": round(best["macs"] / teacher["macs"], 3),
            "size_share": round(best["size_bytes"] / teacher["size_bytes"], 3),
            "teacher_test_accuracy": round(100 * teacher["test_accuracy"], 2),
            "test_accuracy": round(100 * best["test_accuracy"], 2),
            "drop_points": round(100 * (teacher["test_accuracy"] - best["test_accuracy"]), 2),
            "trials": summary["trials"],
            "image_passes": summary["image_passes"],
            "seed": summary["seed"],
        },
    )


if __name__ == "__main__":
    main()
