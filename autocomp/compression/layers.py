"""Where a layer's weights are after earlier methods have split it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import nn

from autocomp.tracing import LAYERS
from hwmodels import Workload

Layer = nn.Conv2d | nn.Linear


def weight_layers(model: nn.Module, name: str) -> list[Layer]:
    """The convolutions or linear layers that carry out one layer of the teacher: itself, or its factors in order."""
    return [part for part in model.get_submodule(name).modules() if isinstance(part, LAYERS)]


@lru_cache
def _owners(slots: tuple[str, ...], layers: tuple[str, ...]) -> NDArray[np.int64]:
    place = {layer: i for i, layer in enumerate(layers)}
    return np.array([place[slot] if slot in place else place[slot.rpartition(".")[0]] for slot in slots], np.int64)


def owners(workload: Workload, layers: Sequence[str]) -> NDArray[np.int64]:
    """Which layer of the teacher each slot belongs to; the factors of ``conv`` are ``conv.0``, ``conv.1``."""
    return _owners(workload.names, tuple(layers))
