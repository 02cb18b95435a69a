"""Worker: an actor that carries out trials for Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray import tune

from autocomp.evaluate import Evaluator
from autocomp.trial import Trial


class Worker(tune.Trainable):  # type: ignore[misc]
    """One actor; carries out one trial after the other. A step is one measurement."""

    def setup(
        self, config: Mapping[str, Any], evaluator: Evaluator | None = None, threads: int = 1, levels: tuple[float, ...] = ()
    ) -> None:
        """Once, with what Tune hands to every actor."""
        torch.set_num_threads(threads)
        self.evaluator, self.levels = evaluator, levels
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next trial; the actor can always be used again."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        trial = Trial.from_record(config["trial"])
        assert self.evaluator is not None
        self.steps = self.evaluator.run(trial.configuration, seed=trial.seed, levels=self.levels)
        self.rungs: list[tuple[float, float, float]] = []

    def step(self) -> dict[str, Any]:
        """Train up to the next level and measure."""
        try:
            _, measured = next(self.steps)
        except Exception as error:  # a failing trial must not take its actor along
            return {"failure": f"{type(error).__name__}: {error}".splitlines()[0], tune.result.DONE: True}
        self.rungs.append((measured.fidelity, measured.metrics["loss"], measured.metrics["accuracy"]))
        return {
            "metrics": dict(measured.metrics),
            "rungs": list(self.rungs),
            "fidelity": measured.fidelity,
            "image_passes": measured.image_passes,
            "duration_s": measured.duration_s,
            "is_last": measured.is_last,
            tune.result.DONE: measured.is_last,
        }
