"""Weights from a file into a network, and as arrays."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autocomp.errors import CheckpointError

logger = logging.getLogger(__name__)

SHOWN = 3
"""Names of weights that a message lists; more do not help to see what is wrong."""


def arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """The weights of a network on the CPU and what else it keeps, by name, sharing memory."""
    return {name: value.numpy() for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Fill ``model`` with the weights of a safetensors file.

    Raises:
        CheckpointError: the file is missing or is no safetensors file, or its names or shapes are not the network's.
    """
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint '{path}'.") from None
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"A checkpoint must be a readable safetensors file, but '{path}' is not: {reason}. No pickle is ever opened here; "
            "write its state dictionary with `safetensors.torch.save_file`."
        ) from None
    own = model.state_dict()
    problems = {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} ({_shape(weights[name].shape)}, not {_shape(own[name].shape)})"
            for name in own
            if name in weights and weights[name].shape != own[name].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{kind}: {_first(names)}" for kind, names in problems.items() if names)
        raise CheckpointError(f"Checkpoint '{path}' does not fit {type(model).__name__}: {found}. Choose the network it was saved from.")
    model.load_state_dict(weights)


def restored(model: nn.Module, path: Path) -> bool:
    """Fill ``model`` from an entry of the cache, if there is one; of a damaged one is warned, and it counts as none."""
    if not path.exists():
        return False
    try:
        load_checkpoint(model, path)
    except CheckpointError as error:
        logger.warning("A cached network is damaged and is trained again: %s", error)
        return False
    return True


def _shape(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes)) or "scalar"


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
