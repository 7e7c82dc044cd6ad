"""From disagreement to error: calibrations of one property, fitted on held-out labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_POINTS: int = 10
"""Fewest labelled points that a fit accepts unless told otherwise."""

MIN_SPREAD: float = 1e-10
RELATIVE_SPREAD: float = 1e-3
"""Spreads below ``MIN_SPREAD`` (eV/atom, eV/Å or eV/Å³) or this part of the median are rounding:
they come from symmetry, as the force on the atom of a primitive cell, say nothing about errors, and
are left out of a fit. Single precision leaves 1e-6 eV/Å where symmetry wants 0."""


class CalibrationError(ValueError):
    """Data that no calibration can be fitted to, or a document that is not one."""


class _Document:
    """``as_dict`` and ``from_dict`` of the dataclasses below."""

    kind: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """Return a document of plain values."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Rebuild from :meth:`as_dict`; an unknown, missing or unusable value is an error."""
        values = {k: v for k, v in d.items() if not k.startswith("@")}
        kind = values.pop("kind", cls.kind)
        if kind != cls.kind:
            raise CalibrationError(f"this is a {kind!r} calibration, not {cls.kind!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise CalibrationError(f"not a {cls.kind} calibration: {error}") from error


@dataclass(frozen=True)
class LinearCalibration(_Document):
    """D = a·ε through the origin, σ = D / a (TrainsPot, §II A 6).

    Parameters
    ----------
    a : float
        Slope: disagreement per error, without unit.
    n_points : int
        Points it was fitted to.
    n_left_out : int
        Points without spread (see :func:`has_spread`) that were not used.

    Notes
    -----
    The paper also writes the calibrated disagreement as ``a·D``, with the same ``a`` that turns
    a target error into a threshold, ``τ = a·ε_thr``. Both cannot hold; with ``D = a·ε`` it is
    ``D / a``, as here.
    """

    a: float
    n_points: int = 0
    n_left_out: int = 0
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        _check_parameter(self.kind, "a", self.a, positive=True)

    @classmethod
    def fit(cls, spread: ArrayLike, error: ArrayLike, min_points: int = MIN_POINTS) -> Self:
        """Fit a = Σ D·ε / Σ ε², the least squares of D = a·ε.

        Parameters
        ----------
        spread : array, shape (n,)
            D, not negative.
        error : array, shape (n,)
            ε in the same unit; its sign does not matter.
        min_points : int
            Fewest points with a spread.

        Raises
        ------
        CalibrationError
            If values are not finite or do not match, points are too few, or all spreads or all
            errors are zero.
        """
        s, e, left_out = _clean(spread, error, min_points)
        e = np.abs(e)
        if not e.any():
            raise CalibrationError(
                f"all {len(e)} errors are 0, so no slope exists; the labels seem to be the "
                "model's own predictions. Calibrate on labels of the reference method"
            )
        return cls(float(s @ e / (e @ e)), len(s), left_out)

    def apply(self, spread: ArrayLike) -> Array:
        """Return σ = D / a for spreads of any shape."""
        return _non_negative("spread", spread) / self.a

    def invert(self, error: ArrayLike) -> Array:
        """Return τ = a·ε, the threshold on D that a target error stands for."""
        return _non_negative("error", error) * self.a


@dataclass(frozen=True)
class PowerLawCalibration(_Document):
    """σ = a·σ̂^b by maximum likelihood (CAGO, eqs. 4-5).

    Parameters
    ----------
    a : float
        Prefactor, in the unit of the property to the power 1 − b.
    b : float
        Exponent.
    n_points, n_left_out : int
        As in :class:`LinearCalibration`.
    """

    a: float
    b: float
    n_points: int = 0
    n_left_out: int = 0
    kind: ClassVar[str] = "power_law"

    def __post_init__(self) -> None:
        _check_parameter(self.kind, "a", self.a, positive=True)
        _check_parameter(self.kind, "b", self.b, positive=False)

    @classmethod
    def fit(cls, spread: ArrayLike, error: ArrayLike, min_points: int = MIN_POINTS) -> Self:
        """Minimise Σ [ln σ² + ε²/σ²], σ = a·σ̂^b, over a and b (CAGO, eq. 5).

        For given b the best prefactor is a² = mean(ε²·σ̂^−2b). What is left is convex in b, with
        derivative ∝ −<t>_w, t = ln σ̂ − mean(ln σ̂), w ∝ ε²·e^(−2bt): the one root is found by
        bisection, with no start value to depend on.

        Parameters
        ----------
        spread : array, shape (n,)
            σ̂, not negative; components, not norms.
        error : array, shape (n,)
            ε = ȳ − y in the same unit.
        min_points : int
            Fewest points with a spread.

        Raises
        ------
        CalibrationError
            If values are not finite or do not match, points are too few, the spreads are all
            equal, or the errors vanish on one side of the mean spread (b would be infinite).
        """
        s, e, left_out = _clean(spread, error, min_points)
        log_s = np.log(s)
        t = log_s - log_s.mean()
        if np.ptp(log_s) < 1e-8 * max(1.0, np.abs(log_s).max()):
            raise CalibrationError(
                f"all {len(s)} spreads are {s[0]:.6g}: an exponent cannot be fitted to one spread. "
                "Add frames of other kinds, or use LinearCalibration"
            )
        weighted = e != 0
        if not (t[weighted] < 0).any() or not (t[weighted] > 0).any():
            raise CalibrationError(
                f"only {weighted.sum()} of {len(e)} errors are not 0, all on one side of the mean "
                "spread, so the exponent has no bound. Calibrate on labels of the reference method"
            )
        log_e2 = np.log(e[weighted] ** 2)
        b = _root(lambda b: -_weighted_mean(t[weighted], log_e2 - 2 * b * t[weighted]))
        logs = log_e2 - 2 * b * log_s[weighted]
        peak = logs.max()
        log_a = 0.5 * (peak + np.log(np.exp(logs - peak).sum() / len(s)))
        return cls(float(np.exp(log_a)), float(b), len(s), left_out)

    def apply(self, spread: ArrayLike) -> Array:
        """Return σ = a·σ̂^b for spreads of any shape.

        Raises
        ------
        ValueError
            If a spread is negative or NaN, or 0 where b < 0 (σ would be infinite).
        """
        s = _non_negative("spread", spread)
        if self.b < 0 and (s == 0).any():
            raise ValueError(f"a spread of 0 has no finite σ when b = {self.b:.3g} < 0")
        return self.a * s**self.b

    def invert(self, error: ArrayLike) -> Array:
        """Return the spread (ε/a)^(1/b) at which σ is ``error``.

        Raises
        ------
        ValueError
            If b ≤ 0: σ then does not grow with the spread, which ranks nothing.
        """
        if self.b <= 0:
            raise ValueError(
                f"b = {self.b:.3g}: the estimated error does not grow with the spread, so no "
                "threshold stands for a target error. Use another measure or more members"
            )
        return (_non_negative("error", error) / self.a) ** (1 / self.b)


Calibration = LinearCalibration | PowerLawCalibration
"""What turns a disagreement into an estimate of the error, and back."""

CALIBRATIONS: dict[str, type[Calibration]] = {
    c.kind: c for c in (LinearCalibration, PowerLawCalibration)
}
"""Kind in a document or config -> class."""


def calibration_from_dict(d: dict[str, Any]) -> Calibration:
    """Rebuild a calibration of any kind.

    Raises
    ------
    CalibrationError
        If the kind is unknown, or the document does not fit it.
    """
    kind = d.get("kind")
    if kind not in CALIBRATIONS:
        raise CalibrationError(f"kind is {kind!r}; calibrations are {sorted(CALIBRATIONS)}")
    return CALIBRATIONS[kind].from_dict(d)


def has_spread(spread: ArrayLike) -> NDArray[np.bool_]:
    """Tell which spreads are more than rounding (:data:`RELATIVE_SPREAD`), shape as given."""
    s = np.asarray(spread, dtype=float)
    floor = RELATIVE_SPREAD * np.median(s) if s.size else 0.0
    return s > max(MIN_SPREAD, floor)


def _clean(spread: ArrayLike, error: ArrayLike, min_points: int) -> tuple[Array, Array, int]:
    """Return the usable points and how many had no spread."""
    s, e = np.asarray(spread, dtype=float), np.asarray(error, dtype=float)
    if s.shape != e.shape or s.ndim != 1:
        raise CalibrationError(
            f"spread {s.shape} and error {e.shape} must be flat arrays of one length"
        )
    for name, values in (("spread", s), ("error", e)):
        if not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))
            raise CalibrationError(
                f"{len(bad)} of {len(values)} values of {name} are not finite (first: point "
                f"{bad[0]}); leave out frames without labels or predictions"
            )
    if (s < 0).any():
        raise CalibrationError(f"a spread is negative ({s.min():.6g}); give standard deviations")
    keep = has_spread(s)
    if keep.sum() < max(min_points, 2):
        raise CalibrationError(
            f"{keep.sum()} points with a spread above rounding (of {len(s)}); a calibration "
            f"needs {max(min_points, 2)}. Label more held-out frames, or check that the members "
            "differ"
        )
    return s[keep], e[keep], int((~keep).sum())


def _check_parameter(kind: str, name: str, value: float, positive: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or (positive and value <= 0):
        need = "a positive" if positive else "a finite"
        raise CalibrationError(f"{kind} calibration: {name} is {value!r}; give {need} number")


def _non_negative(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    if not (array >= 0).all():  # NaN fails too
        raise ValueError(f"{name} holds negative values or NaN; give 0 or more")
    return array


def _weighted_mean(values: Array, log_weights: Array) -> float:
    weights = np.exp(log_weights - log_weights.max())
    return float(values @ weights / weights.sum())


def _root(slope: Callable[[float], float]) -> float:
    """Return the root of an increasing function, bracketed by doubling."""
    from scipy.optimize import brentq

    low, high = -1.0, 1.0
    while slope(low) > 0:
        low *= 2
    while slope(high) < 0:
        high *= 2
    return float(brentq(slope, low, high, xtol=1e-13, rtol=1e-13))
