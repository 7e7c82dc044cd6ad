"""Is an uncertainty worth trusting: statistics of σ (or spread) against errors, as data.

Each result has a figure in :mod:`~atomate2_alpot.uncertainty.figures`. Arrays are flat: one
entry per frame, atom or component, whatever is being judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.uncertainty.calibration import Calibration

Array = NDArray[np.float64]

MIN_SIGMA: float = 1e-10
"""Points with σ below this come from symmetry; z is not defined for them."""


@dataclass(frozen=True)
class ZStatistics:
    """Of z = error / σ (CAGO, eq. 3, its r): well calibrated when normal, mean 0 and std 1.

    Parameters
    ----------
    mean, std : float
        std with 1/n.
    within_1, within_2 : float
        Share of |z| ≤ 1 and ≤ 2; 0.683 and 0.954 of a normal distribution.
    n_points : int
        Points with σ > 0.
    n_left_out : int
        Points with σ = 0, to rounding.
    z : array, shape (n_points,)
    """

    mean: float
    std: float
    within_1: float
    within_2: float
    n_points: int
    n_left_out: int
    z: Array


@dataclass(frozen=True)
class Reliability:
    """Share of errors inside the interval that should hold a given share.

    Parameters
    ----------
    expected : array, shape (b,)
        Confidence levels p.
    observed : array, shape (b,)
        Share of |z| ≤ Φ⁻¹((1 + p)/2); above ``expected``: σ too large.
    calibration_error : float
        Expected calibration error: mean of |observed − expected|.
    bin_sigma, bin_error : array, shape (q,)
        RMS of σ and of the error in groups of equal size, from low to high σ (CAGO, Fig. 2b);
        equal when calibrated.
    """

    expected: Array
    observed: Array
    calibration_error: float
    bin_sigma: Array
    bin_error: Array


@dataclass(frozen=True)
class ThresholdMaps:
    """TPR and PPV over both thresholds (TrainsPot, eqs. 3-4, Fig. 5).

    Parameters
    ----------
    spread, error : array, shape (a,) and (b,)
        Thresholds τ and ε_thr.
    tpr : array, shape (a, b)
        TP/(TP+FN): share of what has error > ε_thr that has spread > τ. NaN where none has.
    ppv : array, shape (a, b)
        TP/(TP+FP): share of what has spread > τ that has error > ε_thr. NaN where none has.
    """

    spread: Array
    error: Array
    tpr: Array
    ppv: Array


@dataclass(frozen=True)
class Sparsification:
    """RMSE of what is left when the most uncertain are taken out.

    Parameters
    ----------
    removed : array, shape (n,)
        Share taken out: 0, 1/n, … (n − 1)/n.
    error, oracle : array, shape (n,)
        RMSE of the rest relative to that of all, in order of σ and of the error itself.
    area : float
        Area under ``error``: 1 when σ says nothing, smaller is better.
    area_oracle : float
        Area under ``oracle``, which no σ undercuts.
    """

    removed: Array
    error: Array
    oracle: Array
    area: float
    area_oracle: float

    @property
    def excess(self) -> float:
        """Area between the curve and the oracle's; 0 when σ ranks as the errors do."""
        return self.area - self.area_oracle


def z_statistics(sigma: ArrayLike, error: ArrayLike) -> ZStatistics:
    """Return statistics of error / σ.

    Parameters
    ----------
    sigma : array, shape (n,)
    error : array, shape (n,)
        Signed, of the same unit.

    Raises
    ------
    ValueError
        If arrays do not match, are not finite, a σ is negative, or all are 0.
    """
    z, left_out = _z(*_pair(sigma, error))
    size = np.abs(z)
    return ZStatistics(
        mean=float(z.mean()),
        std=float(z.std()),
        within_1=float((size <= 1).mean()),
        within_2=float((size <= 2).mean()),
        n_points=len(z),
        n_left_out=left_out,
        z=z,
    )


def reliability(
    sigma: ArrayLike, error: ArrayLike, n_levels: int = 19, n_bins: int = 10
) -> Reliability:
    """Return the reliability curve and the expected calibration error, of a normal σ.

    Levels are k/(n_levels + 1), k = 1 … n_levels. Raises as :func:`z_statistics` does.
    """
    s, e = _pair(sigma, error)
    from scipy.special import ndtri

    size = np.sort(np.abs(_z(s, e)[0]))
    expected = np.arange(1, n_levels + 1) / (n_levels + 1)
    observed = np.searchsorted(size, ndtri((1 + expected) / 2), side="right") / len(size)
    groups = np.array_split(np.argsort(s, kind="stable"), min(n_bins, len(s)))
    return Reliability(
        expected=expected,
        observed=observed,
        calibration_error=float(np.abs(observed - expected).mean()),
        bin_sigma=np.array([np.sqrt((s[g] ** 2).mean()) for g in groups]),
        bin_error=np.array([np.sqrt((e[g] ** 2).mean()) for g in groups]),
    )


def spearman(spread: ArrayLike, error: ArrayLike) -> float:
    """Return Spearman's ρ between spread and |error|: Pearson's of the ranks, ties averaged.

    Raises
    ------
    ValueError
        If there are fewer than 3 points, or either is constant: ranks then say nothing.
    """
    s, e = _pair(spread, error)
    e = np.abs(e)
    if len(s) < 3 or np.ptp(s) == 0 or np.ptp(e) == 0:
        raise ValueError(
            f"a rank correlation needs 3 points with different spreads and errors; there are "
            f"{len(s)}, spread {s.min():.6g} to {s.max():.6g}, error {e.min():.6g} to {e.max():.6g}"
        )
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(s), rankdata(e))[0, 1])


def threshold_maps(
    spread: ArrayLike,
    error: ArrayLike,
    spread_thresholds: ArrayLike | None = None,
    error_thresholds: ArrayLike | None = None,
) -> ThresholdMaps:
    """Return TPR and PPV for every pair of thresholds.

    Parameters
    ----------
    spread, error : array, shape (n,)
    spread_thresholds, error_thresholds : array, optional
        Increasing; default 50 on a logarithmic scale from the 1 % to the 99 % quantile.

    Raises
    ------
    ValueError
        If arrays do not match or are not finite, or thresholds do not increase.
    """
    s, e = _pair(spread, error)
    e = np.abs(e)
    tau = _levels("spread_thresholds", s, spread_thresholds)
    eps = _levels("error_thresholds", e, error_thresholds)
    # Row i, column j of `above`: points that exceed tau[i] and eps[j].
    places = np.searchsorted(tau, s, side="left"), np.searchsorted(eps, e, side="left")
    counts = np.zeros((len(tau) + 1, len(eps) + 1))
    np.add.at(counts, places, 1.0)
    above = counts[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    both, wrong, chosen = above[1:, 1:], above[0, 1:], above[1:, :1]
    with np.errstate(invalid="ignore"):
        return ThresholdMaps(tau, eps, tpr=both / wrong, ppv=both / chosen)


def rates_along(
    calibration: Calibration, spread: ArrayLike, error: ArrayLike, targets: ArrayLike
) -> ThresholdMaps:
    """Return TPR and PPV on the fitted line: τ = calibration.invert(ε_thr).

    ``tpr`` and ``ppv`` have the shape of ``targets``, as have both thresholds.
    """
    eps = np.atleast_1d(np.asarray(targets, dtype=float))
    tau = calibration.invert(eps)
    maps = [threshold_maps(spread, error, [t], [x]) for t, x in zip(tau, eps, strict=True)]
    return ThresholdMaps(
        tau,
        eps,
        tpr=np.array([m.tpr[0, 0] for m in maps]),
        ppv=np.array([m.ppv[0, 0] for m in maps]),
    )


def sparsification(sigma: ArrayLike, error: ArrayLike) -> Sparsification:
    """Return the sparsification curve: relative RMSE after removing the largest σ first.

    Points of equal σ count as removed together in a random order on average: each gets the mean
    squared error of its group. The area is the mean over the n removed shares.

    Raises
    ------
    ValueError
        If arrays do not match or are not finite, or all errors are 0.
    """
    s, e = _pair(sigma, error)
    if not e.any():
        raise ValueError("all errors are 0: there is nothing to remove")
    _, group, size = np.unique(s, return_inverse=True, return_counts=True)
    mean = np.bincount(group, e**2) / size  # squared error, ties averaged
    by_sigma = mean[group][np.argsort(s, kind="stable")]
    left = np.arange(1, len(s) + 1)
    total = np.sqrt((e**2).mean())
    curves = [
        np.sqrt(np.cumsum(values) / left)[::-1] / total for values in (by_sigma, np.sort(e**2))
    ]
    return Sparsification(
        removed=np.arange(len(s)) / len(s),
        error=curves[0],
        oracle=curves[1],
        area=float(curves[0].mean()),
        area_oracle=float(curves[1].mean()),
    )


def _pair(sigma: ArrayLike, error: ArrayLike) -> tuple[Array, Array]:
    s, e = np.asarray(sigma, dtype=float), np.asarray(error, dtype=float)
    if s.shape != e.shape or s.ndim != 1 or not len(s):
        raise ValueError(f"uncertainty {s.shape} and error {e.shape}: give flat arrays of a length")
    if not (np.isfinite(s).all() and np.isfinite(e).all()):
        raise ValueError("uncertainty or error holds NaN or infinity; leave those points out")
    if (s < 0).any():
        raise ValueError(f"an uncertainty is negative ({s.min():.6g})")
    return s, e


def _z(s: Array, e: Array) -> tuple[Array, int]:
    keep = s > MIN_SIGMA
    if not keep.any():
        raise ValueError(f"all {len(s)} uncertainties are 0; z = error / σ is not defined")
    return e[keep] / s[keep], int((~keep).sum())


def _levels(name: str, values: Array, given: ArrayLike | None) -> Array:
    if given is None:
        positive = values[values > 0]
        if not len(positive):
            raise ValueError(f"{name}: no value is above 0; give thresholds")
        low, high = np.quantile(positive, [0.01, 0.99])
        return np.unique(np.geomspace(low, high, 50))
    levels = np.asarray(given, dtype=float)
    if levels.ndim != 1 or not len(levels) or not (np.diff(levels) > 0).all():
        raise ValueError(f"{name} must be increasing numbers, at least one")
    return levels
