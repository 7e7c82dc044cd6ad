"""D-optimality: an active set of rows, and how far others extrapolate from it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.uncertainty.maxvol import RANK_TOLERANCE, pivot_rows, swap_rows
from atomate2_alpot.uncertainty.rows import FeatureError, Rows, max_abs

Array = NDArray[np.float64]

TOLERANCE: float = 1e-7
"""A row joins the active set when that enlarges |det A| by more than this fraction."""

MIN_REFRESH: int = 50
"""Rank-one updates after which A⁻¹ is computed anew, at least; m where m is larger, so that the
cost of an update stays of order m²."""


MOST_CHANGE: float = 1e4
"""A⁻¹ is also computed anew when a row of larger |c_j| comes in: the part of A⁻¹ that it takes away
is so many times what stays, and the rank-one formula would lose as many digits."""


class ActiveSet:
    """The m rows of largest volume among n, and grades γ with respect to them.

    For a linear potential the rows are its basis functions, one row per environment of one
    element (ACE; UQ on heterogeneous data, eqs. 8-12); for a moment tensor potential they are
    ∂E/∂θ, one row per frame or environment (AutoPot, eqs. 5-6). Then γ = max_j |c_j|, c = b A⁻¹:
    γ ≤ 1 interpolates, ≤ 2 extrapolates accurately, ≤ 10 reliably, above is risky. Scaling a
    column changes nothing.

    Made by :meth:`fit` or :meth:`from_rows`.

    Attributes
    ----------
    indices : array of int, shape (m,)
        Row that each member was in the features given to :meth:`fit`; rows added later count on
        from there. −1: a direction no row had, completed.
    """

    def __init__(
        self, active: Array, scale: Array, indices: NDArray[np.int64], n_rows: int
    ) -> None:
        self._active, self._scale, self.indices = active, scale, indices
        self._n_rows, self._n_updates = n_rows, 0
        self._inverse = np.linalg.inv(active)

    @classmethod
    def fit(
        cls, features: Any, complete: float | None = None, tolerance: float = TOLERANCE
    ) -> Self:
        """Choose the active set by MaxVol.

        Parameters
        ----------
        features : array_like or memmap, shape (n, m)
            Read in blocks, several times; beside it the memory needed is a few blocks, two
            numbers per row and some m × m matrices.
        complete : float, optional
            What to do when the rows span less than m directions. Left out, that is an error.
            Else each direction that they do not span, or by less than this, is filled in by a row
            of this length relative to the largest one (MLIP takes 1e-6): a part in that direction
            gives a large γ, and what is rounding spans nothing.
        tolerance : float
            See :data:`TOLERANCE`.

        Raises
        ------
        FeatureError
            If there is no row, a value is not finite, or rows span less than m directions.
        """
        return cls._fit(Rows(features), complete, tolerance)

    @classmethod
    def _fit(cls, rows: Rows, complete: float | None, tolerance: float) -> Self:
        if not len(rows):
            raise FeatureError("there are no rows of features; give those of the training set")
        if complete is not None and not 0 < complete < 1:
            raise FeatureError(f"complete is {complete}; give a small fraction such as 1e-6")
        # a direction spanned by less than the row that completes it is one to complete
        pivots = pivot_rows(rows, max(RANK_TOLERANCE, complete or 0.0))
        active, indices = rows.take(pivots.indices), pivots.indices.copy()
        if len(pivots.missing):
            if complete is None:
                raise FeatureError(_deficiency(rows, len(indices)))
            length = complete * np.sqrt((active**2).sum(axis=1).max(initial=1e-300))
            active = np.concatenate([active, length * pivots.missing])
            indices = np.concatenate([indices, np.full(len(pivots.missing), -1)])
        swap_rows(rows, active, indices, tolerance)
        return cls(active, rows.scale, indices, len(rows))

    @classmethod
    def from_rows(cls, rows: ArrayLike) -> Self:
        """Rebuild from :attr:`rows`, shape (m, m)."""
        active = np.array(rows, dtype=float)
        if active.ndim != 2 or active.shape[0] != active.shape[1]:
            raise FeatureError(f"rows have shape {active.shape}; give a square matrix")
        scale = Rows(active).scale
        if np.linalg.matrix_rank(active / scale) < len(active):
            raise FeatureError("the rows of an active set must be independent")
        return cls(active / scale, scale, np.arange(len(active)), len(active))

    def copy(self) -> Self:
        """Return a set that can be added to without changing this one."""
        other = type(self)(self._active.copy(), self._scale, self.indices.copy(), self._n_rows)
        other._inverse, other._n_updates = self._inverse.copy(), self._n_updates
        return other

    @property
    def rows(self) -> Array:
        """A, one member per row, shape (m, m)."""
        return self._active * self._scale

    @property
    def inverse(self) -> Array:
        """A⁻¹, shape (m, m)."""
        return self._inverse / self._scale[:, None]

    @property
    def n_features(self) -> int:
        """The number m of features, and of members."""
        return len(self._active)

    @property
    def log_volume(self) -> float:
        """Natural logarithm of |det A|."""
        return float(np.linalg.slogdet(self._active)[1] + np.log(self._scale).sum())

    def grade(self, features: Any) -> Array:
        """Return γ = max_j |(b A⁻¹)_j| of each row b, shape (n,); read in blocks.

        Raises
        ------
        FeatureError
            If the number of columns differs from the fit's, or a value is not finite.
        """
        return self._grade(Rows(features, self._scale))

    def _grade(self, rows: Rows) -> Array:
        grades = rows.reduce(lambda block: max_abs(block @ self._inverse))
        if not np.isfinite(grades).all():
            bad = int(np.argmin(np.isfinite(grades)))
            raise FeatureError(f"row {bad} of the features is NaN or infinite; leave it out")
        return grades

    def add(self, features: Any, tolerance: float = TOLERANCE) -> int:
        """Take in the rows of a frame that enlarge the volume (AutoPot, Algorithm 2.1, line 6).

        Row b replaces member j, where |c_j| is largest, by the rank-one formula (Sherman and
        Morrison) A⁻¹ ← A⁻¹ − A⁻¹_{·j} (c − e_j) / c_j, until all rows given have γ ≤ 1.

        Parameters
        ----------
        features : array_like, shape (k, m)
            One row (configurations) or all of a frame's (environments).
        tolerance : float
            See :data:`TOLERANCE`.

        Returns
        -------
        int
            Number of members replaced; 0 when the frame interpolates.
        """
        rows = Rows(features, self._scale)
        self._grade(rows)  # refuses what is not finite
        values = rows.take(np.arange(len(rows)))
        coefficients = values @ self._inverse
        n_swaps = 0
        while len(values):
            i, j = divmod(int(np.abs(coefficients).argmax()), self.n_features)
            if abs(coefficients[i, j]) <= 1 + tolerance:
                break
            coefficients = self._replace(j, values, coefficients, i)
            self.indices[j] = self._n_rows + i
            n_swaps += 1
        self._n_rows += len(values)
        return n_swaps

    def _replace(self, j: int, values: Array, coefficients: Array, i: int) -> Array:
        """Put row i in place of member j; return the coefficients b A⁻¹ of all rows after it."""
        pivot = coefficients[i, j]
        self._active[j] = values[i]
        self._n_updates += 1
        due = self._n_updates % max(self.n_features, MIN_REFRESH) == 0
        if due or abs(pivot) > MOST_CHANGE:
            self._inverse = np.linalg.inv(self._active)
            return values @ self._inverse
        change = coefficients[i].copy()
        change[j] -= 1
        change /= pivot
        self._inverse -= np.multiply.outer(self._inverse[:, j], change)
        return coefficients - np.multiply.outer(coefficients[:, j], change)


def _deficiency(rows: Rows, rank: int) -> str:
    """Say what is wrong with features that span too little."""
    n, m = rows.shape
    seen = np.zeros(m, dtype=bool)
    first, same = rows.take(np.zeros(1, np.int64))[0], True
    for _, block in rows.blocks():
        seen |= (block != 0).any(axis=0)
        same &= bool((block == first).all())
    text = f"the {n} rows of features span {rank} of {m} directions"
    if n < m:
        text += f" (at least {m} rows are needed)"
    elif same:
        text += " (all rows are equal)"
    if not seen.all():
        zeros = np.flatnonzero(~seen)
        text += f" (columns {zeros[:5].tolist()}{' …' if len(zeros) > 5 else ''} are zero)"
    return text + "; add frames, use fewer features, or give complete=1e-6"
