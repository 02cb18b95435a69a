"""Reproduce: measure exported files again, and see whether they are as good as reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from autocomp.export import load_network, read_record
from autocomp.tasks import rebuild
from autocomp.tasks.base import Task
from autocomp.tasks.images import evaluate


def evaluate_folder(folder: Path, task: Task | None = None) -> dict[str, Any]:
    """Test accuracy and loss of the network in a folder that `autocomp pull` or a search wrote.

    It is computed as it was when it was reported (batch size, threads), so that on the same machine type the figures agree
    exactly.

    Args:
        folder: holds ``model.pt2`` and ``configuration.json``.
        task: brings the test data; None rebuilds the one that the record describes.

    Returns:
        ``test_accuracy`` and ``test_loss`` as measured, ``reported_test_accuracy``, ``reproduced`` and ``images``.

    Raises:
        UsageError: if the files cannot be read, or the task's data is not there.
    """
    record, network = read_record(folder), load_network(folder)
    images = (task or rebuild(record["data"])).test()
    threads = torch.get_num_threads()
    torch.set_num_threads(record["threads"])
    try:
        accuracy, loss = evaluate(network, images, mean=record["mean"], std=record["std"])
    finally:
        torch.set_num_threads(threads)
    reported = record["metrics"]["test_accuracy"]
    return {
        "test_accuracy": accuracy,
        "reported_test_accuracy": reported,
        "reproduced": accuracy == reported,
        "test_loss": loss,
        "images": len(images),
    }
