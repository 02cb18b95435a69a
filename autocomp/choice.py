"""Choice and Configuration: what is done to a layer, and to a network and its device; plain values without weights."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.errors import ConfigError

FLOAT_BITS = 32
PATTERNS = ("none", "fine", "filter", "vector", "strided", "kernel", "group", "n_m")
FACTORIZATIONS = ("none", "svd", "svd_out", "svd_in", "spatial", "three", "tucker2", "cp", "block_term")
FIXED_POINT = "fixed_point_factorized"  # ternary factors, so that it needs a factorization into two layers, one of:
HASHED = "hashed_binary"  # which needs calibration images to be another than ``binary``
PAIRS = ("svd", "svd_out", "svd_in", "spatial")
# Each quantizer with the widths that it is made for; 32 bits, which is no quantizer, fit all of them.
WEIGHT_QUANTIZERS: Mapping[str, range] = {
    "uniform": range(2, 17),
    "uniform_per_tensor": range(2, 17),
    "binary": range(1, 2),
    "ternary": range(2, 3),
    "trained_ternary": range(2, 3),
    "power_of_two": range(2, 9),
    "log": range(2, 8),
    "dorefa": range(1, 17),
    FIXED_POINT: range(2, 3),
    "kmeans": range(1, 17),
    "product": range(1, 9),
    HASHED: range(1, 2),
}
ACTIVATION_QUANTIZERS: Mapping[str, range] = {
    "uniform": range(2, 17),
    "dorefa": range(1, 17),
    "half_wave": range(1, 9),
    "sign": range(1, 2),
    "xnor": range(1, 2),
}
QUANTIZERS: Mapping[str, Mapping[str, range]] = {"weight_quantizer": WEIGHT_QUANTIZERS, "activation_quantizer": ACTIVATION_QUANTIZERS}
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "pattern": PATTERNS,
    "factorization": FACTORIZATIONS,
    "weight_quantizer": tuple(WEIGHT_QUANTIZERS),
    "activation_quantizer": tuple(ACTIVATION_QUANTIZERS),
}
# What a rule offers that says how much, but not how.
USUAL: Mapping[str, tuple[str, ...]] = {
    "pattern": ("fine", "filter"),
    "factorization": ("svd", "svd_out"),
    "weight_quantizer": ("uniform",),
    "activation_quantizer": ("uniform",),
}
_INDEX = {knob: {name: i for i, name in enumerate(names)} for knob, names in CATEGORIES.items()}
# A knob on the right says *how*; it means something only where the knob on the left is switched on.
SWITCHES: Mapping[str, str] = {
    "pattern": "sparsity",
    "factorization": "rank",
    "weight_quantizer": "weight_bits",
    "activation_quantizer": "activation_bits",
}
# The knobs that decide together with a knob whether a choice can be.
TOGETHER: Mapping[str, tuple[str, ...]] = {how: (switch,) for how, switch in SWITCHES.items()} | {
    "weight_quantizer": ("weight_bits", "rank", "factorization")
}


@dataclass(frozen=True)
class Choice:
    """What is done to one layer; the default leaves it alone.

    Attributes:
        sparsity: fraction removed, in [0, 1); of filters for the pattern ``filter``, of weights otherwise.
        pattern: which weights are removed together, one of `PATTERNS`.
        rank: fraction of the full rank that is kept, in (0, 1]; 1 does not factorize.
        factorization: how the kernel is split, one of `FACTORIZATIONS`.
        weight_bits, activation_bits: a width that the quantizer is made for, or 32 for floating point.
        weight_quantizer, activation_quantizer: how values are rounded, one of `WEIGHT_QUANTIZERS` and `ACTIVATION_QUANTIZERS`.

    A knob that has no effect takes its default, so that equal networks have equal choices.

    Raises:
        ConfigError: if a value is out of range, or a removed fraction or rank has no pattern or factorization.
    """

    sparsity: float = 0.0
    pattern: str = "none"
    rank: float = 1.0
    factorization: str = "none"
    weight_bits: int = FLOAT_BITS
    weight_quantizer: str = "uniform"
    activation_bits: int = FLOAT_BITS
    activation_quantizer: str = "uniform"

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, known in CATEGORIES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"`{name}` must be one of {', '.join(known)}, but is '{getattr(self, name)}'.")
        self._check_bits()
        for how, switch in SWITCHES.items():
            # one type per knob, so that 8 and 8.0 are also written alike
            object.__setattr__(self, switch, type(DEFAULTS[switch])(getattr(self, switch)))
            if getattr(self, switch) == DEFAULTS[switch]:
                object.__setattr__(self, how, DEFAULTS[how])
            elif getattr(self, how) == "none":
                raise ConfigError(f"`{switch}` {getattr(self, switch)} needs a `{how}`; name one of {', '.join(CATEGORIES[how][1:])}.")
        self._check_factors()

    def _check_numbers(self) -> None:
        for name in SWITCHES.values():
            if not isinstance(getattr(self, name), Real):
                raise ConfigError(f"`{name}` must be a number, but is {getattr(self, name)!r}.")
        if not 0 <= self.sparsity < 1:
            raise ConfigError(f"`sparsity` must lie in [0, 1), but is {self.sparsity}.")
        if not 0 < self.rank <= 1:
            raise ConfigError(f"`rank` must lie in (0, 1], but is {self.rank}.")

    def _check_factors(self) -> None:
        if self.weight_quantizer == FIXED_POINT and self.factorization not in PAIRS:
            needed = f"a `rank` below 1 and a `factorization` of {', '.join(PAIRS)}"
            raise ConfigError(f"`{FIXED_POINT}` weights need {needed}, but not '{self.factorization}'.")

    def _check_bits(self) -> None:
        for how, widths in QUANTIZERS.items():
            name, quantizer = SWITCHES[how], getattr(self, how)
            bits, allowed = getattr(self, name), widths[quantizer]
            if bits != FLOAT_BITS and bits not in allowed:
                span = f"{allowed[0]} to {allowed[-1]}" if len(allowed) > 1 else f"{allowed[0]}"
                of = f" of the {how} '{quantizer}'" if quantizer != DEFAULTS[how] else ""
                raise ConfigError(f"`{name}`{of} must be {span}, or 32 for floating point, but is {bits}.")

    @cached_property
    def codes(self) -> tuple[float, ...]:
        """The choice as numbers, one per knob in the order of `KNOBS`; categories as indices."""
        return (
            self.sparsity,
            _INDEX["pattern"][self.pattern],
            self.rank,
            _INDEX["factorization"][self.factorization],
            self.weight_bits,
            _INDEX["weight_quantizer"][self.weight_quantizer],
            self.activation_bits,
            _INDEX["activation_quantizer"][self.activation_quantizer],
        )

    @cached_property
    def packed(self) -> bytes:
        """`codes` as the bytes of float64 numbers."""
        return struct.pack(f"{len(KNOBS)}d", *self.codes)


KNOBS = tuple(f.name for f in fields(Choice))
DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(Choice)}
UNTOUCHED = Choice()
Designs = Mapping[str, Sequence[Any]]
"""A column of ``b`` values for each parameter of the device that is decided on; None leaves the device's own."""
DEVICE = "hw"  # takes the place of the layer in the name of a decision about the device


class Configuration(Mapping[str, Choice]):
    """One choice per layer; layers that are not named are left alone. Immutable, hashable, equal by meaning.

    Attributes:
        device: parameters of the device that the search decides on, too, with their values; empty for the device as it is.
    """

    def __init__(self, choices: Mapping[str, Choice], device: Mapping[str, Any] | None = None) -> None:
        self._choices = {layer: choice for layer, choice in choices.items() if choice != UNTOUCHED}
        self.device: Mapping[str, Any] = dict(sorted((device or {}).items()))

    def __getitem__(self, layer: str) -> Choice:
        return self._choices[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._choices == other._choices and self.device == other.device

    def __repr__(self) -> str:
        return f"Configuration({self._choices}{f', device={self.device}' if self.device else ''})"

    def choice(self, layer: str) -> Choice:
        """The layer's choice, `UNTOUCHED` where none was made."""
        return self._choices.get(layer, UNTOUCHED)

    def flatten(self) -> dict[str, Any]:
        """Every decision that differs from the default, as ``"layer/knob" -> value``; the one form for files and databases.

        Parameters of the device are named ``hw/parameter``.
        """
        return {
            f"{layer}/{knob}": value
            for layer, choice in sorted(self._choices.items())
            for knob, value in asdict(choice).items()
            if value != DEFAULTS[knob]
        } | {f"{DEVICE}/{parameter}": value for parameter, value in self.device.items()}

    @classmethod
    def unflatten(cls, flat: Mapping[str, Any]) -> Configuration:
        """The inverse of `flatten`.

        Raises:
            ConfigError: on a key that is not ``layer/knob`` or a value out of range.
        """
        choices: dict[str, dict[str, Any]] = {}
        device: dict[str, Any] = {}
        for name, value in flat.items():
            layer, _, knob = name.rpartition("/")
            if is_of_device(layer, knob):
                device[knob] = value
                continue
            if not layer or knob not in KNOBS:
                raise ConfigError(f"A decision is named layer/knob with a knob of {', '.join(KNOBS)}, but is '{name}'.")
            choices.setdefault(layer, {})[knob] = value
        return cls({layer: Choice(**knobs) for layer, knobs in choices.items()}, device)

    @cached_property
    def key(self) -> str:
        """A short name that equal configurations share, in every process."""
        return hashlib.sha256(json.dumps(self.flatten(), sort_keys=True).encode()).hexdigest()[:16]


def is_of_device(layer: str, knob: str) -> bool:
    """Whether a decision is about a parameter of the device; a layer may be called ``hw``, but has other knobs."""
    return layer == DEVICE and knob not in KNOBS


def designs_of(configurations: Sequence[Configuration]) -> Designs:
    """The devices of ``b`` configurations."""
    parameters = sorted({parameter for c in configurations for parameter in c.device})
    return {parameter: [c.device.get(parameter) for c in configurations] for parameter in parameters}


@dataclass(frozen=True, eq=False)
class Choices:
    """What many configurations do to each layer, as arrays, ``b x l`` each (b candidates, l layers); categories as indices."""

    layers: tuple[str, ...]
    sparsity: NDArray[np.float64]
    pattern: NDArray[np.int64]
    rank: NDArray[np.float64]
    factorization: NDArray[np.int64]
    weight_bits: NDArray[np.int64]
    weight_quantizer: NDArray[np.int64]
    activation_bits: NDArray[np.int64]
    activation_quantizer: NDArray[np.int64]

    @classmethod
    def of(cls, configurations: Sequence[Configuration], layers: Sequence[str]) -> Choices:
        """The table of some configurations over the named layers."""
        # joining bytes is several times as fast as an array of nested tuples, and every price begins here
        packed = b"".join([c.choice(layer).packed for c in configurations for layer in layers])
        return cls.from_codes(np.frombuffer(packed).reshape(len(configurations), len(layers), len(KNOBS)), layers)

    @classmethod
    def from_codes(cls, codes: NDArray[np.float64], layers: Sequence[str]) -> Choices:
        """The table of `Choice.codes`, ``b x l x knobs``."""
        columns: dict[str, Any] = {k: codes[..., i].astype(type(UNTOUCHED.codes[i])) for i, k in enumerate(KNOBS)}
        return cls(tuple(layers), **columns)

    def uses(self, knob: str, category: str) -> NDArray[np.bool_]:
        """Where a category is chosen and switched on, ``b x l``."""
        chosen: NDArray[np.bool_] = getattr(self, knob) == CATEGORIES[knob].index(category)
        switch = SWITCHES[knob]
        return np.asarray(chosen & (getattr(self, switch) != DEFAULTS[switch]))
