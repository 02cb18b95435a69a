"""A whole run as a library call: pose the problem, search, polish the front, keep what was found."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import autocomp
from autocomp.best import BestRule
from autocomp.budget import Budget, Effort, Ledger
from autocomp.cluster import Cluster, spread
from autocomp.cluster.trials import run_trials
from autocomp.errors import UnreachableLimitError
from autocomp.evaluate import Evaluator, Measurement
from autocomp.files import new_file, new_folder
from autocomp.outcome import FrontMember, Outcome
from autocomp.pareto import ParetoFront
from autocomp.polish import Polished, Polisher
from autocomp.pose import pose
from autocomp.profile import FILE as PROFILE
from autocomp.profile import Profile, measure_profile
from autocomp.profile_plan import ProfilePlan
from autocomp.progress import Progress
from autocomp.results import CONFIG, TRIALS, summarise, write_results
from autocomp.rungs import Rungs
from autocomp.searchers import RandomSearcher, Searcher, find_feasible
from autocomp.sensitivity import Sensitivity
from autocomp.session import Session
from autocomp.tables import trial_table, write_table
from autocomp.tasks.base import Task
from autocomp.tasks.images import accuracy
from autocomp.tracking import RunStatus, Tracker, Tracking
from autocomp.trial import Trial
from autocomp.warm_start import WarmStart, earlier_runs, origin, take_over, write_origin
from hwmodels import HardwareModel

MODELS = "models"
TRIALS_PLANNED = 48  # where neither trials nor a budget are given


def search(
    config: Mapping[str, Any],
    *,
    task: Task,
    hardware: HardwareModel,
    searcher: Callable[..., Searcher],
    out: Path,
    progress: Progress,
    resume: bool = False,
) -> dict[str, Any]:
    """Run a search from its configuration to registered models.

    Args:
        config: the resolved settings, as in search_spaces/config.yaml.
        task: data and teacher.
        hardware: the price list.
        searcher: makes the searcher from ``problem``, ``seed`` and ``trials``.
        out: the run folder.
        progress: is told what is going on.
        resume: take up the run that is in the folder.

    Returns:
        What `summary.json` holds.

    Raises:
        UnreachableLimitError: if no configuration meets the limits, on paper or as measured.
        UsageError: if something that the settings name cannot be used.
        KeyboardInterrupt: after everything that finished was saved.
    """
    start = time.perf_counter()
    if not resume:
        earlier_runs(config)  # before anything that takes time
    cluster = Cluster(**config["cluster"], workers=config["workers"])
    with cluster.connecting() as connected:  # goes on in the background while the data and the teacher are loaded
        evaluator = pose(config, task=task, hardware=hardware, progress=progress)
        run = _Run(config, task, hardware, evaluator, cluster, out, progress)
        run.check(searcher)
        progress.stage("starting the workers")
        workers = connected()
        out.mkdir(parents=True, exist_ok=True)
        if not resume:
            run.warm.write(out)
            write_origin(out, run.origin)
            with new_file(out / CONFIG) as part:  # the last: with it the run can be resumed
                part.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
            for line in run.warm.lines:
                progress.stage(line)
        run = run.profiled(searcher, workers)
        session = run.session(searcher, run.ledger(workers, start))
        session.restore() if resume else session.warm_up()
        return run.carry_out(session, workers, start)


@dataclass(frozen=True)
class _Run:
    """What all parts of one run share."""

    config: Mapping[str, Any]
    task: Task
    hardware: HardwareModel
    evaluator: Evaluator
    cluster: Cluster
    out: Path
    progress: Progress
    profile: Profile | None = None

    @cached_property
    def name(self) -> str:
        """Of the registered model."""
        return self.config["name"] or f"{self.task.name}-{self.hardware.name}"

    @cached_property
    def tracker(self) -> Tracker:
        """Where they are written down."""
        return Tracker(Tracking(**self.config["tracking"]), model=self.name, folder=self.out, warn=self.progress.note)

    @cached_property
    def rungs(self) -> Rungs | None:
        """What stops trials early; None if nothing does."""
        settings, epochs = self.config["early_stopping"], self.evaluator.finetune.epochs
        if not settings["enabled"] or epochs == 0:
            return None
        eta = settings["eta"]
        levels = settings["rungs"] or [eta**i for i in range(32) if eta**i < epochs]
        return Rungs(self.evaluator.problem.objectives, eta=eta, levels=tuple(float(level) for level in levels))

    @cached_property
    def budget(self) -> Budget | None:
        """What the run may take; None where trials alone count."""
        text = self.config.get("budget")
        return Budget.parse(str(text)) if text is not None else None

    @cached_property
    def effort(self) -> Effort:
        """What trials and polish cost by plan."""
        settings, passes = self.evaluator.finetune, self.evaluator.planned_passes
        trial, polish = passes(settings.epochs), passes(settings.polish_epochs, only_last=True)
        return Effort(trial, polish, settings.polish_members, settings.polish_share)

    @cached_property
    def best_rule(self) -> BestRule:
        """Which member of the front is called the best."""
        return BestRule(**self.config["best"])

    @cached_property
    def teacher(self) -> dict[str, float]:
        """The teacher's metrics, measured on test data, too; not to be asked for before the trials are over."""
        test_accuracy = accuracy(self.evaluator.network, self.task.test(), mean=self.task.mean, std=self.task.std)
        return {**self.evaluator.problem.baseline, "test_accuracy": test_accuracy}

    def check(self, searcher: Callable[..., Searcher]) -> None:
        """Raise what is wrong with the settings, the searcher's among them, and with the limits, before anything is written."""
        problem, seed = self.evaluator.problem, self.config["seed"]
        _ = self.rungs, self.budget, self.warm, self.best_rule.choose([problem.baseline], problem.baseline, problem.goals)
        find_feasible(problem, np.random.default_rng(seed), 1)
        nothing_measured = Sensitivity(problem.baseline["accuracy"], 0, 0.0, ())
        searcher(problem=replace(problem, sensitivity=nothing_measured if self.plan_for(searcher) else None), seed=seed, trials=1)

    def plan_for(self, searcher: Callable[..., Searcher]) -> ProfilePlan | None:
        """Of the profile; None if none is wanted or the searcher makes no use of it."""
        plan = ProfilePlan(**self.config["profile"]) if "profile" in self.config else ProfilePlan(enabled=False)
        return plan if plan.enabled and getattr(searcher, "uses_profile", False) else None

    def profiled(self, searcher: Callable[..., Searcher], workers: int) -> _Run:
        """The same with a profile, if one is to be measured."""
        plan = self.plan_for(searcher)
        if plan is None:
            return self
        found = measure_profile(self.evaluator, plan, cluster=self.cluster, workers=workers, progress=self.progress, folder=self.out)
        if found is None:
            return self
        untouched = self._untouched()
        spent = found.spent + (untouched.image_passes if untouched else 0.0)
        return replace(self, evaluator=self.evaluator.knowing(found.sensitivity, untouched), profile=replace(found, spent=spent))

    def _untouched(self) -> Measurement | None:
        """See `Evaluator.untouched`; a device whose model fails here may do so on some trials only, so that the search goes on."""
        try:
            return self.evaluator.untouched()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.progress.note(f"what the device does to the untouched network could not be measured and is left out: {reason}")
            return None

    @cached_property
    def origin(self) -> dict[str, str]:
        """What this run's accuracies depend on."""
        return origin(self.evaluator, self.config)

    @cached_property
    def warm(self) -> WarmStart:
        """What is taken over from earlier runs; of a run that is under way what it wrote down."""
        if (self.out / CONFIG).is_file():
            return WarmStart.read(self.out)
        folders = earlier_runs(self.config)
        most = max((self.config["trials"] or TRIALS_PLANNED) // 2, 1)
        return take_over(folders, self.evaluator, self.origin, most) if folders else WarmStart()

    def ledger(self, workers: int, start: float) -> Ledger | None:
        """How the budget is spent; None where there is none."""
        if self.budget is None:
            return None
        return Ledger(self.budget, self.effort, workers, start, self.profile.spent if self.profile else 0.0)

    def session(self, searcher: Callable[..., Searcher], ledger: Ledger | None) -> Session:
        """The trials of this run."""
        problem, seed = self.evaluator.problem, self.config["seed"]
        total = self.config["trials"] or (sys.maxsize if ledger else TRIALS_PLANNED)
        planned = min(total, ledger.planned or TRIALS_PLANNED) if ledger else total
        return Session(
            problem,
            searcher(problem=problem, seed=seed, trials=planned),
            fallback=RandomSearcher(problem, seed=seed, trials=planned),
            folder=self.out,
            total=total,
            seed=seed,
            progress=self.progress,
            on_end=self.tracker.log_trial,
            ledger=ledger,
            known=self.warm.told,
            proposals=self.warm.proposals,
        )

    def carry_out(self, session: Session, workers: int, start: float) -> dict[str, Any]:
        """Search, polish, keep; whatever happens, what ended is written down."""
        status: RunStatus = "FAILED"
        try:
            self.tracker.open(self.config, {"task": self.task.name, "hw": self.hardware.name})
            for trial in session.ended:  # of an earlier part; what is written already stays as it is
                self.tracker.log_trial(trial)
            summary = self._keep(session, self._search(session, workers), start)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self.progress.end()
            if status != "FINISHED":
                on_front = {trial.id for trial in session.front.trials}
                write_table(trial_table(session.ended, self.evaluator.problem.space, on_front), self.out / TRIALS)
            self.tracker.close(status)
        return summary

    def _search(self, session: Session, workers: int) -> dict[int, Polished]:
        """Run the trials and polish the best; what became of each of these, by trial."""
        self.progress.begin(session.total if session.total < sys.maxsize else 0, len(session.ended))
        run_trials(session, self.evaluator, cluster=self.cluster, workers=workers, rungs=self.rungs)
        self.progress.end()
        adopted = session.adopt()
        if adopted:
            self.progress.stage(f"{len(adopted)} trials of earlier runs are on the front, too, and are taken over")
        finalists = self._finalists(session)
        if not finalists:
            raise UnreachableLimitError(_closest(session))
        self.progress.stage(f"polishing {len(finalists)} of the best trials and measuring them on test data")
        return self._polish(finalists)

    def _finalists(self, session: Session) -> list[Trial]:
        """What is polished; of a budget only as many as it has room for."""
        wanted, ledger = self.evaluator.finetune.polish_members, session.ledger
        if ledger is None:
            return session.finalists(wanted)
        if len(session.ended) == 1 < session.total:
            self.progress.note(f"the budget {ledger.budget.text} has room for one trial only; give it more")
        room = ledger.members
        return session.finalists(min(wanted, room), room)

    def _polish(self, finalists: Sequence[Trial]) -> dict[int, Polished]:
        polisher = Polisher(self.evaluator, self.task.test(), self._record())
        found = {}
        for trial, result in spread(polisher, finalists, cluster=self.cluster):
            if isinstance(result, Exception):
                self.progress.note(f"trial {trial.id} left the front, because its polish failed: {result}")
            else:
                found[trial.id] = result
        return found

    def _record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": autocomp.__version__,
            "task": self.task.name,
            "hw": self.hardware.name,
            "input_shape": list(self.task.input_shape),
            "mean": list(self.task.mean),
            "std": list(self.task.std),
            "teacher": dict(self.teacher),
            "data": self.task.describe(),
            "threads": self.cluster.threads,
            "config": dict(self.config),
        }

    def _keep(self, session: Session, polished: Mapping[int, Polished], start: float) -> dict[str, Any]:
        """Write files and models; returns the summary."""
        problem = self.evaluator.problem
        front = self._front(session, polished)
        if not front:  # before a summary says that the run is finished, so that it can be resumed
            raise UnreachableLimitError(_closest(session) if polished else "The polish of every finalist failed; see the warnings.")
        choice = self.best_rule.choose([m.metrics for m in front], problem.baseline, problem.goals)
        outcome = Outcome(
            name=self.name,
            trials=session.ended,
            front=front,
            best=front[choice].trial.id,
            baseline=self.teacher,
            reference=problem.reference_point,
            objectives=problem.objectives,
            config=self.config,
            hardware=self.hardware.name,
            uncertainty=self.hardware.estimate(problem.workload).uncertainty,
            sensitivity=problem.sensitivity,
        )
        passes = sum(t.image_passes for t in session.ended) + sum(p.image_passes for p in polished.values())
        passes += self.profile.spent if self.profile else 0.0
        summary = summarise(outcome, image_passes=passes, wall_s=time.perf_counter() - start)
        summary["budget"] = session.ledger.in_the_end(passes) if session.ledger else None
        files = write_results(outcome, summary, problem.space, self.out)
        known = self.out / PROFILE
        self.tracker.log_front(front, front[choice].trial.id, [*files, *([known] if known.exists() else [])])
        return summary

    def _front(self, session: Session, polished: Mapping[int, Polished]) -> list[FrontMember]:
        """The polished members that still do not dominate each other, the most accurate first."""
        retrained = [replace(session.trials[i], metrics=p.metrics, fidelity=p.fidelity) for i, p in polished.items()]
        front = ParetoFront(self.evaluator.problem.objectives, retrained)
        members = []
        for trial in sorted(front.trials, key=lambda t: -t.metrics["accuracy"]):
            folder = self.out / MODELS / f"trial-{trial.id:04d}"
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut off here; what is reported must be what is written
            with new_folder(folder) as part:
                for name, content in polished[trial.id].files.items():
                    (part / name).write_bytes(content)
            members.append(FrontMember(trial, trial.metrics, folder))
        return members


def _closest(session: Session) -> str:
    """Which measured limit no trial met, and the closest value that was seen."""
    complete = [trial for trial in session.ended if trial.metrics]
    if not complete:
        reasons = sorted({trial.reason for trial in session.ended if trial.reason})
        return f"No trial could be measured: {'; '.join(reasons) or 'none was run'}."
    unmet = [o for o in session.problem.objectives if o.limit is not None and not any(o.is_met(t.metrics) for t in complete)]
    if not unmet:
        return "No complete trial meets all limits at once; loosen one of them or run more trials."
    objective = unmet[0]
    closest = min((t.metrics[objective.metric] for t in complete), key=lambda v: float(objective.excess(v)))
    return f"No trial meets the limit {objective.metric} {objective.limit:g}; the closest had {closest:.4g}. Loosen it or run more trials."
