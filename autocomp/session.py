"""Session: the trials of one run, as they are asked for and as they end; knows nothing of where they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autocomp.budget import Ledger
from autocomp.choice import Configuration
from autocomp.journal import JOURNAL, Journal
from autocomp.pareto import ParetoFront, covering, points, ranks
from autocomp.problem import Problem
from autocomp.progress import Progress
from autocomp.searchers.base import Searcher
from autocomp.trial import Status, Trial

STATE = "searcher.pt"


class Session:
    """Hands out trials and takes them back; everything is on disk before the run goes on.

    A searcher that raises does not end the run: the failure is noted and the fallback proposes instead.

    Args:
        problem: the question.
        searcher: proposes.
        fallback: proposes where the searcher fails.
        folder: of the run.
        total: trials to be run, at most where there is a budget.
        seed: of the run; every trial draws its own from it.
        progress: who watches.
        on_end: called with each trial that ended.
        ledger: of the budget; None where trials alone count.
        known: trials of earlier runs, measured and priced as here, with numbers below 0; the searcher learns from them.
        proposals: configurations that are tried before the searcher is asked.
    """

    def __init__(
        self,
        problem: Problem,
        searcher: Searcher,
        *,
        fallback: Searcher,
        folder: Path,
        total: int,
        seed: int,
        progress: Progress,
        on_end: Callable[[Trial], None],
        ledger: Ledger | None = None,
        known: Sequence[Trial] = (),
        proposals: Sequence[Configuration] = (),
    ) -> None:
        self.problem, self.searcher, self.fallback = problem, searcher, fallback
        self.journal, self.state_file = Journal(folder / JOURNAL), folder / STATE
        self.total, self.seed, self.progress, self.on_end = total, seed, progress, on_end
        self.ledger, self.known, self.proposals = ledger, tuple(known), tuple(proposals)
        self.trials: dict[int, Trial] = {}
        self.front = ParetoFront(problem.objectives)
        self._waiting: deque[Trial] = deque()
        self._noted: set[str] = set()

    @property
    def ended(self) -> list[Trial]:
        """The trials that are over, by number."""
        return [trial for trial in self.trials.values() if trial.status is not Status.RUNNING]

    @property
    def remaining(self) -> int:
        """Trials still to be run, those that an interruption cut off included; at most, where there is a budget."""
        if self.ledger and not self.ledger.has_room:
            return 0
        return max(self.total - len(self.ended), 0)

    def finalists(self, least: int, most: int | None = None) -> list[Trial]:
        """The front, and behind it the next ranks until there are ``least``: longer training may change who is ahead.

        Where the front alone has more than ``most``, those of it that together cover most of its hypervolume.
        """
        limits = self.problem.objectives
        fit = [t for t in self.ended if t.status is Status.COMPLETE and all(o.is_met(t.metrics) for o in limits)]
        rank = ranks(points([t.metrics for t in fit], self.problem.goals))
        on_front = {trial.id for trial in self.front.trials}
        chosen = sorted(fit, key=lambda t: (t.id not in on_front, rank[fit.index(t)], t.id))
        chosen = chosen[: max(least, len(on_front))]
        if most is None or len(chosen) <= most:
            return chosen
        if most >= len(on_front):
            return chosen[:most]
        values, corner = (points(m, self.problem.goals) for m in ([t.metrics for t in chosen], [self.problem.reference_point]))
        return [chosen[i] for i in covering(values, corner[0], most)]

    def warm_up(self, told: Collection[int] = ()) -> None:
        """Tell the searchers what earlier runs found; the searcher without those trials that it was told already."""
        for trial in self.known:
            self.fallback.tell(trial)
            if trial.id not in told:
                self._guard("tell", self.searcher.tell, trial)

    def restore(self) -> None:
        """Take up an earlier part of the run: what ended is kept, what was running is run again, first."""
        told = self._restore_searcher()
        self.warm_up(told)
        if self.ledger:
            self.ledger.restore(self.journal.trials())
        for trial in self.journal.trials():
            self.trials[trial.id] = trial
            if trial.status is Status.RUNNING:
                self._waiting.append(trial)
                continue
            self.front.add(trial)
            for searcher in (self.fallback, self.searcher):
                if searcher is self.fallback or trial.id not in told:
                    self._guard("tell", searcher.tell, trial)

    def _restore_searcher(self) -> set[int]:
        """Load the searcher's state; returns which trials it knows of."""
        try:
            saved = torch.load(self.state_file, weights_only=True)
            self.searcher.load_state_dict(saved["state"])
        except FileNotFoundError:
            return set()
        except Exception as error:  # a damaged file shows itself as any of a dozen types
            self.progress.note(f"the searcher starts afresh from the finished trials, because its state cannot be read: {error}")
            return set()
        return set(saved["told"])

    def next(self) -> Trial | None:
        """The next trial to run; None when the searcher has nothing more, or none would end within the budget."""
        if self.ledger and not self.ledger.has_room:
            return None
        if self._waiting:
            trial = self._waiting.popleft()
        else:
            number = max(self.trials, default=-1) + 1
            configuration = self._configuration(number)
            if configuration is None:
                return None
            trial = Trial(number, configuration, seed=_seed(self.seed, number))
            self.trials[number] = trial
            self.journal.append(trial)
            self._save_searcher()
        if self.ledger:
            self.ledger.begin()
        self.progress.started(trial)
        return trial

    def _configuration(self, number: int) -> Configuration | None:
        """What the numbered trial shall try: the next proposal, or what the searcher says."""
        tried = {trial.configuration for trial in self.trials.values()} if self.proposals else ()
        for configuration in self.proposals:
            if configuration not in tried:
                return configuration
        self._pace()
        for _ in range(1 + len(self.proposals)):
            configuration = self._guard("ask", self.searcher.ask, number)
            if configuration not in tried:  # otherwise a proposal that runs, of which the searcher was told nothing yet
                break
        return self.fallback.ask(number) if configuration is None else configuration

    def _pace(self) -> None:
        """Tell the searchers how far the run is, where that is not the number of trials that they know of."""
        if self.ledger or self.known:
            share = max(self.ledger.share if self.ledger else 0.0, len(self.ended) / self.total)
            for searcher in (self.searcher, self.fallback):
                if hasattr(searcher, "pace"):
                    self._guard("follow the budget", searcher.pace, share)

    def finish(self, trial: Trial) -> None:
        """Take in a trial that ended."""
        if trial.status is Status.COMPLETE and not all(o.is_met(trial.metrics) for o in self.problem.objectives):
            broken = [o for o in self.problem.objectives if not o.is_met(trial.metrics)]
            trial = replace(trial, reason="; ".join(f"{o.metric} {trial.metrics[o.metric]:.4g} breaks {o.limit:.4g}" for o in broken))
        self.trials[trial.id] = trial
        self.journal.append(trial)
        if self.ledger:
            self.ledger.end(trial)
            self.progress.spent(self.ledger.share, self.ledger.budget.text)
        self.front.add(trial)
        self._guard("tell", self.searcher.tell, trial)
        self.fallback.tell(trial)
        self._save_searcher()
        self.progress.finished(trial, self.front)
        self.on_end(trial)

    def adopt(self) -> list[Trial]:
        """Make those known trials that belong to the front trials of this run, which could not try them again; they cost nothing."""
        tried = {trial.configuration for trial in self.trials.values()}
        first = max(self.trials, default=-1) + 1
        others = [t for t in self.known if t.configuration not in tried and not self.problem.reasons(t.configuration)]
        candidates = [replace(trial, id=first + i) for i, trial in enumerate(others)]
        joint = ParetoFront(self.problem.objectives, [*self.front.trials, *candidates])
        on_front = [trial for trial in joint.trials if trial.id >= first]
        adopted = [replace(trial, id=number, seed=_seed(self.seed, number)) for number, trial in enumerate(on_front, start=first)]
        for trial in adopted:
            self.trials[trial.id] = trial
            self.journal.append(trial)
            self.front.add(trial)
            self.on_end(trial)
        return adopted

    def _guard(self, verb: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """A searcher may fail, the run goes on; each kind of failure is said once."""
        try:
            return call(*arguments)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason not in self._noted:
                self._noted.add(reason)
                self.progress.note(f"the searcher failed to {verb} ({reason}); random configurations take its place")
            return None

    def _save_searcher(self) -> None:
        state: Mapping[str, Any] = self._guard("save its state", self.searcher.state_dict)
        part = self.state_file.with_suffix(".part")
        torch.save({"told": [trial.id for trial in (*self.known, *self.ended)], "state": state}, part)
        part.replace(self.state_file)


def _seed(run: int, trial: int) -> int:
    return int(np.random.SeedSequence([run, trial]).generate_state(1)[0])
