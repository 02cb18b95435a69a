"""The layers of a network that hardware is asked about: by name or from a file."""

from __future__ import annotations

from autocomp.errors import ConfigError, UnknownNameError
from hwmodels import Workload
from hwmodels.networks import load_network, network_names, read_table

USUAL_BITS = 8
MOST = {"weight_bits": 32, "activation_bits": 32, "batch": 65_536}  # as wide as a float; as many images as 64-bit counts of MACs bear


def network_workload(model: str, *, bits: tuple[int | None, int | None] = (None, None), batch: int = 1) -> Workload:
    """The layers of a network.

    Args:
        model: path of a ``.csv`` layer table, name of a table in `hwmodels.networks`, or else of a network in `autocomp.models`
            (only for that is torch loaded).
        bits: of weights and of activations; None for the network's own, which are 8 where it says nothing about them.
        batch: images per pass.

    Raises:
        UnknownNameError: if there is neither a table nor a network of that name.
        ConfigError: if bits or batch are out of range.
        WorkloadError: if the file cannot be read or breaks a rule.
    """
    asked = {"weight_bits": bits[0], "activation_bits": bits[1], "batch": batch}
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        if not 1 <= value <= MOST[name]:
            raise ConfigError(f"`--{name.replace('_', '-')}` must be from 1 to {MOST[name]}, but is {value}.")
    return _layers(model).replace(**given)


def _layers(model: str) -> Workload:
    if model.endswith(".csv"):
        workload = read_table(model)
    elif model in network_names():
        workload = load_network(model)
    else:
        return _traced(model)
    # a column that the table does not have is stored once, for all layers
    silent = [name for name in ("weight_bits", "activation_bits") if getattr(workload, name).ndim == 0]
    return workload.replace(**dict.fromkeys(silent, USUAL_BITS))


def _traced(model: str) -> Workload:
    """A network of autocomp on images of the size that it is known for; nothing is computed with numbers."""
    import torch

    from autocomp import models
    from autocomp.tracing import trace

    if model not in models.MODELS:
        raise UnknownNameError("network", model, {*network_names(), *models.MODELS})
    shape, classes = models.usual_images(model)
    with torch.device("meta"):
        workload = trace(models.build(model, classes=classes, input_shape=shape), shape)
    return workload.replace(weight_bits=USUAL_BITS, activation_bits=USUAL_BITS)
