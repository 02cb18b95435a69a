"""Filter pruning to a share of the MACs: autocomp against the annealing and AMC pruners of NNI 2.10.1.

All start from the same teacher and end with the same kind of training; NNI may evaluate as many configurations as the image passes
allow that a search of autocomp has, its own final training included. The best is chosen by validation images, what counts is test.

Usage: ``python -m benchmarks.nni_pruners NNI_PYTHON PROBLEM [NAME ...]``: the interpreter of an environment with nni==2.10.1, tensorboard,
numpy<2, setuptools<70, torch, safetensors, pyarrow and scikit-learn; ``digits`` or ``cifar10``; what to run, such as ``"NNI annealing"``,
or everything. Runs that are on record are not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from autocomp.cli.building import build
from autocomp.cli.composing import ConfigTree
from autocomp.tasks import to_input
from benchmarks.record import RESULTS, machine

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SEEDS, BATCH = 3, 1000  # images that are shown at once, about
NAMES = ("autocomp annealing", "autocomp rl", "NNI annealing", "NNI amc")
RULES = "space.rules=[{match: '*', sparsity: [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875], pattern: [filter]}]"


@dataclass(frozen=True)
class Problem:
    """A network to prune.

    Attributes:
        settings: of autocomp's search, its task among them.
        target: share of the MACs that may be left.
        passes: image passes in all.
        epochs: of the final training.
        images: that are drawn for each of them; None for all.
    """

    settings: tuple[str, ...]
    target: float
    passes: int
    epochs: int
    images: int | None


PROBLEMS = {
    "digits": Problem(("task=digits",), 0.5, 100_000, 8, None),
    "cifar10": Problem(
        (
            "task=cifar10",
            f"task.data={DATA / 'cifar10'}",
            f"task.checkpoint={DATA / 'checkpoints' / 'resnet20_cifar10.safetensors'}",
            "task.validation_fraction=0.02",
            "profile.images=64",
            "finetune.epochs=1",
        ),
        0.5,
        150_000,
        16,
        1000,
    ),
}


def prepare(folder: Path, problem: Problem) -> None:
    """Images, labels, the teacher and its answers, for NNI."""
    task = build(ConfigTree().compose(problem.settings), "task")
    network = task.teacher().eval()
    arrays: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        images = getattr(task, part)()
        arrays[f"{part}_images"] = to_input(images.images, task.mean, task.std).contiguous().numpy()
        arrays[f"{part}_labels"] = images.labels.copy()
    batches = np.array_split(arrays["train_images"], len(arrays["train_images"]) // BATCH)
    with torch.inference_mode():
        arrays["train_logits"] = torch.cat([network(torch.from_numpy(some)) for some in batches]).numpy()
    np.savez(folder / "data.npz", **arrays)
    save_file(network.state_dict(), folder / "teacher.safetensors", {"model": task.model})


def by_nni(python: str, folder: Path, kind: str, problem: Problem, seed: int) -> dict[str, Any]:
    """What a pruner of NNI finds."""
    numbers = [f"{number}" for number in (problem.target, problem.passes, problem.epochs, problem.images or 0, seed)]
    command = [python, "-m", "benchmarks.nni_side", str(folder), kind, *numbers]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def by_autocomp(searcher: str, folder: Path, problem: Problem, seed: int) -> dict[str, Any]:
    """What a search finds whose one goal is accuracy within the MACs."""
    settings = [
        *problem.settings,
        RULES,
        f"objectives.macs.limit={problem.target:.0%}",
        "objectives.macs.optimised=true",
        "objectives.latency_s.optimised=false",
        "objectives.energy_j.optimised=false",
        f"finetune.polish_epochs={problem.epochs}",
        f"finetune.images_per_epoch={problem.images or 'null'}",
        "best.rule=accurate",
        "tracking=none",
    ]
    out = folder / f"{searcher}-{seed}"
    options = ["--searcher", searcher, "--seed", str(seed), "--budget", f"{problem.passes}img", "--workers", "1", "--out", str(out), "-q"]
    subprocess.run([sys.executable, "-m", "autocomp.cli", "search", *options, *settings], check=True)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    best, teacher = summary["best"], summary["teacher"]
    return {
        "macs": round(best["macs"] / teacher["macs"], 4),
        "validation": best["accuracy"],
        "test": best["test_accuracy"],
        "image_passes": summary["image_passes"],
    }


def main(python: str, name: str, chosen: Sequence[str]) -> None:
    """Run what is missing and write it down."""
    path = RESULTS / "nni_pruners.json"
    problem = PROBLEMS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, problem)
        for seed in range(SEEDS):
            for method in chosen or NAMES:
                found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"figures": {}}
                rows = found["figures"].setdefault(name, {}).setdefault(method, {})
                if str(seed) in rows:
                    continue
                side, kind = method.split()
                rows[str(seed)] = (
                    by_autocomp(kind, folder, problem, seed) if side == "autocomp" else by_nni(python, folder, kind, problem, seed)
                )
                path.write_text(json.dumps(found | {"machine": machine()}, indent=1) + "\n", encoding="utf-8")
                print(name, method, seed, rows[str(seed)], flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
