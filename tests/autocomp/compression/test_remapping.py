"""Remapping: rows go where stuck cells hurt least, and every sum stays the same."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from autocomp.compression.nonideal import Coded, Nonidealities
from autocomp.compression.remapping import placement


def test_rows_go_where_the_stuck_cells_worked_by_hand_hurt_least() -> None:
    # One filter, three rows that want levels 0, 3 and 1; the cells of the rows are stuck on, free and stuck off.
    # Wanting 3 costs nothing on the cell stuck on, wanting 0 nothing on the one stuck off; 1 takes the free cell.
    levels = torch.tensor([[0.0, 3.0, 1.0]])
    off, on = torch.tensor([[False, False, True]]), torch.tensor([[True, False, False]])
    assert placement(levels, torch.ones(1, 1), off, on, top=3, together=3).tolist() == [1, 2, 0]


def test_no_other_placement_is_better() -> None:
    generator = torch.Generator().manual_seed(0)
    levels, harm = torch.randint(0, 4, (6, 5), generator=generator).float(), torch.rand(6, 1, generator=generator)
    fate = torch.rand(6, 5, generator=generator)
    off, on = fate < 0.2, fate > 0.8

    def error(order: Tensor) -> float:
        wanted = levels[:, order]
        return float((harm * (wanted.square() * off + (wanted - 3).square() * on)).sum())

    found = error(placement(levels, harm, off, on, top=3, together=5))
    assert found == pytest.approx(min(error(torch.tensor(order)) for order in itertools.permutations(range(5))))


def test_rows_move_among_those_that_are_read_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    levels, fate = torch.randint(0, 4, (8, 10), generator=generator).float(), torch.rand(8, 10, generator=generator)
    placed = placement(levels, torch.ones(1, 1), fate < 0.3, fate > 0.7, top=3, together=4)
    assert placed.tolist() != list(range(10))
    assert [sorted(part.tolist()) for part in placed.split(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("differential", [True, False])
def test_remapping_lessens_the_error_of_stuck_cells_and_nothing_else(differential: bool) -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    code = Coded.of(weight, 8)

    def error(device: Nonidealities, remap: bool) -> float:
        planes = code.planes(device, torch.Generator().manual_seed(2), remap=remap)
        return float((code.weights(planes, device) - weight).square().mean())

    stuck = Nonidealities(cell_bits=2, differential=differential, stuck_off=0.01, stuck_on=0.01, active_rows=32)
    assert error(stuck, True) < 0.7 * error(stuck, False)
    noisy = Nonidealities(cell_bits=2, differential=differential, programming_sigma=0.05)
    assert error(noisy, True) == error(noisy, False)
