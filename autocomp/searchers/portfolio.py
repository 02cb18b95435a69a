"""Portfolio: several searchers that share what they know; who contributes more is asked more often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autocomp.errors import ConfigError, UnknownNameError
from autocomp.pareto import hypervolume
from autocomp.problem import Problem
from autocomp.searchers.annealing import AnnealingSearcher
from autocomp.searchers.arguments import check
from autocomp.searchers.base import VectorSearcher
from autocomp.searchers.guided import GuidedSearcher
from autocomp.searchers.knowledge import Knowledge
from autocomp.searchers.reinforcement import ReinforcementSearcher
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

MEMBERS: Mapping[str, Callable[..., GuidedSearcher]] = {"annealing": AnnealingSearcher, "rl": ReinforcementSearcher}
FORGETTING = 0.9  # of what a member contributed, for each later trial
LEAST = 0.2  # share of the asks of a member that contributes nothing


class PortfolioSearcher(VectorSearcher):
    """Annealing and reinforcement learning at once.

    The members share what is known: every trial, what is under way, and one surrogate. Each ask goes to one of them, drawn by the
    hypervolume that its trials added lately, so that the share of each follows what it contributes and none is left out.

    Args:
        problem, seed, trials, start: see `GuidedSearcher`.
        members: settings of each member, by name; the names are `MEMBERS`.

    Raises:
        UnknownNameError: on the settings of a member that does not exist.
        ConfigError: on settings that a member does not take.
    """

    uses_profile = True

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        start: int | None = None,
        members: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=0)
        settings = members or {}
        for unknown in settings.keys() - MEMBERS.keys():
            raise UnknownNameError("member of a portfolio", unknown, MEMBERS)
        self.known = Knowledge(problem)
        given = {"seed": seed, "trials": trials, "start": start, "known": self.known}
        for name, own in settings.items():
            if not isinstance(own, Mapping):
                raise ConfigError(f"`searcher.members.{name}` must be a mapping of settings, but is {own!r}.")
            check(MEMBERS[name], own, problem, **given)
        self.members = {name: make(problem, **{**given, **settings.get(name, {})}) for name, make in MEMBERS.items()}
        for member in self.members.values():
            member.asked = self.asked
        self.credits = dict.fromkeys(self.members, 0.0)
        self.asker: dict[int, str] = {}  # running trial -> the member that proposed it

    @property
    def shares(self) -> dict[str, float]:
        """How often each member is asked."""
        total = sum(self.credits.values())
        even = 1 / len(self.members)
        earned = {name: credit / total if total > 0 else even for name, credit in self.credits.items()}
        spare = 1 - LEAST * len(self.members)
        return {name: LEAST + spare * share for name, share in earned.items()}

    def propose(self, trial_id: int) -> Vectors | None:
        """What a member proposes."""
        shares = self.shares
        name = str(self.generator.choice(list(shares), p=list(shares.values())))
        vector = self.members[name].next(trial_id)
        if vector is not None:
            self.asker[trial_id] = name
        return vector

    def expect(self, trial_id: int, vector: Vectors) -> None:
        """See `VectorSearcher.expect`."""
        super().expect(trial_id, vector)
        self.known.pending[trial_id] = vector

    def pace(self, share: float) -> None:
        """See `VectorSearcher.pace`."""
        super().pace(share)
        for member in self.members.values():
            member.pace(share)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Let the members react, and credit whoever proposed the trial with what it adds to the front."""
        before = self.known.values[self.known.archive]
        self.known.learn(trial, vector)
        for member in self.members.values():
            member.react(trial, vector)
        if trial.status is Status.COMPLETE:
            corner = np.ones(len(self.problem.goals))
            after = np.concatenate([before, self.known.values[-1:]])
            self.credits = {name: FORGETTING * credit for name, credit in self.credits.items()}
            if trial.id in self.asker:
                self.credits[self.asker[trial.id]] += hypervolume(after, corner) - hypervolume(before, corner)

    def forget(self, trial_id: int) -> None:
        """See `VectorSearcher.forget`."""
        self.asker.pop(trial_id, None)
        for member in self.members.values():
            member.forget(trial_id)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return super().state_dict() | {
            "members": {name: member.state_dict() for name, member in self.members.items()},
            "credits": dict(self.credits),
            "asker": dict(self.asker),
            "known": self.known.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.known.load_state_dict(state["known"])
        for name, member in self.members.items():
            member.load_state_dict(state["members"][name])
            member.asked = self.asked
        self.credits, self.asker = dict(state["credits"]), dict(state["asker"])
