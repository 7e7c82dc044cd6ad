"""MaxVol: the m of n rows that span (locally) the largest volume, one block in memory at a time.

Goreinov et al., "How to find a good submatrix" (2010), as METHODS.md §3 and §4 use it. The start
is that of QR with column pivoting of the transpose; then rows are swapped in, largest |c| first,
until every row is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.uncertainty.rows import Rows, max_abs

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

RANK_TOLERANCE: float = 1e-10
"""Rows whose part outside the span of those chosen is smaller than this, relative to the largest
row, add no direction."""

CANCELLATION: float = 1e-6
"""Squared norms are updated by subtraction until they have fallen by this factor."""

MAX_SWEEPS: int = 100


@dataclass(frozen=True)
class Pivots:
    """Rows chosen by pivoting.

    Parameters
    ----------
    indices : array of int, shape (r,)
        In the order chosen; r ≤ m is the rank.
    missing : array, shape (m - r, m)
        Orthonormal directions that no row has a part in.
    """

    indices: Indices
    missing: Array


def pivot_rows(rows: Rows, tolerance: float = RANK_TOLERANCE) -> Pivots:
    """Choose rows one by one, each the farthest from the span of those before.

    The choice is that of LAPACK's ``geqp3`` on the transpose, found without its n × m workspace:
    distances only shrink, so a row that was near the span at the last pass cannot be the
    farthest now. Each pass over the data brings all distances up to date and takes the farthest
    rows into a pool; pivots are drawn from the pool while its best exceeds every bound outside.

    Parameters
    ----------
    rows : Rows
    tolerance : float
        Smallest distance that counts, relative to the largest row.
    """
    m = rows.shape[1]
    chosen, basis = np.zeros(0, np.int64), np.zeros((0, m))
    squares = rows.reduce(lambda b: np.einsum("ij,ij->i", b, b))
    anchor = squares.max(initial=0.0)
    limit = tolerance**2 * anchor
    while len(chosen) < m and squares.max(initial=0.0) > limit:
        pool, bound = _farthest(squares, max(2 * m, 512))
        picked, new = _pivot_pool(rows.take(pool), basis, (limit, bound), m - len(chosen))
        if not len(picked):  # what was left in the pool is rounding
            squares[pool] = 0.0
            continue
        chosen, basis = np.concatenate([chosen, pool[picked]]), np.concatenate([basis, new])
        if len(chosen) == m:
            break
        if len(new) < m - len(basis):
            squares -= rows.reduce(lambda b, d=new: _squared_parts(b, d))  # type: ignore[misc]
            np.maximum(squares, 0, out=squares)
        squares[chosen] = 0.0
        if len(new) >= m - len(basis) or squares.max() < CANCELLATION * anchor:
            rest = complement(basis)
            squares = rows.reduce(lambda b, d=rest: _squared_parts(b, d))  # type: ignore[misc]
            squares[chosen] = 0.0
            anchor = squares.max()
    return Pivots(chosen, complement(basis))


def complement(basis: Array) -> Array:
    """Return orthonormal rows that complete an orthonormal basis, (k, m) -> (m - k, m)."""
    q, _ = np.linalg.qr(basis.T, mode="complete")
    return q[:, len(basis) :].T


def swap_rows(rows: Rows, active: Array, indices: Indices, tolerance: float = 1e-7) -> int:
    """Swap rows into an active set while that enlarges its volume.

    A swap of row i for member j multiplies |det A| by |c_ij|, c = b A⁻¹. Each pass over the data
    grades all rows; the swaps, largest |c| first, are found among the rows of highest grade.

    Parameters
    ----------
    rows : Rows
    active : array, shape (m, m)
        A, changed in place.
    indices : array of int, shape (m,)
        Row each member is, changed in place.
    tolerance : float
        A swap must enlarge the volume by more than this fraction.

    Returns
    -------
    int
        Number of swaps.

    Raises
    ------
    RuntimeError
        If there is no end to it (the set is singular to working precision).
    """
    n_swaps, m = 0, rows.shape[1]
    for _ in range(MAX_SWEEPS):
        inverse = np.linalg.inv(active)
        limit = 1 + tolerance + 10 * np.abs(active @ inverse - np.eye(m)).max()
        grades = rows.reduce(lambda b, a=inverse: max_abs(b @ a))  # type: ignore[misc]
        if grades.max(initial=0.0) <= limit:
            return n_swaps
        pool, _ = _farthest(grades, max(4 * m, 2048))
        members, source = _swap_within(rows.take(pool) @ inverse, limit)
        active[members] = rows.take(pool[source])
        indices[members] = pool[source]
        n_swaps += len(members)
    raise RuntimeError(
        f"MaxVol still finds rows of grade {grades.max():.6g} after {MAX_SWEEPS} passes: the "
        "features depend on each other to working precision; drop or combine columns"
    )


def _swap_within(coefficients: Array, limit: float) -> tuple[Indices, Indices]:
    """Swap within a pool; return the members that changed and the row each one is now."""
    now = np.full(coefficients.shape[1], -1)
    magnitude = np.empty_like(coefficients)
    while True:
        np.abs(coefficients, out=magnitude)
        i, j = divmod(int(magnitude.argmax()), coefficients.shape[1])
        if magnitude[i, j] <= limit:
            break
        now[j] = i
        change = coefficients[i].copy()
        change[j] -= 1
        np.multiply.outer(coefficients[:, j] / coefficients[i, j], change, out=magnitude)
        coefficients -= magnitude
    members = np.flatnonzero(now >= 0)
    return members, now[members]


def _farthest(values: Array, size: int) -> tuple[Indices, float]:
    """Return the rows of largest value, and the largest value among all others."""
    if len(values) <= size:
        return np.arange(len(values)), 0.0
    order = np.argpartition(values, len(values) - size - 1)
    return np.sort(order[-size:]), float(values[order[-size - 1]])


def _squared_parts(block: Array, directions: Array) -> Array:
    parts = block @ directions.T
    return np.einsum("ij,ij->i", parts, parts)


def _pivot_pool(
    pool: Array, basis: Array, bounds: tuple[float, float], n_most: int
) -> tuple[Indices, Array]:
    """Pivot among the rows of a pool while its farthest is the farthest of all.

    ``bounds`` are squared distances: of what is rounding, and of the rows outside the pool.
    """
    rest = pool
    for _ in range(2):  # once more, against cancellation
        rest = rest - (rest @ basis.T) @ basis
    picked: list[int] = []
    directions = np.zeros((0, pool.shape[1]))
    squares = np.einsum("ij,ij->i", rest, rest)
    while len(picked) < n_most:
        i = int(squares.argmax())
        if squares[i] <= max(bounds[: 1 + len(picked)]):  # the first is always the farthest
            break
        direction = rest[i] / np.sqrt(squares[i])
        for old in (basis, directions):
            direction = direction - (old @ direction) @ old
        direction /= np.linalg.norm(direction)
        picked.append(i)
        directions = np.concatenate([directions, direction[None]])
        rest -= np.multiply.outer(rest @ direction, direction)
        squares = np.einsum("ij,ij->i", rest, rest)
        squares[picked] = 0.0
    return np.array(picked, dtype=np.int64), directions
