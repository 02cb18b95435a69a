from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import Workload
from hwmodels.crossbar_timing import Clockwork, Steps, pipelined_s

CLOCKWORK = Clockwork(read_s=10.0, conversion_s=1.0, setup_s=3.0)


def steps(reads: float, conversions: float, mux: float) -> Steps:
    one = np.ones(())
    return Steps(one, one, one, np.asarray(reads), np.asarray(conversions), np.asarray(mux))


def chain(layers: int, kernel: int = 3, edge: int = 10, **changes: object) -> Workload:
    """Convolutions with padding: a first window of one row and two pixels, 12 of 100."""
    ones, side = np.ones(layers, int), np.full(layers, edge)
    sides = {name: side for name in ("in_h", "in_w", "out_h", "out_w")}
    fields = {"in_channels": ones, "out_channels": ones, "kernel_h": ones * kernel, "kernel_w": ones * kernel} | sides
    return Workload(names=tuple(map(str, range(layers))), **(fields | changes))  # type: ignore[arg-type]


def test_conversions_hide_behind_reads_or_reads_behind_conversions() -> None:
    assert CLOCKWORK.overlapped(steps(8, 8, 4)) == 8 * 10 + 3
    assert CLOCKWORK.overlapped(steps(8, 8, 16)) == 8 * 16 + 3


def test_one_by_one_adds_them_for_each_column() -> None:
    assert CLOCKWORK.one_by_one(steps(8, 8, 4)) == 8 * 4 * 11 + 3


def test_integrated_reads_are_converted_at_the_end_of_a_phase() -> None:
    assert CLOCKWORK.integrated(steps(6, 2, 4)) == 6 * 10 + 2 * (4 + 3)


def test_one_layer_takes_its_time() -> None:
    assert pipelined_s(chain(1), np.array([5.0])) == 5


def test_a_layer_starts_with_its_first_window_and_ends_after_the_last_input() -> None:
    # windows of 12 in 100 pixels; the second layer, faster, starts at 12 and waits for the end of the first: 100 + 0.12 * 50
    assert pipelined_s(chain(2), np.array([100.0, 50.0])).tolist() == pytest.approx([100, 6])
    # a slower one starts at 12 and takes 200
    assert pipelined_s(chain(2), np.array([100.0, 200.0])).tolist() == pytest.approx([100, 112])


def test_a_linear_layer_waits_for_its_whole_input() -> None:
    assert pipelined_s(chain(2, kernel=1, edge=1), np.array([100.0, 50.0])).tolist() == [100, 50]


def test_unused_slots_do_not_break_the_chain() -> None:
    gap = pipelined_s(chain(3), np.array([100.0, 0.0, 50.0]))
    assert gap.tolist() == pytest.approx([100, 0, 6])


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8), st.integers(1, 10), st.integers(1, 4))
def test_pipelining_is_between_the_slowest_layer_and_the_sum(seconds: list[float], edge: int, batch: int) -> None:
    alone = np.array(seconds)
    total = pipelined_s(chain(len(seconds), edge=edge, batch=np.full((), batch)), alone).sum()
    assert alone.max() * (1 - 1e-12) <= total <= alone.sum() * (1 + 1e-12)


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=6), st.integers(0, 5), st.floats(1, 3))
def test_a_slower_layer_never_ends_the_pass_earlier(seconds: list[float], index: int, factor: float) -> None:
    alone = np.array(seconds)
    slower = alone.copy()
    slower[index % len(seconds)] *= factor
    work = chain(len(seconds))
    assert pipelined_s(work, slower).sum() >= pipelined_s(work, alone).sum() * (1 - 1e-12)
