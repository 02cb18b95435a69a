"""Searchers leave the cores to the trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from autocomp.problem import Problem
from autocomp.searchers import RandomSearcher
from autocomp.space import Vectors
from autocomp.trial import Trial


def threads() -> set[int]:
    """How many torch and each BLAS use."""
    return {torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")}


class Counting(RandomSearcher):
    """Notes how many threads there are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: list[set[int]] = []

    def propose(self, trial_id: int) -> Vectors | None:
        self.seen.append(threads())
        return super().propose(trial_id)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        self.seen.append(threads())


def test_asks_and_tells_compute_on_one_thread_and_leave_the_others_as_they_were(
    toy: Callable[..., Problem], measure: Callable[..., Trial]
) -> None:
    problem, before = toy(), torch.get_num_threads()
    searcher = Counting(problem, seed=0, trials=4)
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, user_api="blas"):
            configuration = searcher.ask(0)
            searcher.tell(measure(problem, 0, configuration))
            assert searcher.seen == [{1}, {1}]
            assert threads() == {2}
    finally:
        torch.set_num_threads(before)
