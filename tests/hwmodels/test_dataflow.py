from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import HardwareError, systolic_cycles
from hwmodels.dataflow import DATAFLOWS, fold_counts, product_cycles
from hwmodels.networks import load_network

ROWS_FILE = Path(__file__).parents[2] / "hwmodels" / "published" / "scalesim_cycles.csv"

# Printed by SCALE-Sim 3.0.0 (Samajdar et al., ISPASS 2020) on a 32x32 array: dataflow, m, k, n, cycles.
SCALESIM = (
    ("is", 3025, 363, 96, 216599),  # alexnet Conv1
    ("os", 3025, 363, 96, 121124),
    ("ws", 3025, 363, 96, 112283),
    ("ws", 121, 3456, 384, 278639),  # alexnet Conv4
    ("os", 121, 2304, 384, 113567),  # alexnet Conv3
    ("is", 12100, 147, 64, 299409),  # resnet18 Conv1
    ("os", 841, 64, 128, 13607),  # resnet18 Conv3_s
    ("ws", 25, 4608, 512, 274175),  # resnet18 Conv5_1b
    ("is", 1, 512, 1000, 17503),  # resnet18 FC
    ("os", 1, 512, 1000, 18367),
    ("ws", 1, 512, 1000, 48639),
)
sizes = st.integers(1, 5000)


def test_one_weight_stationary_fold_by_hand() -> None:
    # 4 rows load (4), m = 10 pixels stream through 4 + 3 - 1 skewed stages and 4 more drain: 2*4 + 3 + 10 - 2 = 19 cycles, last index 18
    assert systolic_cycles(10, 4, 3, rows=4, cols=3, dataflow="ws") == 18


def test_two_by_two_output_stationary_folds_by_hand() -> None:
    # ceil(5/4) * ceil(4/3) = 4 folds of 4 + 3 + 7 - 2 = 12 cycles
    assert systolic_cycles(5, 7, 4, rows=4, cols=3, dataflow="os") == 47


def test_input_stationary_folds_by_hand() -> None:
    # ceil(9/4) * ceil(5/3) = 6 folds of 2*4 + 3 + 2 - 2 = 11 cycles
    assert systolic_cycles(5, 9, 2, rows=4, cols=3, dataflow="is") == 65


@pytest.mark.parametrize(("dataflow", "m", "k", "n", "cycles"), SCALESIM)
def test_cycles_equal_scalesim(dataflow: str, m: int, k: int, n: int, cycles: int) -> None:
    assert systolic_cycles(m, k, n, rows=32, cols=32, dataflow=dataflow) == cycles


def test_cycles_equal_every_row_of_the_scalesim_table() -> None:
    with ROWS_FILE.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) > 70
    for dataflow in DATAFLOWS:
        rows = [row for row in table if row["dataflow"] == dataflow]
        m, k, n, expected = (np.array([int(row[column]) for row in rows]) for column in ("gemm_m", "gemm_k", "gemm_n", "cycles"))
        np.testing.assert_array_equal(systolic_cycles(m, k, n, rows=32, cols=32, dataflow=dataflow), expected)


def test_array_sizes_broadcast_against_layers() -> None:
    rows, cols = np.array([[4], [8]]), np.array([[3], [5]])
    cycles = systolic_cycles(np.array([10, 20]), 9, 7, rows=rows, cols=cols, dataflow="ws")
    alone = [[int(systolic_cycles(m, 9, 7, rows=r, cols=c, dataflow="ws")) for m in (10, 20)] for r, c in ((4, 3), (8, 5))]
    assert cycles.tolist() == alone


@pytest.mark.parametrize(
    ("network", "dataflow", "cycles"),
    [  # printed by SCALE-Sim 3.0.0 for whole networks, 32x32
        ("scalesim_alexnet", "is", 1158205),
        ("scalesim_alexnet", "ws", 1136239),
        ("scalesim_resnet18", "os", 1718353),
        ("scalesim_resnet50", "os", 4434168),
        ("scalesim_resnet50", "ws", 5753486),
    ],
)
def test_cycles_of_whole_networks_equal_scalesim(network: str, dataflow: str, cycles: int) -> None:
    work = load_network(network)
    assert systolic_cycles(work.gemm_m, work.gemm_k, work.gemm_n, rows=32, cols=32, dataflow=dataflow).sum() == cycles


def test_sizes_broadcast_and_cycles_are_integers() -> None:
    cycles = systolic_cycles(np.arange(1, 4)[:, None], np.array([8, 16]), 4, rows=4, cols=4, dataflow="os")
    assert cycles.shape == (3, 2)
    assert cycles.dtype == np.int64


def test_an_empty_product_takes_no_cycles() -> None:
    for dataflow in DATAFLOWS:
        assert systolic_cycles(0, 0, 0, rows=4, cols=4, dataflow=dataflow) == 0


@given(m=sizes, k=sizes, n=sizes, rows=st.integers(1, 64), cols=st.integers(1, 64), dataflow=st.sampled_from(sorted(DATAFLOWS)))
def test_the_array_never_computes_faster_than_its_macs_allow(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> None:
    cycles = systolic_cycles(m, k, n, rows=rows, cols=cols, dataflow=dataflow)
    assert (cycles + 1) * rows * cols >= m * k * n


@given(m=sizes, k=sizes, n=sizes, rows=st.integers(1, 64), cols=st.integers(1, 64), dataflow=st.sampled_from(sorted(DATAFLOWS)))
def test_a_double_buffer_is_never_slower(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> None:
    shape = (np.float64(m), np.float64(k), np.float64(n))
    flow = DATAFLOWS[dataflow]
    plain, double = (product_cycles(shape, flow, rows=rows, cols=cols, double_buffer=double) for double in (False, True))  # type: ignore[arg-type]
    assert double <= plain + rows  # a stream shorter than the array still waits for the next load


def test_operands_are_touched_once_per_fold_of_the_dimension_that_they_lack() -> None:
    shape = (np.array(10.0), np.array(20.0), np.array(30.0))
    along_m, along_k, along_n = fold_counts(shape, DATAFLOWS["ws"], rows=8, cols=8)
    assert [float(f) for f in (along_m, along_k, along_n)] == [1, 3, 4]  # weights stay; ceil(20/8) partial sums; inputs once per ceil(30/8)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"dataflow": "rs"}, "ws, os, is, but is 'rs'"), ({"rows": 0}, "rows=0"), ({"m": -1}, "must not be negative")],
)
def test_bad_arguments_are_refused(change: dict[str, object], said: str) -> None:
    arguments: dict[str, object] = {"m": 1, "k": 1, "n": 1, "rows": 2, "cols": 2, "dataflow": "ws"}
    with pytest.raises(HardwareError, match=said):
        systolic_cycles(**(arguments | change))  # type: ignore[arg-type]
