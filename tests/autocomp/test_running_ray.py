"""A Ray that runs on this machine already, as `ray start` leaves it: joined where it is asked for, left alone otherwise."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import sys
from autocomp.cluster import Cluster, spread

cluster = Cluster(address=sys.argv[1] if sys.argv[1:] else None, workers=1)
with cluster.connecting() as connected:
    connected()
    import ray

    print(ray.get_runtime_context().gcs_address, *(result for _, result in spread(abs, [-2], cluster=cluster)))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, Mapping[str, str]]]:
    """The address of a Ray that was started with a token in place, and the environment that it was started in."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:  # Ray's sockets need short names
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"RAY_TMPDIR": folder, "HOME": folder}
        (Path(folder) / ".ray").mkdir()
        (Path(folder) / ".ray" / "auth_token").write_text("0" * 64)
        command = ["start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats", "--block"]
        binary = Path(sys.executable).with_name("ray")
        with subprocess.Popen([binary, *command], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as ray:
            assert ray.stdout is not None
            try:
                next(line for line in ray.stdout if "Ray runtime started" in line)
                yield f"127.0.0.1:{port}", environment
            finally:
                os.killpg(ray.pid, signal.SIGKILL)


def address_and_result(environment: Mapping[str, str], *arguments: str) -> list[str]:
    found = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


def test_it_is_joined_by_its_address_with_the_token_that_lies_there(running: tuple[str, Mapping[str, str]]) -> None:
    address, environment = running
    found, result = address_and_result(environment, address)
    assert found.rpartition(":")[2] == address.rpartition(":")[2]
    assert result == "2"


def test_without_an_address_a_run_has_a_ray_of_its_own(running: tuple[str, Mapping[str, str]]) -> None:
    address, environment = running
    found, result = address_and_result(environment)
    assert found.rpartition(":")[2] != address.rpartition(":")[2]
    assert result == "2"


@pytest.mark.parametrize("is_in_environment", [False, True])
def test_an_address_where_nobody_listens_is_said_at_once(is_in_environment: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | (
        {"RAY_ADDRESS": address} if is_in_environment else {}
    )
    command = [sys.executable, "-c", SCRIPT, *([] if is_in_environment else [address])]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)  # Ray itself takes more than 100 s
    assert f"ClusterError: No Ray cluster answers at '{address}'" in found.stderr
