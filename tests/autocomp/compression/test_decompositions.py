"""Decompositions: exact at full rank, as good as a library's, and with the errors that theory gives them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorly
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorly.decomposition import parafac, partial_tucker
from torch import Tensor

from autocomp.compression.decompositions import block_term, cp, leading, svd, tucker2
from autocomp.errors import ConfigError

sides = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 7))
seeds = st.integers(0, 1000)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def smooth(*shape: int, seed: int = 0, decay: float = 0.7) -> Tensor:
    """A tensor whose unfoldings have singular values that fall off, as those of trained kernels do."""
    tensor = drawn(*shape, seed=seed)
    for axis in (0, -1):
        size = shape[axis]
        fall = torch.arange(1, size + 1, dtype=torch.double) ** -decay
        turn = torch.linalg.qr(drawn(size, size, seed=seed + 1)).Q
        tensor = (tensor.movedim(axis, -1) @ (fall[:, None] * turn)).movedim(-1, axis)
    return tensor


def lost(approximation: Tensor, tensor: Tensor) -> float:
    """The error as a share of the tensor's norm."""
    return float((approximation - tensor).norm() / tensor.norm())


def of_cp(factors: tuple[Tensor, ...]) -> Tensor:
    return torch.einsum("cr,hr,wr,nr->chwn", *factors)


def of_tucker(factors: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.einsum("ap,pmq,qb->amb", *factors)


def of_blocks(factors: tuple[Tensor, Tensor, Tensor], blocks: int) -> Tensor:
    front, core, back = factors
    parts = zip(front.chunk(blocks, 1), core.chunk(blocks, 2), back.chunk(blocks, 0), strict=True)
    return torch.stack([of_tucker(part) for part in parts]).sum(0)


def error_of_library(kernel: Tensor, rank: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a matrix has fewer singular vectors than the rank
        weights, factors = parafac(kernel.numpy(), rank, n_iter_max=200, init="svd", tol=1e-7, random_state=0)
    return lost(torch.from_numpy(tensorly.cp_to_tensor((weights, factors))), kernel)


@settings(max_examples=50, deadline=None)
@given(sides, seeds)
@example((3, 4, 3), 542)  # where least squares lose digits
def test_every_decomposition_is_exact_at_full_rank(shape: tuple[int, int, int], seed: int) -> None:
    tensor, (a, m, b) = drawn(*shape, seed=seed), shape
    matrix = tensor.flatten(1)
    front, back = svd(matrix).at(min(matrix.shape))
    assert lost(front @ back, matrix) < 1e-6
    assert lost(of_tucker(tucker2(tensor).at(min(a, m * b), min(b, a * m))), tensor) < 1e-6
    kernel = tensor[:, :, None]
    assert lost(of_cp(cp(kernel, m * min(a, b))), kernel) < 1e-6


@settings(max_examples=30, deadline=None)
@given(sides, seeds, st.data())
def test_the_singular_value_decomposition_loses_the_tail_and_nothing_else(
    shape: tuple[int, int, int], seed: int, data: st.DataObject
) -> None:
    # Eckart and Young 1936: no matrix of rank r is nearer than sqrt(s_{r+1}^2 + ...).
    matrix = drawn(*shape, seed=seed).flatten(1)
    rank = data.draw(st.integers(1, min(matrix.shape)))
    front, back = svd(matrix).at(rank)
    tail = np.sqrt(np.square(np.linalg.svd(matrix.numpy(), compute_uv=False)[rank:]).sum())
    assert float((front @ back - matrix).norm()) == pytest.approx(tail, abs=1e-6)
    torch.testing.assert_close(front.norm(dim=0), back.norm(dim=1))  # shared evenly


@settings(max_examples=30, deadline=None)
@given(sides, seeds, st.data())
def test_a_tucker_decomposition_loses_no_more_than_the_tails_of_its_two_unfoldings(
    shape: tuple[int, int, int], seed: int, data: st.DataObject
) -> None:
    # De Lathauwer 2000, property 10: the squared error is at most the sum of the squared tails.
    tensor, (a, m, b) = drawn(*shape, seed=seed), shape
    first, last = data.draw(st.integers(1, min(a, m * b))), data.draw(st.integers(1, min(b, a * m)))
    error = float((of_tucker(tucker2(tensor).at(first, last)) - tensor).square().sum())
    tails = [np.linalg.svd(u.numpy(), compute_uv=False)[r:] for u, r in ((tensor.flatten(1), first), (tensor.flatten(0, 1), last))]
    assert error <= sum(float(np.square(tail).sum()) for tail in tails) + 1e-9


def test_tucker_of_a_tensor_of_known_ranks() -> None:
    # T[i, j, k] = (1, 2)_i (3, 4)_j (5, 12)_k: the leading directions are (1, 2) / sqrt 5 and (5, 12) / 13, so that the core holds
    # sqrt 5 * (3, 4) * 13 and the rest is zero.
    tensor = torch.einsum("i,j,k->ijk", *(torch.tensor(v, dtype=torch.double) for v in ([1, 2], [3, 4], [5, 12])))
    front, core, back = tucker2(tensor).at(1, 1)
    torch.testing.assert_close(front[:, 0].abs(), torch.tensor([1, 2], dtype=torch.double) / 5**0.5)
    torch.testing.assert_close(back[0].abs(), torch.tensor([5, 12], dtype=torch.double) / 13)
    torch.testing.assert_close(core[0, :, 0].abs(), torch.tensor([3, 4], dtype=torch.double) * 5**0.5 * 13)
    torch.testing.assert_close(of_tucker((front, core, back)), tensor)


def test_a_lower_rank_is_a_slice_of_the_full_one() -> None:
    full = tucker2(smooth(8, 9, 6))
    front, core, back = full.at(3, 2)
    assert torch.equal(front, full.front[:, :3])
    assert torch.equal(core, full.core[:3, :, :2])
    assert torch.equal(back, full.back[:2])


@pytest.mark.parametrize(("first", "last"), [(2, 2), (6, 3), (4, 9), (12, 16)])
def test_tucker_is_as_good_as_the_librarys(first: int, last: int) -> None:
    # The library goes on by orthogonal iteration; the higher-order SVD alone stays within 2 % of it.
    tensor = smooth(12, 9, 16)
    core, factors = partial_tucker(tensor.numpy(), [first, last], modes=[0, 2], n_iter_max=100, tol=1e-8)[0]
    library = lost(torch.from_numpy(tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 2])), tensor)
    assert lost(of_tucker(tucker2(tensor).at(first, last)), tensor) <= 1.02 * library + 1e-6


@pytest.mark.parametrize("rank", [1, 3, 8, 24, 48])
@pytest.mark.parametrize("shape", [(12, 3, 3, 16), (16, 3, 3, 12), (4, 5, 5, 20)])
def test_canonical_terms_are_as_good_as_the_librarys(shape: tuple[int, int, int, int], rank: int) -> None:
    # Both are local searches and stop early: ours is let end 5 % behind; mostly it ends ahead.
    rank = min(rank, shape[1] * shape[2] * min(shape[0], shape[3]))
    kernel = smooth(*shape)
    assert lost(of_cp(cp(kernel, rank)), kernel) <= 1.05 * error_of_library(kernel, rank) + 1e-6


def test_canonical_terms_that_are_there_are_found() -> None:
    factors = tuple(drawn(size, 4, seed=i) for i, size in enumerate((10, 3, 3, 12)))
    kernel = of_cp(factors)
    assert lost(of_cp(cp(kernel, 4)), kernel) < 0.02
    assert error_of_library(kernel, 4) < 0.02  # the kernel is no harder than that


def test_the_four_factors_of_a_term_have_equal_norms() -> None:
    # 2 * 3 * 4 * 6 = 144 = 3.464..^4: each factor gets the fourth root.
    kernel = torch.full((1, 1, 1, 1), 144.0, dtype=torch.double)
    assert [abs(float(factor)) for factor in cp(kernel, 1)] == pytest.approx([144**0.25] * 4)


def test_more_canonical_terms_never_lose_more_than_the_orthogonal_ones_left() -> None:
    kernel = smooth(8, 3, 3, 8)
    errors = [lost(of_cp(cp(kernel, rank)), kernel) for rank in (4, 12, 24, 48, 72)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


def test_one_block_is_a_tucker_decomposition() -> None:
    tensor = smooth(10, 9, 12)
    blocks = lost(of_blocks(block_term(tensor, 1, 4, 5), 1), tensor)
    assert blocks <= lost(of_tucker(tucker2(tensor).at(4, 5)), tensor) + 1e-9


def test_blocks_that_do_not_overlap_are_found() -> None:
    # Two blocks of ranks 3 and 2 on channels of their own: the second one is the higher-order SVD of what the first leaves.
    tensor = torch.zeros(10, 9, 8, dtype=torch.double)
    for i, size in enumerate((4.0, 1.0)):
        ins, outs = slice(5 * i, 5 * i + 5), slice(4 * i, 4 * i + 4)
        tensor[ins, :, outs] = size * of_tucker((drawn(5, 3, seed=i), drawn(3, 9, 2, seed=i + 2), drawn(2, 4, seed=i + 4)))
    assert lost(of_blocks(block_term(tensor, 2, 3, 2), 2), tensor) < 0.02


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([1, 2, 3, 4]))
def test_blocks_lose_less_the_more_there_are(seed: int, blocks: int) -> None:
    tensor = smooth(12, 4, 12, seed=seed)
    more, fewer = (lost(of_blocks(block_term(tensor, g, 2, 2), g), tensor) for g in (blocks + 1, blocks))
    assert more < fewer <= lost(of_tucker(tucker2(tensor).at(2, 2)), tensor) + 1e-9


def test_a_tensor_of_zeros_has_factors_of_zeros() -> None:
    nothing = torch.zeros(4, 3, 3, 4, dtype=torch.double)
    assert not of_cp(cp(nothing, 5)).any()
    assert not of_blocks(block_term(nothing.flatten(1, 2), 2, 2, 2), 2).any()
    front, back = svd(nothing.flatten(1)).at(2)
    assert not (front @ back).any()


def test_leading_directions_come_in_the_order_of_their_importance() -> None:
    # diag(1, 3, 2): the second axis first.
    basis = leading(torch.diag(torch.tensor([1.0, 3.0, 2.0], dtype=torch.double)))
    torch.testing.assert_close(basis.abs(), torch.eye(3, dtype=torch.double)[:, [1, 2, 0]])


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda x: svd(x.flatten(1)).at(5), "A rank must lie between 1 and the full rank 4, but is 5."),
        (lambda x: svd(x.flatten(1)).at(0), "A rank must lie between 1 and the full rank 4, but is 0."),
        (lambda x: tucker2(x).at(2, 7), "A rank must lie between 1 and the full rank 6, but is 7."),
        (lambda x: cp(x[:, :, None], 13), "A rank must lie between 1 and the full rank 12, but is 13."),
        (lambda x: block_term(x, 2, 5, 1), "A rank must lie between 1 and the full rank 4, but is 5."),
    ],
)
def test_a_rank_above_the_full_one_is_one_clear_line(compute, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as error:
        compute(drawn(4, 3, 6))
    assert str(error.value) == message
