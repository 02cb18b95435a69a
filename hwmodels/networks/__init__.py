"""Networks as layer tables: one CSV file each, read when it is asked for, so that no deep-learning library is needed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from hwmodels.errors import WorkloadError
from hwmodels.networks.table import description_of, read_table
from hwmodels.workload import Workload

__all__ = ["load_network", "network_description", "network_names", "read_table", "select"]

_FOLDER: Final = Path(__file__).parent


def network_names() -> tuple[str, ...]:
    """Names of the shipped networks, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.csv")))


@cache
def load_network(name: str) -> Workload:
    """The layers of a shipped network, one image, 32-bit and dense where the table says nothing else (``l``).

    The table is read once; the workload is immutable, so that callers share it. Batch, bits and densities are set with
    ``replace``.

    Raises:
        WorkloadError: if there is no such network.
    """
    workload = read_table(_path(name))
    for array in workload.arrays().values():
        array.setflags(write=False)
    return workload


def network_description(name: str) -> str:
    """One line about a shipped network: what it is and where its shapes come from.

    Raises:
        WorkloadError: if there is no such network.
    """
    return description_of(_path(name))


def select(workload: Workload, names: Iterable[str]) -> Workload:
    """Some layers of a workload, in the order that they are asked for; leading axes are kept.

    Raises:
        WorkloadError: if the workload has no such layer.
    """
    wanted = tuple(names)
    for name in wanted:
        if name not in workload.names:
            raise WorkloadError(f"No layer is called '{name}'{_did_you_mean(name, workload.names)}; there are {', '.join(workload.names)}.")
    index = np.array([workload.names.index(name) for name in wanted], np.intp)
    per_layer = {field: array[..., index] for field, array in workload.arrays().items() if array.ndim and array.shape[-1] != 1}
    return workload.replace(names=wanted, **per_layer)


def _path(name: str) -> Path:
    names = network_names()
    if name not in names:
        raise WorkloadError(f"No network is called '{name}'{_did_you_mean(name, names)}; there are {', '.join(names)}.")
    return _FOLDER / f"{name}.csv"


def _did_you_mean(word: str, options: Iterable[str]) -> str:
    close = get_close_matches(word, list(options), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
