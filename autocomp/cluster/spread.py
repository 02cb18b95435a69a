"""Work that is spread over a cluster as Ray tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import ray
import torch

from autocomp.cluster.connection import Cluster

T = TypeVar("T")
R = TypeVar("R")


def spread(work: Callable[[T], R], items: Sequence[T], *, cluster: Cluster) -> Iterator[tuple[T, R | Exception]]:
    """Do the same work on every item as Ray tasks; yields each result, or what it failed with, as it arrives."""
    remote = ray.remote(num_cpus=cluster.cpus_per_trial, max_retries=1)(_single_threaded)
    shared = ray.put((work, cluster.threads))
    pending = {remote.remote(shared, item): item for item in items}
    while pending:
        (done,), _ = ray.wait(list(pending))
        item = pending.pop(done)
        try:
            yield item, ray.get(done)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            yield item, cause if isinstance(cause, Exception) else error


def _single_threaded(shared: tuple[Callable[[T], R], int], item: T) -> R:
    work, threads = shared
    torch.set_num_threads(threads)
    return work(item)
