"""Converters of a crossbar: what an analogue-to-digital conversion costs at each resolution, and how an input is applied."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.cost import Floats
from hwmodels.parameters import Count

AdcKind: TypeAlias = Literal["sar", "cyclic", "flash"]
"""Successive approximation, one charge-decrement loop per bit, or one comparator per level."""

# Energy of the 32 nm converter of ISAAC (Saberi 2011 by way of Shafiee et al., ISCA 2016): 0.79, 0.99, 1.20, 1.42, 1.67, 2.38 pJ at
# 4, 5, 6, 7, 8, 10 bit. Comparator and logic go with the bits, the capacitors with 2**bits; this ratio meets all six within 0.4 %.
_CAPACITOR_SHARE: Final = 1 / 475


def _sar_size(bits: ArrayLike) -> Floats:
    bits = np.asarray(bits, np.float64)
    return np.asarray(bits + _CAPACITOR_SHARE * np.exp2(bits))


def _flash_size(bits: ArrayLike) -> Floats:
    return np.asarray(np.exp2(np.asarray(bits, np.float64)) - 1)


def adc_energy_scale(kind: AdcKind, bits: ArrayLike, reference_bits: ArrayLike) -> Floats:
    """Energy of a conversion relative to ``reference_bits``.

    ``sar``: ``b + 2**b / 475``; ``cyclic``: ``b``; ``flash``: ``2**b - 1``.
    """
    if kind == "cyclic":
        return np.asarray(bits, np.float64) / np.asarray(reference_bits, np.float64)
    size = _sar_size if kind == "sar" else _flash_size
    return np.asarray(size(bits) / size(reference_bits))


def adc_area_scale(kind: AdcKind, bits: ArrayLike, reference_bits: ArrayLike) -> Floats:
    """Area relative to ``reference_bits``: as the energy, but a cyclic converter reuses its one stage for every bit."""
    return np.ones(np.shape(bits)) if kind == "cyclic" else adc_energy_scale(kind, bits, reference_bits)


def adc_time_scale(kind: AdcKind, bits: ArrayLike, reference_bits: ArrayLike) -> Floats:
    """Time of a conversion relative to ``reference_bits``: a step for each bit, or one for all in a flash converter."""
    return np.ones(np.shape(bits)) if kind == "flash" else np.asarray(bits, np.float64) / np.asarray(reference_bits, np.float64)


def lossless_bits(active_rows: Count, cell_bits: Count, dac_bits: Count) -> Floats:
    """Resolution that tells every sum apart: ``ceil(log2(rows (2**cell_bits - 1) (2**dac_bits - 1) + 1))``."""
    levels = np.asarray(active_rows, np.float64) * (np.exp2(cell_bits) - 1) * (np.exp2(dac_bits) - 1)
    return np.asarray(np.ceil(np.log2(levels + 1)))


def pulse_train(activation_bits: ArrayLike, phase_bits: ArrayLike) -> tuple[Floats, Floats]:
    """Bit planes of a signed input that is applied as a train of pulses, and phases in which they are integrated and converted.

    The sign sets the polarity of the pulses, so that ``n`` bits have ``n - 1`` planes, at least one. The charge of one plane after the
    other is integrated in the neuron, and the sum is converted once; inputs of more than ``phase_bits`` planes are split into a high
    and a low half with a conversion each (Wan et al., NeuRRAM, Nature 2022).
    """
    planes = np.maximum(np.asarray(activation_bits, np.float64) - 1, 1)
    return planes, np.where(planes > np.asarray(phase_bits), 2.0, 1.0)
