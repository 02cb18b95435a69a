"""SCALE-Sim and hwmodels side by side in one run: seconds per layer, and whether every layer takes the same cycles.

SCALE-Sim (Samajdar et al., ISPASS 2020) is installed from its package into an environment of its own, because it needs an older numpy.
Its arrays and layers below are chosen so that a run takes a few minutes; most of them are in no table of this project.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import record
from hwmodels import Workload, load_device, systolic_cycles
from hwmodels.networks import load_network, select

REQUIREMENTS = ("scalesim", "numpy<2")
CANDIDATES, REPEATS = 2_000, 5
DEVICE = "zcu102"


@dataclass(frozen=True)
class Case:
    """Layers of a network without padding on one array; SCALE-Sim knows no padding."""

    network: str
    layers: tuple[str, ...]
    rows: int
    cols: int
    dataflow: str


CASES = (
    *(Case("scalesim_alexnet", ("Conv3",), 32, 32, flow) for flow in ("os", "ws")),
    *(Case("scalesim_resnet50", ("CB5a_1", "FC6"), 32, 32, flow) for flow in ("os", "ws", "is")),
    *(Case("scalesim_resnet18", ("Conv4_s", "Conv5_s"), 16, 8, flow) for flow in ("os", "ws", "is")),
    *(Case("lenet5", ("conv1", "conv2", "fc1"), 8, 24, flow) for flow in ("os", "ws", "is")),
    *(Case("finn_cnv", ("conv1", "conv4", "conv6"), 64, 16, flow) for flow in ("os", "ws", "is")),
    *(Case("mnsim_lenet", ("conv1", "conv2", "conv3", "fc1", "fc2"), 5, 7, flow) for flow in ("os", "ws", "is")),
)

CONFIGURATION = """
[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 1024
FilterSramSzkB: 1024
OfmapSramSzkB: 1024
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {dataflow}
ReadRequestBuffer: 512
WriteRequestBuffer: 512
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""

# what runs inside SCALE-Sim's environment: start-up is not timed, the simulation is
SIMULATE = """
import time
from scalesim.scale_sim import scalesim
simulator = scalesim(save_disk_space=True, verbose=False, config="array.cfg", topology="layers.csv", layout="layout.csv")
start = time.perf_counter()
simulator.run_scale(top_path="out")
print("seconds", time.perf_counter() - start)
"""


class CannotInstallError(Exception):
    """The simulator's environment cannot be made."""


def environment(folder: Path) -> Path:
    """Python of a new environment that has SCALE-Sim.

    Raises:
        CannotInstallError: with the last line that the installer said.
    """
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CannotInstallError((done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1])
    return python


def version(python: Path) -> str:
    """Of SCALE-Sim."""
    code = "from importlib.metadata import version; print(version('scalesim'))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def simulate(python: Path, case: Case, workload: Workload, folder: Path) -> tuple[list[int], float]:
    """Compute cycles of each layer as SCALE-Sim counts them, and the seconds that it took for all."""
    folder.mkdir()
    (folder / "array.cfg").write_text(CONFIGURATION.format(rows=case.rows, cols=case.cols, dataflow=case.dataflow))
    (folder / "layout.csv").write_text("Layer,\n")
    (folder / "layers.csv").write_text(
        "\n".join(["Layer, input, input, kernel, kernel, channels, filters, stride,", *topology(workload)]) + "\n"
    )
    done = subprocess.run([str(python), "-c", SIMULATE], cwd=folder, check=True, capture_output=True, text=True)
    with (folder / "out" / "run" / "COMPUTE_REPORT.csv").open() as file:
        report = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
    cycles = [int(float(row["Total Cycles"]) - float(row["Stall Cycles"])) for row in report]
    return cycles, float(done.stdout.split()[-1])


def topology(workload: Workload) -> Iterator[str]:
    """The layers in SCALE-Sim's columns."""
    for row in workload.rows():
        yield "{name},{in_h},{in_w},{kernel_h},{kernel_w},{in_channels},{out_channels},{stride},".format(**row)


def compare(python: Path, case: Case, folder: Path) -> list[dict[str, Any]]:
    """Every layer of a case with both cycle counts."""
    workload = select(load_network(case.network), case.layers)
    theirs, seconds = simulate(python, case, workload, folder)
    sizes = workload.gemm_m, workload.gemm_k, workload.gemm_n
    ours = systolic_cycles(*sizes, rows=case.rows, cols=case.cols, dataflow=case.dataflow)
    array = {"array": f"{case.rows}x{case.cols}", "dataflow": case.dataflow, "network": case.network}
    return [
        {**array, "layer": layer, "scalesim_cycles": theirs[i], "our_cycles": int(ours[i]), "scalesim_s": round(seconds / len(theirs), 4)}
        for i, layer in enumerate(case.layers)
    ]


def seconds_per_layer(work: Callable[[], object], layers: int) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) / layers


def ours() -> dict[str, float]:
    """Seconds per layer where many channel counts of ResNet-50 are asked for at once: the cycles alone, and the whole price."""
    network = load_network("scalesim_resnet50").replace(weight_bits=8, activation_bits=8)
    kept = np.random.default_rng(0).uniform(0.25, 1.0, (CANDIDATES, 1))
    pruned = network.replace(out_channels=np.maximum((network.out_channels * kept).astype(int), 1))
    device = load_device(DEVICE)
    sizes = pruned.gemm_m, pruned.gemm_k, pruned.gemm_n
    layers = CANDIDATES * len(network.names)
    return {
        "cycles": seconds_per_layer(lambda: systolic_cycles(*sizes, rows=32, cols=32, dataflow="ws"), layers),
        "price": seconds_per_layer(lambda: device.estimate(pruned), layers),
    }


def main() -> None:
    """Time, compare and record; leave with a line where SCALE-Sim cannot be installed."""
    mine = ours()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            python = environment(Path(scratch) / "environment")
        except CannotInstallError as error:
            print(f"scalesim: skipped, SCALE-Sim cannot be installed: {error}")  # noqa: T201
            return
        rows = [row for i, case in enumerate(CASES) for row in compare(python, case, Path(scratch) / f"case{i}")]
        released = version(python)
    theirs = float(np.mean([row["scalesim_s"] for row in rows]))
    figures = {
        "scalesim": released,
        "compared": len(rows),
        "exact": sum(row["scalesim_cycles"] == row["our_cycles"] for row in rows),
        "scalesim_s_per_layer": round(theirs, 4),
        "cycles_s_per_layer": float(f"{mine['cycles']:.3g}"),
        "price_s_per_layer": float(f"{mine['price']:.3g}"),
        "times_faster_cycles": round(theirs / mine["cycles"]),
        "times_faster_price": round(theirs / mine["price"]),
        "candidates": CANDIDATES,
        "priced_on": DEVICE,
        "layers": rows,
    }
    record("scalesim", figures)


if __name__ == "__main__":
    main()
