"""Regularised linear least squares in blocks of equations: a QR triangle, then one SVD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.optimize import minimize_scalar

Array = NDArray[np.float64]

BLOCK_ROWS: int = 4096
"""Equations taken up at a time, at least; twice the unknowns where that is more."""

PRIOR_RANGE: tuple[float, float] = (1e-26, 1e2)
"""Where the evidence looks for λ, in units of the largest eigenvalue."""


class Triangle:
    """All that a fit must know of its equations, in (P + 1)² numbers.

    The equations so far are rotated into a triangle [R z] with the same ‖A θ − y‖ for every θ
    (Golub and Van Loan, Matrix Computations, § 5.3; by blocks, § 6.5). Unlike with normal
    equations, the condition of A is not squared.
    """

    def __init__(self, n_unknowns: int) -> None:
        self.n_rows = 0
        self._triangle = np.zeros((n_unknowns + 1, n_unknowns + 1))
        self._waiting: list[Array] = []
        self._n_waiting = 0

    def add(self, values: Array, target: Array) -> None:
        """Take in equations, shapes (r, P) and (r,)."""
        self._waiting.append(np.column_stack([values, target]))
        self._n_waiting += len(target)
        self.n_rows += len(target)
        if self._n_waiting >= max(BLOCK_ROWS, 2 * len(self._triangle)):
            self._rotate()

    def solve(self) -> LeastSquares:
        """Return the problem, decomposed."""
        self._rotate()
        matrix, target = self._triangle[:, :-1], self._triangle[:, -1]
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        along = u.T @ target
        rest = max(float(target @ target - along @ along), 0.0)
        return LeastSquares(vt, s, along, rest, self.n_rows)

    def _rotate(self) -> None:
        stacked = np.concatenate([self._triangle, *self._waiting])
        size = len(self._triangle)
        self._triangle = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][:size]
        self._waiting, self._n_waiting = [], 0


@dataclass(frozen=True)
class LeastSquares:
    """min ‖A θ − y‖² + λ ‖θ‖² for any λ, by A = U S Vᵀ.

    Parameters
    ----------
    vt : array, shape (P, P)
    singular : array, shape (P,)
        Descending.
    along : array, shape (P,)
        Uᵀ y.
    rest : float
        ‖y − U Uᵀ y‖².
    n_rows : int
    """

    vt: Array
    singular: Array
    along: Array
    rest: float
    n_rows: int

    @property
    def largest(self) -> float:
        """Largest eigenvalue of AᵀA."""
        return float(self.singular[0] ** 2)

    @property
    def rank(self) -> int:
        """Directions that the equations determine, in double precision."""
        small = self.singular[0] * max(len(self.singular), self.n_rows) * np.finfo(float).eps
        return int((self.singular > small).sum())

    def solution(self, strength: float) -> Array:
        """Return θ for one λ, shape (P,); λ = 0 needs full rank."""
        return self.vt.T @ (self.singular / (self.singular**2 + strength) * self.along)

    def quadratic(self, strength: float) -> float:
        """Return min ‖A θ − y‖² + λ ‖θ‖²."""
        return self.rest + float((self.along**2 * strength / (self.singular**2 + strength)).sum())

    def most_probable(self) -> float:
        """Return the λ of largest evidence p(y | λ), the noise taken to be what fits best.

        With y ~ N(0, σ² (1 + AAᵀ/λ)), σ² = q/N, and q as in :meth:`quadratic`:
        −2 ln p = N ln q + Σ ln(1 + s²/λ) + constant (Bishop, Pattern Recognition and Machine
        Learning, § 3.5).
        """

        def cost(log_strength: float) -> float:
            strength = np.exp(log_strength)
            misfit = self.n_rows * np.log(max(self.quadratic(strength), 1e-300))
            return float(misfit + np.log1p(self.singular**2 / strength).sum())

        grid = np.log(self.largest * np.geomspace(PRIOR_RANGE[0], PRIOR_RANGE[1], 85))
        best = int(np.argmin([cost(x) for x in grid]))
        bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))

    def draw(self, strength: float, rng: np.random.Generator) -> Array:
        """Return a draw from the posterior N(θ, σ² (AᵀA + λ)⁻¹) for one λ > 0, shape (P,)."""
        noise = np.sqrt(self.quadratic(strength) / self.n_rows / (self.singular**2 + strength))
        return self.solution(strength) + self.vt.T @ (noise * rng.normal(size=len(noise)))
