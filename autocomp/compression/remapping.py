"""Remapping: rows of weights change places in a crossbar, so that stuck cells meet those that they hurt least.

Which cell is stuck is known once a chip has been tested. Placing rows is an assignment problem, as in Chen et al., "Accelerator-friendly
neural-network training: learning variations and defects in RRAM crossbar" (DATE 2017), who match weights and cells the same way. Rows
move among those that are read at once, with their inputs; every sum stays the same sum.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def placement(levels: Tensor, harm: Tensor, stuck_off: Tensor, stuck_on: Tensor, *, top: int, together: int) -> Tensor:
    """Which row of weights goes to each row of cells (``k``), at the least squared error that stuck cells make.

    Args:
        levels: that the rows want, 0 to ``top``, ``... x k``.
        harm: of one level's error, squared; broadcasts with the levels.
        stuck_off: cells that are stuck at level 0, as they lie in the crossbar, ``... x k``.
        stuck_on: those that are stuck at the highest level.
        top: the highest level.
        together: rows that are read at once; they change places among each other.
    """
    if_off, if_on = (harm * levels.square()).flatten(0, -2), (harm * (levels - top).square()).flatten(0, -2)
    off, on = stuck_off.flatten(0, -2).to(levels.dtype), stuck_on.flatten(0, -2).to(levels.dtype)
    placed = torch.arange(levels.shape[-1])
    for rows in placed.clone().split(together):  # type: ignore[no-untyped-call]
        error = if_off[:, rows].T @ off[:, rows] + if_on[:, rows].T @ on[:, rows]
        weights, cells = linear_sum_assignment(error.numpy())
        placed[rows[torch.from_numpy(cells)]] = rows[torch.from_numpy(weights)]
    return placed
