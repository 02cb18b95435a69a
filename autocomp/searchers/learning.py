"""What agents learn with: small networks and a gradient step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def layered(inputs: int, outputs: int, hidden: int) -> nn.Sequential:
    """A network with two hidden layers."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One gradient step."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
