"""Cluster: where trials run."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray

from autocomp.errors import ClusterError

PATIENCE_S = 5.0  # until a machine answers


@dataclass(frozen=True)
class Cluster:
    """Where trials run.

    Attributes:
        address: of a running Ray, ``auto`` to find one; None starts one on this machine for as long as the run lasts.
        cpus_per_trial: what each trial takes; a fraction shares a core.
        workers: trials at a time; None for as many as there is room for.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    workers: int | None = None

    @contextlib.contextmanager
    def connecting(self) -> Iterator[Callable[[], int]]:
        """A connection to Ray for the length of a block, made in the background: a start takes seconds.

        Gives a function that waits for the connection and returns the number of trials that run at a time. It raises a
        ClusterError if there is no cluster at the address, or it has no room for a single trial.
        """
        was_there = ray.is_initialized()
        # the starting thread lives as long as the connection: Ray's processes end with the thread that made them
        with ThreadPoolExecutor(1) as starter:
            connection = starter.submit(self._connect) if not was_there else None
            try:
                yield lambda: self._workers(connection)
            finally:
                if connection:
                    connection.exception()
                    ray.shutdown()

    def _connect(self) -> None:
        address, size = self.address or os.environ.get("RAY_ADDRESS"), dict[str, Any]()
        if not address:
            cpus = self.workers * self.cpus_per_trial if self.workers else os.cpu_count() or 1
            # without an address, Ray would join one that someone else runs on this machine
            address, size = "local", {"num_cpus": max(cpus, 1), "include_dashboard": False}
        try:
            _reach(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **size)
        except ConnectionError as error:
            raise ClusterError(
                f"No Ray cluster answers at '{address}'; start one, name none (cluster.address=null, no RAY_ADDRESS), or, where it asks "
                f"for a token, put that into RAY_AUTH_TOKEN. ({error})"
            ) from error

    def _workers(self, connection: Future[None] | None) -> int:
        if connection:
            connection.result()
        free = ray.available_resources().get("CPU", 0.0)
        room = free / self.cpus_per_trial
        if room < 1:
            raise ClusterError(
                f"A trial needs {self.cpus_per_trial:g} CPUs, but {free:g} CPUs are free on the cluster; "
                "wait for it, add nodes or lower cluster.cpus_per_trial."
            )
        return min(int(room), self.workers or int(room))

    @property
    def threads(self) -> int:
        """Of torch, in each trial."""
        return max(int(self.cpus_per_trial), 1)

    @property
    def resources(self) -> dict[str, float]:
        """What one trial takes, in Ray's words."""
        return {"cpu": self.cpus_per_trial}


def _reach(address: str) -> None:
    """Raise a ConnectionError if nobody listens at a host and port; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S).close()
        except OSError as error:
            raise ConnectionError(error) from error
