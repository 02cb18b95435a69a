"""Rank agreement: whether modelled figures order things as measured ones do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Table: TypeAlias = tuple[ArrayLike, ArrayLike]
"""Measured and modelled figures that may be ranked against each other (``n`` each): one quantity in one unit."""


def kendall_tau(tables: Iterable[Table]) -> float | None:
    """Kendall's tau-b within tables [Kendall1945]_: 1 where each is ranked alike, -1 where reversed, 0 where at random.

    ``(concordant - discordant) / sqrt(pairs untied in measured x pairs untied in modelled)``, where each of the four counts
    runs over the pairs of every table: a pair never spans two tables, because milliseconds and joules have no common rank.

    .. [Kendall1945] M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945).

    Returns:
        None where no pair differs in measured or none in modelled figures.
    """
    balance = untied_measured = untied_modelled = 0
    for measured, modelled in tables:
        first, second = _signs(measured), _signs(modelled)
        balance += int((first * second).sum())
        untied_measured += int(np.count_nonzero(first))
        untied_modelled += int(np.count_nonzero(second))
    untied = untied_measured * untied_modelled
    return balance / float(np.sqrt(untied)) if untied else None


def _signs(values: ArrayLike) -> NDArray[np.int64]:
    """Which of each two values is larger, ``n x n`` with -1, 0 and 1; both orders of a pair, which cancels in the quotient."""
    column = np.asarray(values, np.float64)
    return np.sign(column[:, None] - column[None, :]).astype(np.int64)
