"""Repair: what can be made good without training, after a network was compressed and calibrated."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from autocomp.compression.bias_correction import correct_biases
from autocomp.compression.calibration import reestimate_batch_norm
from autocomp.compression.reconstruction import reconstruct


def repair(student: nn.Module, origin: nn.Module, images: Tensor, *, layers: bool, biases: bool, frozen: Collection[str] = ()) -> int:
    """Fit the network to what it was made from, in place.

    Args:
        student: compressed and calibrated.
        origin: what it was compressed from.
        images: normalised, ``n x c x h x w``.
        layers: fit layers to the origin's outputs, see `reconstruct`.
        biases: let biases take up the shift of mean outputs, see `correct_biases`.
        frozen: names of layers that get the origin's weights back, whatever changed them.

    Returns:
        How many images went through a network.
    """
    passes = 0
    if layers:
        passes += reconstruct(student, origin, images) + reestimate_batch_norm(student, images)
    if biases:
        passes += correct_biases(student, origin, images) + reestimate_batch_norm(student, images)
    for name in frozen:
        student.get_submodule(name).load_state_dict(origin.get_submodule(name).state_dict())
    return passes
