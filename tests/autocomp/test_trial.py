"""Trials and their records."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autocomp.choice import Choice, Configuration
from autocomp.trial import Status, Trial


@pytest.mark.parametrize("status", Status)
def test_a_record_survives_json(status: Status) -> None:
    trial = Trial(
        id=7,
        configuration=Configuration({"conv": Choice(weight_bits=4)}),
        status=status,
        metrics={"accuracy": 0.1 + 0.2, "latency_s": 1e-300},
        fidelity=0.25,
        seed=2**31,
        reason="none",
        duration_s=1.5,
        image_passes=3e6,
        rungs=((0, 2.5, 0.1), (1 / 3, 0.1 + 0.2, 0.9)),
    )
    assert Trial.from_record(json.loads(json.dumps(trial.to_record()))) == trial


def test_a_record_of_an_earlier_version_has_no_rungs() -> None:
    record = Trial(0, Configuration({})).to_record()
    del record["rungs"]
    assert Trial.from_record(record).rungs == ()


def test_a_record_is_plain_data_whatever_measured_the_metrics() -> None:
    trial = Trial(0, Configuration({}), Status.COMPLETE, {"accuracy": np.float32(0.5)})  # type: ignore[dict-item]
    assert json.loads(json.dumps(trial.to_record()))["metrics"] == {"accuracy": 0.5}


def test_a_running_trial_has_measured_nothing() -> None:
    trial = Trial(0, Configuration({}))
    assert trial.status is Status.RUNNING
    assert not trial.metrics
