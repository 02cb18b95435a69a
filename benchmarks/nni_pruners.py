"""Filter pruning of the digits network to a share of its MACs: autocomp against the annealing and AMC pruners of NNI 2.10.1.

All start from the same teacher and end with the same kind of training; NNI may evaluate as many configurations as the image passes
allow that a search of autocomp has, its own final training included. The best is chosen by validation images, what counts is test.

Usage: ``python -m benchmarks.nni_pruners NNI_PYTHON``, the interpreter of an environment with nni==2.10.1, tensorboard, numpy<2, torch,
safetensors, pyarrow and scikit-learn. Runs that are on record are not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from autocomp.tasks import DigitsTask, to_input
from benchmarks.record import RESULTS, machine

ROOT = Path(__file__).parents[1]
PASSES, SEEDS, TARGETS = 100_000, 3, (0.5, 0.25)
RULES = "space.rules=[{match: '*', sparsity: [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875], pattern: [filter]}]"


def prepare(folder: Path) -> None:
    """Images, labels, the teacher and its answers, for NNI."""
    task = DigitsTask()
    network = task.teacher().eval()
    arrays: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        images = getattr(task, part)()
        arrays[f"{part}_images"] = to_input(images.images, task.mean, task.std).contiguous().numpy()
        arrays[f"{part}_labels"] = images.labels.copy()
    with torch.inference_mode():
        arrays["train_logits"] = network(torch.from_numpy(arrays["train_images"])).numpy()
    np.savez(folder / "data.npz", **arrays)
    save_file(network.state_dict(), folder / "teacher.safetensors")


def by_nni(python: str, folder: Path, kind: str, target: float, seed: int) -> dict[str, Any]:
    """What a pruner of NNI finds."""
    command = [python, "-m", "benchmarks.nni_side", str(folder), kind, str(target), str(PASSES), str(seed)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def by_autocomp(searcher: str, target: float, seed: int, folder: Path) -> dict[str, Any]:
    """What a search finds whose one goal is accuracy within the MACs."""
    settings = [
        RULES,
        f"objectives.macs.limit={target:.0%}",
        "objectives.macs.optimised=true",
        "objectives.latency_s.optimised=false",
        "objectives.energy_j.optimised=false",
        "best.rule=accurate",
        "tracking=none",
    ]
    out = folder / f"{searcher}-{target}-{seed}"
    options = ["--searcher", searcher, "--seed", str(seed), "--budget", f"{PASSES}img", "--workers", "1", "--out", str(out), "-q"]
    subprocess.run([sys.executable, "-m", "autocomp.cli", "search", *options, *settings], check=True)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    best, teacher = summary["best"], summary["teacher"]
    return {
        "macs": round(best["macs"] / teacher["macs"], 4),
        "validation": best["accuracy"],
        "test": best["test_accuracy"],
        "image_passes": summary["image_passes"],
    }


def main(python: str) -> None:
    """Run what is missing and write it down."""
    path = RESULTS / "nni_pruners.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"figures": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder)
        for target in TARGETS:
            for seed in range(SEEDS):
                for name in ("autocomp annealing", "autocomp rl", "NNI annealing", "NNI amc"):
                    rows = found["figures"].setdefault(f"{target:.0%}", {}).setdefault(name, {})
                    if str(seed) in rows:
                        continue
                    side, kind = name.split()
                    ours = side == "autocomp"
                    rows[str(seed)] = by_autocomp(kind, target, seed, folder) if ours else by_nni(python, folder, kind, target, seed)
                    found |= {"image_passes": PASSES, "machine": machine()}
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                    print(target, name, seed, rows[str(seed)], flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
