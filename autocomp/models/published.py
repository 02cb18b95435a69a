"""What a survey prints of well-known networks."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("published.csv")
SOURCE: Final = (
    "Cheng et al., Recent Advances in Efficient Computation of Deep Convolutional Neural Networks, FITEE 19(1), 2018 "
    "(arXiv:1802.00939), table 1; recalled"
)


@dataclass(frozen=True)
class Size:
    """How large a network is, and how much of that its convolutions and its fully connected layers are.

    Attributes:
        parameters: in millions.
        parameters_conv, parameters_fc: shares of the parameters in per cent.
        flops: in 1e9 multiply-accumulates, which the field calls FLOPs.
        flops_conv, flops_fc: shares of the operations in per cent.
    """

    parameters: float
    parameters_conv: float
    parameters_fc: float
    flops: float
    flops_conv: float
    flops_fc: float


@dataclass(frozen=True)
class Published:
    """One row of the survey's table.

    Attributes:
        network: as it is called there.
        model: as it is called in `autocomp.models`.
        printed: what the table says.
        note: why that is not what one counts; empty where it is.
    """

    network: str
    model: str
    printed: Size
    note: str


@cache
def published() -> tuple[Published, ...]:
    """Table 1 of the survey, see `SOURCE`."""
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(
        Published(
            network=row["network"],
            model=row["model"],
            printed=Size(**{name: float(row[name]) for name in Size.__dataclass_fields__}),
            note=row["note"],
        )
        for row in csv.DictReader(lines)
    )
