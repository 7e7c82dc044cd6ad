"""Where certain ends: thresholds on disagreement, and factors on them by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from atomate2_alpot.schemas import Frames, Settings
from atomate2_alpot.uncertainty.calibration import Calibration

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What is known about one property when a threshold is to be set.

    Parameters
    ----------
    errors : array, shape (n,), optional
        Errors on the training set.
    spread : array, shape (k,), optional
        Disagreement on the candidates, or on whatever the quantile is one of.
    calibration : Calibration, optional
        Of the same disagreement.
    """

    errors: Array | None = None
    spread: Array | None = None
    calibration: Calibration | None = None


class FixedThreshold(Settings):
    """A number, in the unit of the disagreement."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(gt=0, description="Threshold in eV/atom, eV/Å or eV/Å³.")

    def resolve(self, reference: Reference) -> float:  # noqa: ARG002
        """Return the threshold."""
        return self.value


class CalibratedThreshold(Settings):
    """The disagreement that a target error stands for: τ = a·ε (TrainsPot, §II A 6)."""

    kind: Literal["calibrated"] = "calibrated"
    target: float = Field(gt=0, description="Error to be reached, in eV/atom, eV/Å or eV/Å³.")

    def resolve(self, reference: Reference) -> float:
        """Return the threshold; needs ``reference.calibration``."""
        if reference.calibration is None:
            raise ValueError(_need("calibrated", "a calibration; fit one on labelled frames"))
        return calibrated_threshold(reference.calibration, self.target)


class IQRThreshold(Settings):
    """Q3 + 1.5·IQR of the training errors (UQ on heterogeneous data, eq. 7)."""

    kind: Literal["iqr"] = "iqr"
    factor: float = Field(1.5, ge=0, description="How many interquartile ranges above Q3.")

    def resolve(self, reference: Reference) -> float:
        """Return the threshold; needs ``reference.errors``."""
        if reference.errors is None:
            raise ValueError(_need("iqr", "errors on the training set"))
        return iqr_threshold(reference.errors, self.factor)


class QuantileThreshold(Settings):
    """A quantile of the disagreements: a fixed share exceeds it."""

    kind: Literal["quantile"] = "quantile"
    quantile: float = Field(0.9, ge=0, le=1, description="Share of values at or below it.")

    def resolve(self, reference: Reference) -> float:
        """Return the threshold; needs ``reference.spread``."""
        if reference.spread is None:
            raise ValueError(_need("quantile", "disagreements of the candidates"))
        return quantile_threshold(reference.spread, self.quantile)


Threshold = Annotated[
    FixedThreshold | CalibratedThreshold | IQRThreshold | QuantileThreshold,
    Field(discriminator="kind"),
]
"""A threshold as a field of settings; ``kind`` tells which."""


def calibrated_threshold(calibration: Calibration, target: float) -> float:
    """Return the disagreement at which the calibrated error is ``target``.

    Raises
    ------
    ValueError
        If the target is not positive, or the calibration does not grow with the disagreement.
    """
    if not target > 0:
        raise ValueError(f"target error is {target}; give a positive one")
    return float(calibration.invert(target))


def iqr_threshold(errors: ArrayLike, factor: float = 1.5) -> float:
    """Return Q3 + factor·(Q3 − Q1) of errors or force magnitudes, by linear interpolation.

    Raises
    ------
    ValueError
        If there are no values, or one is negative or not finite.
    """
    q1, q3 = np.quantile(_magnitudes("errors", errors), [0.25, 0.75])
    return float(q3 + factor * (q3 - q1))


def quantile_threshold(spread: ArrayLike, quantile: float) -> float:
    """Return a quantile, by linear interpolation.

    Raises
    ------
    ValueError
        If there are no values, one is negative or not finite, or ``quantile`` is not in [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile is {quantile}; give 0 to 1")
    return float(np.quantile(_magnitudes("disagreements", spread), quantile))


def element_factors(frames: Frames, factors: Mapping[str, float]) -> Array:
    """Return the product of the factors of the elements in each frame, shape (S,).

    Thresholds are multiplied by it: elements that every potential describes badly would else be
    all that is selected. An element counts once, however many atoms it has (MP-ALOE); one that
    is not listed has 1.

    Parameters
    ----------
    frames : Frames
    factors : mapping of str to float
        By symbol, positive.

    Raises
    ------
    ValueError
        If a key is no element or a factor is not positive.
    """
    logs = np.log(_factor_table(factors))
    present = np.zeros((len(frames), len(logs)), dtype=bool)
    present[frames.frame_index, frames.numbers] = True
    return np.exp(present @ logs)


def atom_factors(frames: Frames, factors: Mapping[str, float]) -> Array:
    """Return the factor of each atom's element, shape (ΣN,); see :func:`element_factors`."""
    return _factor_table(factors)[frames.numbers]


def _factor_table(factors: Mapping[str, float]) -> Array:
    from ase.data import atomic_numbers

    table = np.ones(119)
    for symbol, factor in factors.items():
        if not atomic_numbers.get(symbol):  # ASE lists a dummy X with 0
            raise ValueError(
                f"element_factors: {symbol!r} is no element; give symbols such as 'Fe'"
            )
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"element_factors: {symbol} has {factor}; give a positive number")
        table[atomic_numbers[symbol]] = factor
    return table


def _magnitudes(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float).reshape(-1)
    if not len(array):
        raise ValueError(f"there are no {name}, so they have no quartiles; give labelled frames")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name} hold negative values, NaN or infinity; give finite magnitudes")
    return array


def _need(kind: str, what: str) -> str:
    return f"a threshold of kind {kind!r} needs {what}"
