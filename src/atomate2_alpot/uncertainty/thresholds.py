"""Where certain ends: thresholds on disagreement, and factors on them by element."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas import Frames
from atomate2_alpot.uncertainty.calibration import Calibration

Array = NDArray[np.float64]


def calibrated_threshold(calibration: Calibration, target: float) -> float:
    """Return the disagreement at which the calibrated error is ``target`` (TrainsPot, §II A 6).

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

    Of training errors it is the adaptive threshold of UQ on heterogeneous data, eq. 7.

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
