from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from autocomp.choice import Choice, Configuration
from autocomp.space import Knob, SearchSpace
from autocomp.tables import trial_table, write_table
from autocomp.trial import Status, Trial

SPACE = SearchSpace(
    ("a", "b"),
    (Knob("a", "sparsity", (0.0, 0.5)), Knob("a", "pattern", ("fine",)), Knob("b", "weight_bits", (8, 4))),
)
DONE = Trial(
    0, Configuration({"a": Choice(0.5, "fine"), "b": Choice(weight_bits=4)}), Status.COMPLETE, {"accuracy": 0.9, "latency_s": 1e-6}, 2.0, 11
)
FAILED = Trial(1, Configuration({}), Status.FAILED, seed=12, reason="boom")


def test_the_columns_are_those_that_others_script_against(tmp_path: Path) -> None:
    write_table(trial_table([DONE, FAILED], SPACE, {0}), tmp_path / "trials.parquet")
    table = pq.read_table(tmp_path / "trials.parquet")
    contract = (
        "trial_id status reason fidelity seed accuracy loss latency_s energy_j size_bytes macs params on_front "
        "choice/a/sparsity choice/a/pattern choice/b/weight_bits"
    )
    assert set(contract.split()) <= set(table.column_names)
    first, second = table.to_pylist()
    assert (first["trial_id"], first["status"], first["accuracy"], first["on_front"]) == (0, "COMPLETE", 0.9, True)
    assert (first["choice/a/sparsity"], first["choice/a/pattern"], first["choice/b/weight_bits"]) == (0.5, "fine", 4)
    assert (second["status"], second["reason"], second["accuracy"], second["on_front"]) == ("FAILED", "boom", None, False)
    assert (second["choice/a/sparsity"], second["choice/a/pattern"], second["choice/b/weight_bits"]) == (0.0, "none", 32)


def test_more_metrics_of_some_trials_become_columns() -> None:
    rows = trial_table([DONE, FAILED], SPACE, set(), {0: {"test_accuracy": 0.8}}).to_pylist()
    assert [row["test_accuracy"] for row in rows] == [0.8, None]


@pytest.mark.parametrize("metric", ["accuracy_std", "area_mm2"])
def test_what_only_some_devices_have_is_a_column_where_there_is_one(metric: str) -> None:
    assert metric not in trial_table([DONE, FAILED], SPACE, set()).column_names
    there = replace(DONE, metrics={"accuracy": 0.9, metric: 0.02})
    rows = trial_table([there, FAILED], SPACE, set()).to_pylist()
    assert [row[metric] for row in rows] == [0.02, None]


def test_no_trials_make_a_table_with_typed_columns() -> None:
    table = trial_table([], SPACE, set())
    assert table.num_rows == 0
    assert str(table.schema.field("choice/b/weight_bits").type) == "int64"


def test_a_shared_choice_has_a_column_for_every_layer() -> None:
    space = SearchSpace(("a", "b"), (Knob("a", "weight_bits", (8, 4), ("b",)),))
    four = Configuration({"a": Choice(weight_bits=4), "b": Choice(weight_bits=4)})
    (row,) = trial_table([Trial(0, four, Status.COMPLETE)], space, set()).to_pylist()
    assert (row["choice/a/weight_bits"], row["choice/b/weight_bits"]) == (4, 4)
