"""Surrogate: a measured metric, guessed before it is measured, with mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import least_squares
from scipy.special import expit, logit

from autocomp.searchers.composition import Composition, Features

Floats = NDArray[np.float64]
MOST = 256  # observations that the correction is fitted to, the latest
FLAT, STEEP = 0.005, 0.3  # deviation of a measurement from the curve alone where it is flat; how much it grows with steepness
NOISE = 0.01  # deviation of a measurement, in the same units
MISFIT = 0.02  # deviation of a measurement from the corrected curve, in the same units; the curve is not the right one, either
LEAST_FALL = 0.004  # what cannot be told from nothing, in the same units
LEAST_ERROR = 1e-3  # of an untouched network, so that it has a logarithm
JITTER = 1e-9
EXACT = 1e-3  # nepers; deviation of what counts as known
FEW = 8  # trials from which on scales are chosen, mixtures from which on a power is
GROWTH = 1.25  # scales are chosen anew when there are so many times more observations
SAMPLE = 150  # observations, the latest, that scales are chosen by
RECENT, WILD = 24, 3.0  # forecasts that deviations are judged by, and the farthest that one of them counts
TRUST = 8.0  # forecasts that the claimed deviation counts for, against how far later trials were off


@dataclass(frozen=True, eq=False)
class Observations:
    """What is known, ``n`` rows.

    Attributes:
        made_of: the configurations.
        fidelity: 0 for a probe of the profile, 1 for a trial, less for one that was stopped early (``n``).
        fall: how much worse the metric is than the teacher's, in units of its range (``n``).
    """

    made_of: Features
    fidelity: Floats
    fall: Floats

    def __len__(self) -> int:
        return len(self.fall)

    def __getitem__(self, chosen: slice | NDArray[np.bool_]) -> Observations:
        return Observations(self.made_of[chosen], self.fidelity[chosen], self.fall[chosen])

    def __add__(self, other: Observations) -> Observations:
        fidelity = np.concatenate([self.fidelity, other.fidelity])
        return Observations(self.made_of + other.made_of, fidelity, np.concatenate([self.fall, other.fall]))


@dataclass(frozen=True)
class Scales:
    """How losses of single choices add up, and by how much the sum may be misjudged; deviations in nepers.

    Attributes:
        power: of a loss that is added up. Errors of answers add up, and losses are about their squares; a teacher that is sure of
            itself hides small errors, so that it may be less than a half.
        kind: deviation of all parts of one kind together, such as all bits.
        part: of one part.
        rest: of one composition, whatever the reason.
        length: distance of compositions (Hellinger's) within which the rest is alike.
        trained: factor on all of these for what distinguishes trials from probes.
        lost: what trials are expected to lose whatever is done to the network, which probes do not see; in units of the metric's range.
    """

    power: float = 0.4
    kind: float = 0.1
    part: float = 0.3
    rest: float = 0.2
    length: float = 0.2
    trained: float = 0.3
    lost: float = 0.0


POWERS = (0.25, 0.4, 0.6, 0.8, 1.0)  # that there are to choose from


def candidates(usual: Scales) -> list[Scales]:
    """The scales that trials choose from, none of their powers far from the usual one."""
    place = POWERS.index(usual.power)
    others = product(POWERS[max(place - 1, 0) : place + 2], (0.1, 0.3), (0.07, 0.15, 0.3), (0.3, 1.0))
    return [replace(usual, power=power, part=part, rest=rest, trained=trained) for power, part, rest, trained in others]


@dataclass(frozen=True)
class Curve:
    """How far a metric falls as errors add up: an S over the logarithm of their sum, which training moves to the right.

    Attributes:
        centre: where half of the range is lost.
        slope: how fast.
        shift: how much farther a trial gets than a probe, nepers.
        probed, tried: what a probe and a trial lose or win whatever the errors.
    """

    centre: float = 0.0
    slope: float = 2.5
    shift: float = 0.0
    probed: float = 0.0
    tried: float = 0.0

    def __call__(self, x: Floats, fidelity: Floats) -> Floats:
        """The fall at strengths ``n``."""
        return np.asarray(expit(self.slope * (x - self.centre - self.shift * np.sqrt(fidelity))) + self._offset(fidelity))

    def strengths(self, fall: Floats, fidelity: Floats) -> tuple[Floats, Floats]:
        """The strengths at which the curve has fallen so far, and how uncertain these are, `MISFIT` being what a fall is uncertain by."""
        share = np.clip(fall - self._offset(fidelity), LEAST_FALL, 1 - LEAST_FALL)
        x = logit(share) / self.slope + self.centre + self.shift * np.sqrt(fidelity)
        return x, MISFIT / (share * (1 - share) * self.slope)

    def plausibility(self, scales: Scales) -> float:
        """Logarithm of how probable such a curve is beforehand, up to a constant."""
        parameters = np.array([self.centre, self.slope, self.shift, self.probed, self.tried - scales.lost]) / _units(scales.power)
        return float(-0.5 * (((parameters - USUAL) / VARIES) ** 2).sum())

    def _offset(self, fidelity: Floats) -> Floats:
        return self.probed + (self.tried - self.probed) * fidelity


# Prior of a curve's parameters, in their order, `tried` beyond what is lost anyway: what is usual, how far it varies, what is possible.
USUAL = np.array([0.0, 1.2, 0.0, 0.0, 0.0])
VARIES = np.array([2.0, 0.6, 1.0, 0.01, 0.02])
POSSIBLE = (np.array([-20.0, 0.1, -3.0, -0.2, -0.2]), np.array([20.0, 10.0, 10.0, 0.2, 0.2]))


def _units(power: float) -> Floats:
    """Of a curve's parameters: errors that are a power of losses spread less, so that the curve is steeper."""
    return np.array([1.0, 1 / power, power, 1.0, 1.0])


def fit_curve(x: Floats, observed: Observations, scales: Scales) -> tuple[Curve, float]:
    """The most probable curve through falls at strengths ``x``, and minus the logarithm of how probable it is, up to a constant.

    Robust least squares with the prior as further residuals.
    """
    scale, lost = _units(scales.power), np.array([0.0, 0.0, 0.0, 0.0, scales.lost])
    share = np.clip(observed.fall, 0, 1)
    tolerance = np.hypot(FLAT, STEEP * share * (1 - share))

    def residuals(parameters: Floats) -> Floats:
        fit = (Curve(*(parameters * scale + lost))(x, observed.fidelity) - observed.fall) / tolerance
        return np.concatenate([fit, (parameters - USUAL) / VARIES])

    found = least_squares(residuals, USUAL, bounds=POSSIBLE, loss="soft_l1", max_nfev=60)
    return Curve(*(scale * found.x + lost).tolist()), float(found.cost)


def added(errors: Floats) -> Floats:
    """The error of ``n`` configurations of ``n x p`` parts; its logarithm is the strength."""
    return np.asarray(errors.sum(1) + LEAST_ERROR)


def best_power(probes: Observations) -> float:
    """The power with which the curve fits the profile's mixtures best; the usual one where there are few.

    The least one makes much of errors that can hardly be told from none; only trials choose it.
    """
    if len(probes) < FEW:
        return Scales.power
    return min(POWERS[1:], key=lambda power: misfit(probes, power))


def misfit(observed: Observations, power: float) -> float:
    """How badly the curve fits over errors that are a power of losses, as `fit_curve` has it."""
    return fit_curve(np.log(added(observed.made_of.losses**power)), observed, Scales(power=power))[1]


class Model:
    """The curve, and a Gaussian process that corrects it: how many nepers a configuration's strength is off.

    With errors ``E_j`` of the parts misjudged by factors ``exp(d_j)``, the logarithm of their sum is off by about
    ``sum_j p_j d_j`` with the shares ``p_j = E_j / sum E``. Independent normal ``d_j``, alike within a kind, make the kernel
    linear in the shares. It is linear in the strengths of choices, too; the rest is a squared exponential of the distance of shares.
    What distinguishes trials from probes is a process of its own that grows with fidelity. A fall is taken back to the strength at
    which the curve has it; where the curve is flat that says little.

    Args:
        observed: what is known.
        of_kind: which kind each part is of, ``p x kinds``.
        scales: see there.
        curve: fitted if not given.
    """

    def __init__(self, observed: Observations, of_kind: Floats, scales: Scales, curve: Curve | None = None) -> None:
        self.of_kind, self.scales = of_kind / np.maximum(of_kind.sum(0), 1), scales
        x, linear, roots = self._views(observed.made_of)
        self.known = linear, roots
        self.curve, self.fidelity = curve or fit_curve(x, observed, scales)[0], observed.fidelity
        seen, self.noise = self.curve.strengths(observed.fall, self.fidelity)
        self.covariance = self._kernel(linear, roots, self.fidelity)
        self.factor = self._factor(self.noise)
        self.weights = cho_solve(self.factor, seen - x)
        fit = -0.5 * (seen - x) @ self.weights - np.log(np.diag(self.factor[0])).sum()
        # of falls instead of strengths, so that curves of different slopes compare
        self.evidence = float(fit - len(observed) * np.log(self.curve.slope))

    @cached_property
    def _factor_among_trials(self) -> tuple[Floats, bool]:
        """Of the covariance if it were known what the observed trials are worth."""
        return self._factor(np.where(self.fidelity > 0, EXACT, self.noise))

    def _factor(self, noise: Floats) -> tuple[Floats, bool]:
        """Of the covariance of what was observed with this much noise, ``n``."""
        factor, is_lower = cho_factor(self.covariance + np.diag(noise**2 + JITTER), lower=True)
        return factor, is_lower

    def _views(self, made_of: Features) -> tuple[Floats, Floats, Floats]:
        """Strengths of ``n`` configurations, and what the kernel sees of them: columns that it is linear in, and roots of shares."""
        s, errors = self.scales, made_of.losses**self.scales.power
        total, parts = added(errors), max(errors.shape[1], 1)
        shares = (errors + LEAST_ERROR / parts) / total[:, None]
        linear = (
            s.kind * shares @ (self.of_kind > 0),
            s.part * shares,
            s.kind * made_of.strengths @ self.of_kind,
            s.part * made_of.strengths / np.sqrt(parts),
        )
        return np.log(total), np.concatenate(linear, axis=1), np.sqrt(shares)

    def _kernel(self, linear: Floats, roots: Floats, fidelity: Floats) -> Floats:
        """Covariance of ``b`` configurations with the observed ones, ``b x n``."""
        s, (known, known_roots) = self.scales, self.known
        alike = np.exp((np.minimum(roots @ known_roots.T, 1) - 1) / s.length**2)
        return np.asarray((linear @ known.T + s.rest**2 * alike) * (1 + s.trained**2 * np.outer(fidelity, self.fidelity)))

    def __call__(self, made_of: Features, *, among_trials: bool = False) -> tuple[Floats, Floats]:
        """Mean and deviation of the fall of ``b`` trials, less the noise of a measurement.

        Args:
            made_of: the trials.
            among_trials: give the deviation that would be left if it were known what the observed trials are worth, less the noise.
        """
        (x, linear, roots), fidelity = self._views(made_of), np.ones(len(made_of))
        kernel = self._kernel(linear, roots, fidelity)
        factor = self._factor_among_trials if among_trials else self.factor
        explained = solve_triangular(factor[0], kernel.T, lower=True)
        prior = ((linear**2).sum(1) + self.scales.rest**2) * (1 + self.scales.trained**2)
        spread = np.sqrt(np.maximum(prior - (explained**2).sum(0), 0))
        x = x + kernel @ self.weights
        deviation = 0.5 * (self.curve(x + spread, fidelity) - self.curve(x - spread, fidelity))
        return self.curve(x, fidelity), deviation


class Surrogate:
    """Guesses one measured metric of configurations that were not tried.

    Args:
        composition: of the problem; its sensitivity is what is known before the first trial.
        metric: ``accuracy`` or ``loss``.
    """

    def __init__(self, composition: Composition, metric: str) -> None:
        self.problem, self.composition, self.metric = composition.problem, composition, metric
        self.teacher = self.problem.baseline[metric]
        self.sign = 1.0 if metric == "accuracy" else -1.0
        # hardly any accuracy is left in the worst case; a network that answers at random is some nats worse
        self.range = self.teacher if metric == "accuracy" else self.teacher + 2.0
        self.best = (self.teacher - 1.0) / self.range if metric == "accuracy" else -self.teacher / self.range  # fall of a perfect network
        self.width = 1.0
        self._scales: dict[int, Scales] = {}
        self.model = self._model()

    @cached_property
    def probes(self) -> Observations:
        """What the profile says of several choices together."""
        sensitivity, space = self.problem.sensitivity, self.problem.space
        probes = () if sensitivity is None or self.metric != "accuracy" else sensitivity.mixtures()
        inside = [probe for probe in probes if space.contains(probe.configuration)]
        vectors = space.encode([probe.configuration for probe in inside])
        fall = np.array([1 - probe.accuracy / sensitivity.accuracy for probe in inside if sensitivity is not None])
        return Observations(self.composition.features(vectors), np.zeros(len(inside)), fall)

    def fall(self, values: Floats) -> Floats:
        """How much worse than the teacher's some values of the metric are, ``n`` in and out, in units of its range."""
        return np.asarray(np.clip(self.sign * (self.teacher - values) / self.range, -0.2, 1.0))

    def fit(self, made_of: Features, fidelity: Floats, values: Floats, guesses: Floats) -> None:
        """Take in all trials so far.

        Args:
            made_of: what was tried, ``n`` configurations.
            fidelity: epochs of training, ``n``.
            values: the metric as it was measured, ``n``; rows with NaN are left out.
            guesses: mean and deviation of what was expected of each before it was measured, ``n x 2``; says how far deviations
                can be trusted.
        """
        most = float(fidelity.max(initial=0.0))
        fall = self.fall(values)
        trials = Observations(made_of, fidelity / most if most else np.ones(len(fall)), fall)
        self.model = self._model(trials[np.isfinite(values)])
        off = ((values - guesses[:, 0]) / guesses[:, 1])[np.isfinite(values) & np.isfinite(guesses).all(1)]
        off = np.clip(off[-RECENT:], -WILD, WILD)
        self.width = float(np.sqrt((TRUST + (off**2).sum()) / (TRUST + len(off))))

    def _model(self, trials: Observations | None = None) -> Model:
        """The model of the latest observations, at the most probable scales."""
        observed = self.probes if trials is None else self.probes + trials
        scales = self._usual if trials is None or len(trials) < FEW else self._chosen(trials)
        return Model(observed[-MOST:], self.composition.of_kind, scales)

    @cached_property
    def _usual(self) -> Scales:
        """The scales as long as there are few trials."""
        untouched = self.fall(np.array([self.problem.untouched.get(self.metric, self.teacher)]))
        return Scales(power=best_power(self.probes), lost=float(untouched[0]))

    def _chosen(self, trials: Observations) -> Scales:
        """The scales at which the trials are most probable, given the probes.

        Chosen by the trials that there were at the last of a row of growing counts, so that they depend on nothing but the data.
        """
        count = int(FEW * GROWTH ** np.floor(np.log(len(trials) / FEW) / np.log(GROWTH)))
        if count not in self._scales:
            sample = trials[max(count - SAMPLE, 0) : count]
            curves: dict[float, Curve] = {}
            found = [(self._evidence(sample, scales, curves), scales) for scales in candidates(self._usual)]
            self._scales = {count: max(found, key=lambda pair: pair[0])[1]}
        return self._scales[count]

    def _evidence(self, trials: Observations, scales: Scales, curves: dict[float, Curve]) -> float:
        both = Model(self.probes + trials, self.composition.of_kind, scales, curves.get(scales.power))
        curves[scales.power] = both.curve
        before = Model(self.probes, self.composition.of_kind, scales, both.curve).evidence if len(self.probes) else 0.0
        return both.evidence - before + both.curve.plausibility(scales)

    def predict(self, made_of: Features, *, among_trials: bool = False) -> tuple[Floats, Floats]:
        """Mean and deviation of the metric of ``b`` configurations after a full training, ``b`` each.

        Args:
            made_of: the configurations.
            among_trials: compare them with the trials: give the deviation that would be left if it were known what these are worth.
                Otherwise it is that of a measurement.
        """
        fall, deviation = self.model(made_of, among_trials=among_trials)
        noise = 0.0 if among_trials else NOISE
        fall = np.maximum(fall, self.best)
        return self.teacher - self.sign * self.range * fall, self.range * self.width * np.hypot(deviation, noise)
