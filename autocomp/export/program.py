"""The program of a compressed network (`torch.export`) with its weights, its record and its card."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.card import model_card
from autocomp.errors import AutocompError, UsageError
from autocomp.files import new_file, new_folder

PROGRAM = "model.pt2"
WEIGHTS = "weights.safetensors"
RECORD = "configuration.json"
CARD = "README.md"


def bake(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, on the CPU, whose weights are the values that its parametrizations compute.

    The copy has the plain module's weight names and computes bit for bit what the network computes.
    """
    baked = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for module in list(baked.modules()):
        # not remove_parametrizations: it takes the attribute off the class, which the copy shares with the original
        if parametrize.is_parametrized(module):
            values = {name: getattr(module, name).clone() for name in module.parametrizations}  # type: ignore[union-attr]
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return baked


def trace_program(network: nn.Module, input_shape: Sequence[int]) -> torch.export.ExportedProgram:
    """The network's graph and weights, for any batch size.

    Args:
        network: in evaluation mode.
        input_shape: of one input, without the batch axis.

    Raises:
        AutocompError: if torch cannot trace the network.
    """
    example = torch.zeros(2, *input_shape)  # two, because torch.export takes a one as fixed
    try:
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
    except Exception as error:  # torch raises many unrelated types here
        reason = str(error).strip().partition("\n")[0]
        raise AutocompError(f"An exported network must be one graph for every batch size, but torch.export stopped at: {reason}") from error
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names this machine's folders, and is a third of the graph's size
    return program


def write_model(folder: Path, network: nn.Module, record: Mapping[str, Any]) -> None:
    """Write a network and everything that is known about it; the folder appears whole or not at all.

    ``model.pt2`` is the program (`torch.export`; raw tensors and JSON, no pickled object), ``weights.safetensors`` its
    weights and buffers under the module's names, ``configuration.json`` the record and ``README.md`` the model card.

    Args:
        folder: new or empty.
        network: takes ``batch x record["input_shape"]``; is left as it was.
        record: what is known about it, see `autocomp.card`.

    Raises:
        UsageError: if the folder is not empty.
        AutocompError: if torch cannot trace the network.
    """
    baked = bake(network)
    with new_folder(folder) as part:
        torch.export.save(trace_program(baked, record["input_shape"]), part / PROGRAM)
        save_file({n: t.clone().contiguous() for n, t in baked.state_dict().items() if isinstance(t, Tensor)}, part / WEIGHTS)
        write_record(part, record)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``configuration.json`` and the model card into a model's folder, in place of those that are there."""
    texts = {RECORD: json.dumps(record, indent=2) + "\n", CARD: model_card(record)}
    for name, text in texts.items():
        with new_file(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def load_network(folder: Path) -> nn.Module:
    """The exported network, ``batch x input_shape`` in; it is always in evaluation mode and refuses ``eval()``.

    Raises:
        UsageError: if the folder has no readable ``model.pt2``.
    """
    return load_program(folder).module()


def load_program(folder: Path) -> torch.export.ExportedProgram:
    """The exported network's graph and weights.

    Raises:
        UsageError: if the folder has no readable ``model.pt2``.
    """
    path = _existing(folder, PROGRAM)
    try:
        with _without_warnings("torch.export"):  # which shows a damaged archive's traceback beside the error
            return torch.export.load(path)
    except Exception as error:  # a damaged archive shows itself as any of a dozen types
        raise UsageError(f"An exported network must be a torch.export archive, but {path} cannot be read: {error}") from error


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def read_record(folder: Path) -> dict[str, Any]:
    """What `write_model` was told about the network.

    Raises:
        UsageError: if the folder has no readable ``configuration.json``.
    """
    path = _existing(folder, RECORD)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"The record of a model must be JSON, but {path} is not: {error}") from error
    return record


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise UsageError(f"A model folder holds {PROGRAM} and {RECORD}, but there is no {path}; `autocomp pull` writes such a folder.")
    return path
