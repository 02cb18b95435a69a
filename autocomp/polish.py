"""Polish: a member of the front is trained for longer, exported, loaded back and measured once on test data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocomp.evaluate import Evaluator
from autocomp.export import load_network, write_model, write_record
from autocomp.tasks.base import ImageSet
from autocomp.tasks.images import accuracy
from autocomp.trial import Trial


@dataclass(frozen=True)
class Polished:
    """What became of one front member.

    Attributes:
        metrics: accuracy and loss on validation data, ``test_accuracy`` of the loaded export, and the paper metrics. Where the hardware
            disturbs the numbers, accuracy and loss are those on devices that no trial has met.
        fidelity: epochs of fine-tuning.
        image_passes: compute spent.
        files: the exported files, by name; bytes, because the worker may be another machine.
    """

    metrics: Mapping[str, float]
    fidelity: float
    image_passes: float
    files: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class Polisher:
    """Carries out the polish of one trial after the other.

    Attributes:
        evaluator: trains and measures.
        test: images that nothing was chosen by.
        record: what every member's `configuration.json` says alike.
    """

    evaluator: Evaluator
    test: ImageSet
    record: Mapping[str, Any]

    def __call__(self, trial: Trial) -> Polished:
        """Train again from the teacher, with the trial's own seed, for the polish's epochs."""
        evaluator = self.evaluator
        epochs = evaluator.finetune.polish_epochs
        ((trained, last),) = evaluator.run(trial.configuration, seed=trial.seed, epochs=epochs, only_last=True, other_devices=True)
        with tempfile.TemporaryDirectory(prefix="autocomp-") as scratch:
            folder = Path(scratch) / "model"
            metrics = dict(last.metrics)
            about = {**self.record, "trial": trial.id, "seed": trial.seed, "configuration": trial.configuration.flatten()}
            write_model(folder, trained, about | {"metrics": metrics})
            metrics["test_accuracy"] = accuracy(load_network(folder), self.test, mean=evaluator.mean, std=evaluator.std)
            write_record(folder, about | {"metrics": metrics})
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return Polished(metrics, last.fidelity, last.image_passes + len(self.test), files)
